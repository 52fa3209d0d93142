"""Goal: what a trigger did can be read as numbers, the same in TRIGGER STATS and in the metrics, and every metric is documented.

Method: a known number of runs that end in every way and of webhooks that are answered in every way; one scrape; exact counts.
"""
import json
import math
import re
import socket
import urllib.request

from support import TREE, wait_until

DOCUMENT = TREE / "daemon" / "doc" / "metrics.md"
# Fails every attempt at "bad", the first at "late"; a run of "busy" takes its time and memory.
SOURCE = """
cachee.metric("seen", 2) cachee.metric("owed." .. event.value, -0.5)
if event.value == "bad" or (event.value == "late" and event.attempt == 1) then error("no") end
if event.value == "busy" then
  local text, n = ("x"):rep(300000), 0
  for i = 1, 150000 do n = n + i end
  return text, n
end
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Scrape:
    """The text format of Prometheus: samples by name and labels, and the type of each family."""

    def __init__(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        self.types, self.samples = {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name not in self.types, f"{name} is there twice"
                self.types[name] = kind
            elif line and not line.startswith("#"):
                name, labels, value = re.fullmatch(r"(\w+)(\{.*\})? (\S+)", line).groups()
                found = dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))
                if "le" in found:
                    found["le"] = float(found["le"])
                self.samples[name, frozenset(found.items())] = float(value)

    def __call__(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]

    def trigger(self, what, name="t"):
        return self(f"cachee_trigger_{what}", trigger=name)

    def bucket(self, histogram, bound, **labels):
        """Values of a histogram that are at most `bound`."""
        return self(f"{histogram}_bucket", **labels, le=bound)


def documented():
    """Names in the first column of the table."""
    rows = [line.split("|")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_figures_are_exact_the_same_everywhere_and_documented(make_daemon, receiver):
    port = free_port()
    daemon = make_daemon(options=("--metrics", f"127.0.0.1:{port}"))
    daemon.register("t:*", "ON_WRITE", SOURCE, "NAME", "t", "RETRY", 3, "BACKOFF", "5ms", "10ms", "TIMEOUT", 5000)
    for n, value in enumerate(["plain"] * 10 + ["busy"] * 4 + ["late"] * 3 + ["bad"] * 2):
        daemon.resp("SET", f"t:{n}", value)
    wait_until(lambda: len(json.loads(daemon.cachee_ok("--json", "dlq", "list"))) == 2, "two dead letters")
    daemon.drained()
    wait_until(lambda: Scrape(port).trigger("ok_total") == 17, "17 runs that went well")

    wait_until(lambda: "cachee_slab_pages" in Scrape(port).types, "a count of the size classes", 30, 0.2)
    scrape = Scrape(port)
    # 10 + 4 + 3 went well; each of 3 failed once before, and 2 three times.
    expected = {"emitted_total": 19, "acknowledged_total": 17, "in_flight": 0, "retry": 0, "spooled": 0,
                "dead_letters": 2, "shed_total": 0, "fired_total": 26, "ok_total": 17, "errors_total": 9,
                "retries_total": 7, "given_up_total": 2}
    assert {name: scrape.trigger(name) for name in expected} == expected
    for histogram in ("run_seconds", "lag_seconds", "run_instructions", "run_memory_bytes"):
        assert scrape.trigger(f"{histogram}_count") == 26, histogram
        assert scrape.bucket(f"cachee_trigger_{histogram}", math.inf, trigger="t") == 26, histogram
    assert scrape.bucket("cachee_trigger_run_instructions", 1e5, trigger="t") == 22
    assert scrape.bucket("cachee_trigger_run_instructions", 1e6, trigger="t") == 26
    assert scrape.bucket("cachee_trigger_run_memory_bytes", 262144, trigger="t") <= 22
    assert 300000 < scrape.trigger("memory_peak_bytes") < 2 << 20
    # What the handler counts itself, of the runs that went well.
    counted = {"seen": 34, "owed.plain": -5, "owed.busy": -2, "owed.late": -1.5}
    assert {dict(labels)["name"]: value for (name, labels), value in scrape.samples.items()
            if name == "cachee_trigger_metric"} == counted

    stats = json.loads(daemon.cachee_ok("--json", "trigger", "stats", "t"))
    stats = stats[0] if isinstance(stats, list) else stats
    same = {"emitted": "emitted_total", "fired": "fired_total", "ok": "ok_total", "failed": "errors_total",
            "retried": "retries_total", "dead": "given_up_total", "memory_peak_bytes": "memory_peak_bytes",
            "steps": "run_instructions_sum"}
    assert {name: stats[name] for name in same} == {name: scrape.trigger(metric) for name, metric in same.items()}
    assert stats["steps_p50"] < 1000 < 250000 < stats["steps_p99"] <= stats["steps_max"]
    assert stats["memory_bytes_p50"] < 300000 < stats["memory_bytes_p99"] <= stats["memory_peak_bytes"]
    assert 0 < stats["run_us_p50"] <= stats["run_us_p99"] <= stats["run_us_max"]
    assert 0 <= stats["lag_us_p50"] <= stats["lag_us_p99"] <= stats["lag_us_max"]
    assert "no" in stats["last_error"]
    assert {name: float(stats[f"metric.{name}"]) for name in counted} == counted

    ours = {name for name in scrape.types if name.startswith("cachee_")}  # the server has its own beside them
    assert ours == documented(), "metrics.md has what is exported, and nothing else"


def test_outbox_is_measured(make_daemon, receiver):
    port = free_port()
    daemon = make_daemon(options=("--metrics", f"127.0.0.1:{port}", "--webhook-allow-private"))
    daemon.register("h:*", "ON_WRITE", f'cachee.webhook("{receiver.url}/" .. event.value, {{key = event.key}})', "NAME", "h")
    receiver.fail = [503, 404]
    daemon.resp("SET", "h:0", "first")  # 503, then 404: given up
    wait_until(lambda: Scrape(port)("cachee_outbox_given_up_total") == 1, "the dead letter", 20)
    for n in range(5):
        daemon.resp("SET", f"h:{n}", "later")
    wait_until(lambda: Scrape(port)("cachee_outbox_sent_total") == 5, "five webhooks", 20)

    scrape = Scrape(port)
    assert scrape("cachee_outbox_retried_total") == 1
    assert scrape("cachee_outbox_request_seconds_count") == 7
    assert scrape("cachee_outbox_delivery_seconds_count") == 5
    assert scrape.bucket("cachee_outbox_request_seconds", 10) == 7
    wait_until(lambda: Scrape(port)("cachee_outbox_rows") == 0, "an empty outbox", 5)

    # A service that is down: what is owed shows, and nothing else fails.
    receiver.fail = [503] * 1000
    for n in range(4):
        daemon.resp("SET", f"h:{n}", "down")
    wait_until(lambda: Scrape(port)("cachee_outbox_rows") == 4, "four rows that wait", 5)
    assert Scrape(port)("cachee_outbox_sent_total") == 5


def stat(daemon, *more):
    return json.loads(daemon.cachee_ok("--json", "stat", *more))


def test_stat_says_what_memory_would_bring_and_who_makes_the_room(make_daemon, make_load):
    daemon = make_daemon(memory="16MiB")
    # Cache-aside over some two times the keys that fit, all alike: half the reads miss, with half the memory three quarters,
    # with twice as much hardly any.
    load = make_load(daemon, "size:", keys=16000, value_bytes=1000, aside=1, cost=3)

    def measured():
        operations = stat(daemon, "--interval", "10ms")["operations"]
        return operations["evicted"] > 100_000

    wait_until(measured, "a hundred thousand evictions", 60, 0.2)
    full = stat(daemon, "--interval", "500ms")
    load.stop()
    operations, sizing = full["operations"], full["sizing"]
    reads = operations["hits"] + operations["misses"]
    assert abs(operations["hit_percent"] - 100 * operations["hits"] / reads) < 0.1
    assert 30 < operations["hit_percent"] < 70
    now = sizing["miss_percent_now"]
    assert abs(now - (100 - operations["hit_percent"])) < 10
    assert now + 10 < sizing["miss_percent_half"] <= 100
    assert 0 <= sizing["miss_percent_fourfold"] <= sizing["miss_percent_double"] < now - 10
    # What it costs to make again what went: every value costs 3.
    assert abs(operations["evicted_cost"] / operations["evicted"] - 3) < 0.1
    assert full["per_second"]["evicted"] > 0

    # The supervisor makes the room in the background: a writer at a human pace finds it made.
    paced = make_load(daemon, "paced:", keys=10**6, value_bytes=1000, pace_us=1000)
    paced.wait_for(200)
    before = stat(daemon, "--interval", "10ms")["operations"]
    paced.wait_for(2000, timeout=60)
    after = stat(daemon, "--interval", "10ms")["operations"]
    paced.stop()
    grown = {name: after[name] - before[name] for name in ("sets", "evicted", "waited_for_room")}
    assert grown["sets"] > 1500 and grown["evicted"] > grown["sets"] / 2, grown
    assert grown["waited_for_room"] <= grown["sets"] / 50, grown


def test_a_minute_holds_what_a_burst_cost(make_daemon, make_load):
    port = free_port()
    daemon = make_daemon(options=("--metrics", f"127.0.0.1:{port}"), memory="16MiB")
    make_load(daemon, "burst:", keys=30000, count=30000, value_bytes=1000, cost=3).finish()
    # Nothing has gone for two seconds: what is measured now and scaled up would be nothing.
    quiet = stat(daemon, "--interval", "2s")
    scrape = Scrape(port)
    assert quiet["per_second"]["evicted"] == 0
    evicted, cost = quiet["operations"]["evicted"], quiet["operations"]["evicted_cost"]
    assert evicted > 10000 and abs(cost - 3 * evicted) < 1
    assert abs(quiet["sizing"]["evicted_cost_per_minute"] - cost) < 1
    assert stat(daemon, "--interval", "1ms")["sizing"]["evicted_cost_per_minute"] == quiet["sizing"]["evicted_cost_per_minute"]
    assert abs(scrape("cachee_evicted_cost_total") - cost) < 1 and abs(scrape("cachee_evicted_cost_minute") - cost) < 1
    daemon.kill()  # nobody moves the minute on
    alone = stat(daemon)
    assert alone["sizing"]["evicted_cost_per_minute"] is None and alone["operations"]["evicted_cost"] == cost


def test_size_classes_are_counted_in_the_background(make_daemon):
    port = free_port()
    daemon = make_daemon(options=("--metrics", f"127.0.0.1:{port}"))
    for n in range(200):
        daemon.resp("SET", f"k{n:03}", "v" * 60)  # 48 + 8 + 64 bytes, in blocks of 120
    for n in range(50):
        daemon.resp("SET", f"m{n:03}", "v" * 1000)  # 1056, in blocks of 1152
    daemon.resp("SET", "run0", "v" * 100_000)
    daemon.resp("SET", "run1", "v" * 200_000)

    def counted():
        scrape = Scrape(port)
        return scrape if scrape.samples.get(("cachee_slab_live_blocks", frozenset({("block_bytes", "runs")}))) == 2 else None

    scrape = wait_until(counted, "a count of all that was set", 30, 0.2)
    slabs = {row["block_bytes"]: row for row in json.loads(daemon.cachee_ok("--json", "slabs"))}
    page_bytes = stat(daemon, "--interval", "1ms")["memory"]["page_bytes"]
    for size in (120, 1152):
        row = slabs[size]
        for metric, field in (("pages", "pages"), ("live_blocks", "live"), ("free_blocks", "free"), ("waiting_blocks", "waiting"),
                              ("live_bytes", "live_bytes"), ("requested_bytes", "requested_bytes")):
            assert scrape(f"cachee_slab_{metric}", block_bytes=str(size)) == row[field], (size, metric)
        assert abs(row["used_percent"] - 100 * row["live_bytes"] / (row["pages"] * page_bytes)) < 0.01
    assert (slabs[120]["requested_bytes"], slabs[120]["fragmentation_percent"]) == (200 * 120, 0)
    assert (slabs[1152]["live"], slabs[1152]["requested_bytes"]) == (50, 50 * 1056)
    assert abs(slabs[1152]["fragmentation_percent"] - 100 * (1 - 1056 / 1152)) < 0.01
    assert scrape("cachee_slab_requested_bytes", block_bytes="runs") == 48 + 8 + 100_000 + 48 + 8 + 200_000
    assert scrape("cachee_slab_sampled") == 0 and 0 <= scrape("cachee_slab_age_seconds") < 25


def test_reused_slot_starts_from_nothing(daemon):
    daemon.register("a:*", "ON_WRITE", "error('old')", "NAME", "old", "RETRY", 1)
    daemon.resp("SET", "a:1", "v")
    wait_until(lambda: json.loads(daemon.cachee_ok("--json", "dlq", "list")), "the dead letter")
    daemon.resp("TRIGGER", "REMOVE", "old")
    daemon.register("b:*", "ON_WRITE", "return", "NAME", "young")
    stats = json.loads(daemon.cachee_ok("--json", "trigger", "stats", "young"))
    stats = stats[0] if isinstance(stats, list) else stats
    assert (stats["fired"], stats["failed"], stats["last_error"], stats["run_us_max"]) == (0, 0, "", 0)
