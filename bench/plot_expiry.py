#!/usr/bin/env python3
"""Draws a result of bench/run_expiry.py as an SVG: lateness, the sweeper's CPU, and what writers notice.

    bench/plot_expiry.py bench/results/FILE.json > plot.svg
"""
from plot import LEFT, PANEL, VALUE, compose, main


def panels_of(result):
    """[(title, unit, [(what, ours, value, note)])]"""
    keys, many, redis = result["of_keys"], result["of_many"], result["redis"]
    n, m = f'{result["keys"]:,}', f'{result["many"]:,}'

    def ours(what, value, note):
        return (f"cachee, {what}", True, value, note)

    late = [ours(f"{n} random TTLs", keys["random.late_p50_ms"], "median"),
            ours(f"{n} random TTLs", keys["random.late_p99_ms"], "99th percentile"),
            ours(f"{n} random TTLs", keys["random.late_max_ms"], "latest"),
            ours("1,000 due among 100,000", keys["among.late_max_ms"], "latest")]
    if "redis.late_max_ms" in redis:
        late.append(("redis, 1,000 due among 100,000", True, redis["redis.late_max_ms"],
                     f'latest of the {redis["redis.events_in_a_minute"]} that came within a minute'))
    cpu = [ours(f"{n} keys that do not expire", keys["idle.sweeper_percent_of_core"], "idle"),
           ours(f"{m} keys that do not expire", many["idle.sweeper_percent_of_core"], "idle"),
           ours(f"{n} sessions", keys["sessions.sweeper_percent_of_core"],
                f'renewed {keys["sessions.renewed_per_second"] / 1e6:.1f} million times a second'),
           ours(f"{m} sessions", many["sessions.sweeper_percent_of_core"],
                f'renewed {many["sessions.renewed_per_second"] / 1e6:.1f} million times a second')]
    if "cacheed_of_keys" in result:  # results of before have no real cacheed
        real, real_many = result["cacheed_of_keys"], result["cacheed_of_many"]
        late += [ours("beside an eviction storm", real["cacheed.storm.late_p99_ms"], "99th percentile"),
                 ours("beside an eviction storm", real["cacheed.storm.late_max_ms"], "latest")]
        cpu += [ours(f"cacheed as a whole, {count} keys", figures["cacheed.idle.process_percent_of_core"], "idle")
                for count, figures in ((n, real), (m, real_many))]
    notice = [ours(f"{n} keys expire at once", 1000 * keys["mass.set_p50_us"], "median"),
              ours(f"{n} keys expire at once", 1000 * keys["mass.set_p999_us"], "99.9th percentile"),
              ours("all memory is evicted", result["storm"]["p50_ns"], "new keys, median"),
              ours("all memory is evicted", result["storm"]["p999_ns"], "new keys, 99.9th percentile"),
              ours("without a TTL", keys["writer.set_ns"], f'{n} keys'),
              ours("with a TTL", keys["writer.set_with_ttl_ns"], f'{keys["writer.ttl_adds_ns"]:+.0f} ns'),
              ours("without a TTL", result["of_few"]["writer.set_ns"], "1,000 keys"),
              ours("with a TTL", result["of_few"]["writer.set_with_ttl_ns"], f'{result["of_few"]["writer.ttl_adds_ns"]:+.0f} ns')]
    panels = [("how late EXPIRE events come: ms, less is better", "ms", late),
              ("what waiting costs: % of one core, less is better", "%", cpu),
              ("a set meanwhile: ns, less is better", "ns", notice)]
    if "room" in result:
        panels += panels_of_room(result["room"])
    return panels


def panels_of_room(room):
    """Who makes room at a steady pace, and what a load of larger values gets of memory full of small ones."""
    loads = (("same", "200 bytes, 50,000 a second"), ("mixed", "40 to 1,000 bytes, 20,000 a second"), ("pages", "40 to 200 KB, 500 a second"))
    steady = [(f"cachee, {what}", True, 1000 * room[f"{load}.set_{name}_us"], f'{note}; {room[f"{load}.writers_waited_percent"]:.1f} % made room')
              for load, what in loads for name, note in (("p50", "median"), ("p999", "99.9th percentile"))]
    follow = [(f"cachee, {int(size):,} bytes", True, room[f"follow_{size}.percent_after_{n}"], f"after {n} times the memory")
              for size in (4096, 60000, 300000, 1000000) for n in (1, 2, 4)]
    return [("a set of a new key into full memory, at a steady pace: ns, less is better", "ns", steady),
            ("memory full of 100 bytes each that larger values get: %, more is better", "%", follow)]


def draw(result):
    """The SVG of one result file's content."""
    machine = result["machine"]
    return compose(LEFT + PANEL + VALUE + 160, "Expiry: events, upkeep, and what writers notice",
                   f'{machine["cpu"]}, {machine["cores"]} cores · commit {result["commit"]}', panels_of(result))


if __name__ == "__main__":
    main(__doc__, draw)
