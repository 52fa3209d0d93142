"""Goal: a plot of replays is well-formed, with a bar for every policy, longer where more is missed."""
import xml.etree.ElementTree as ElementTree

from plot_traces import draw


def row(policy, real, miss):
    return {"trace": "t & <u>", "size": 0.1, "policy": policy, "real": real, "miss_ratio": miss, "cost_miss_ratio": miss / 2}


def test_every_policy_has_a_bar_as_long_as_its_misses():
    rows = [row("balanced", True, 0.2), row("LRU", False, 0.4), row("S3-FIFO", False, 0.25)]
    tree = ElementTree.fromstring(draw({"cost": "", "rows": rows}))
    widths = [float(e.get("width")) for e in tree.iter() if e.tag.endswith("rect") and e.get("rx")]
    assert len(widths) == 3 and widths[0] < widths[2] < widths[1]
    texts = " ".join(e.text for e in tree.iter() if e.tag.endswith("text"))
    assert "0.800 × S3-FIFO" in texts and "t & <u>" in texts
