"""Goal: a plot of expiry is well-formed, has a bar for every figure, and says what Redis did not deliver."""
import xml.etree.ElementTree as ElementTree

from plot_expiry import draw


def result(redis):
    keys = {"random.late_p50_ms": 0.7, "random.late_p99_ms": 3.3, "random.late_max_ms": 24, "among.late_max_ms": 3.2,
            "idle.sweeper_percent_of_core": 0.05, "sessions.sweeper_percent_of_core": 0.04, "sessions.renewed_per_second": 3e6,
            "mass.set_p50_us": 0.3, "mass.set_p999_us": 5.5, "writer.set_ns": 350, "writer.set_with_ttl_ns": 347, "writer.ttl_adds_ns": -3}
    return {"commit": "c & <d>", "machine": {"cpu": "x", "cores": 2}, "keys": 1000, "many": 2000, "of_keys": keys, "of_many": keys,
            "of_few": keys, "storm": {"p50_ns": 1400, "p999_ns": 200000}, "redis": redis}


CACHEED = {"cacheed.storm.late_p99_ms": 3.1, "cacheed.storm.late_max_ms": 21, "cacheed.idle.process_percent_of_core": 0.6}


def bars_and_texts(drawn):
    tree = ElementTree.fromstring(drawn)
    bars = [float(e.get("width")) for e in tree.iter() if e.tag.endswith("rect") and e.get("rx")]
    return bars, " ".join(e.text for e in tree.iter() if e.tag.endswith("text"))


def test_every_figure_has_a_bar_and_later_is_longer():
    bars, texts = bars_and_texts(draw(result({"redis.events_in_a_minute": 105, "redis.late_max_ms": 59936.0})))
    assert len(bars) == 5 + 4 + 8 and bars[0] < bars[1] < bars[2] < bars[4]
    assert "105 that came within a minute" in texts and "-3 ns" in texts and "c & <d>" in texts


def test_a_real_cacheed_has_bars_of_its_own_where_it_was_measured():
    of_redis = {"redis.events_in_a_minute": 105, "redis.late_max_ms": 59936.0}
    bars, texts = bars_and_texts(draw({**result(of_redis), "cacheed_of_keys": CACHEED, "cacheed_of_many": CACHEED}))
    assert len(bars) == 5 + 4 + 8 + 4 and "beside an eviction storm" in texts


def test_redis_without_any_event_has_no_bar():
    bars, texts = bars_and_texts(draw(result({"redis.events_in_a_minute": 0})))
    assert len(bars) == 4 + 4 + 8 and "redis" not in texts


def test_room_has_panels_of_its_own_where_it_was_measured():
    room = {f"{load}.{name}": 3.0 for load in ("same", "mixed", "pages") for name in ("set_p50_us", "set_p999_us", "writers_waited_percent")}
    room |= {f"follow_{size}.percent_after_{n}": 20.0 * n for size in (4096, 60000, 300000, 1000000) for n in (1, 2, 4)}
    bars, texts = bars_and_texts(draw({**result({"redis.events_in_a_minute": 0}), "room": room}))
    assert len(bars) == 4 + 4 + 8 + 6 + 12 and "3.0 % made room" in texts and "after 4 times the memory" in texts
