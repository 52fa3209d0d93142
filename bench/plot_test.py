"""Goal: a plot is well-formed, has a bar for every store and mix, and longer bars for larger values."""
import re
import xml.etree.ElementTree as ElementTree

from plot import draw


def store(name, shared, ns):
    return {"name": name, "shared": shared,
            "mixes": [{"mix": mix, "median_ns": ns, "min_ns": ns, "max_ns": ns, "ratio": ns / 50}
                      for mix in ("get zipf", "set zipf")],
            "two_processes": {"mops": 1000 / ns, "p50_ns": ns, "p99_ns": ns * 4, "p999_ns": ns * 8}}


RESULT = {"commit": "abc1234", "machine": {"cpu": "A <fast> CPU & more", "cores": 2},
          "versus": {"keys": 1000, "key_bytes": 16, "value_bytes": 64, "rounds": 3, "stores": [
              store("private inline map", False, 50.0), store("cachee", True, 60.0), store("LMDB", True, 900.0)]}}


def test_every_store_has_a_bar_in_every_panel():
    tree = ElementTree.fromstring(draw(RESULT))
    bars = [e for e in tree.iter() if e.tag.endswith("rect") and e.get("rx")]
    assert len(bars) == 3 * 3
    widths = [float(bar.get("width")) for bar in bars[:3]]
    assert widths == sorted(widths) and len(set(widths)) == 3
    texts = " ".join(e.text for e in tree.iter() if e.tag.endswith("text"))
    assert re.search(r"LMDB.*18\.00 ×", texts) and "A <fast> CPU & more" in texts


def test_scaling_and_storm_have_panels_when_they_were_measured():
    tail = {"p50_ns": 100, "p99_ns": 500, "p999_ns": 900}
    scale = {"mixes": [{"mix": mix, "one_mops": 5, "two_mops": 9, "ratio": 1.8, "wanted": 1.7} for mix in ("100 % get", "50 % get")],
             "get_alone": tail, "get_beside_storm": {**tail, "p999_ns": 1200}}
    tree = ElementTree.fromstring(draw({**RESULT, "scale": scale}))
    assert len([e for e in tree.iter() if e.tag.endswith("rect") and e.get("rx")]) == 3 * 3 + 2 + 2
    texts = " ".join(e.text for e in tree.iter() if e.tag.endswith("text"))
    assert "1.80 × one process" in texts and re.search(r"1\.2e\+03 ns", texts)
