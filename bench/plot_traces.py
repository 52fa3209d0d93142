#!/usr/bin/env python3
"""Draws what cachee_bench_traces --json wrote: one panel a trace and size, one bar a policy.

    bench/plot_traces.py bench/results/FILE.json > plot.svg
"""
from plot import BAR, FAINT, GAP, LEFT, OTHER, OURS, PANEL, compose, main, text


def panels_of(rows):
    """{(trace, size): rows} in the order of the file."""
    panels = {}
    for row in rows:
        panels.setdefault((row["trace"], row["size"]), []).append(row)
    return panels


def draw_panel(y, title, rows, cost):
    field = "cost_miss_ratio" if cost else "miss_ratio"
    yardstick = next((r[field] for r in rows if r["policy"] == "S3-FIFO"), 0)
    scale = PANEL / (max(r[field] for r in rows) or 1)
    out = [text(16, y, title, 13, weight="bold")]
    y += 12
    if yardstick:
        x = LEFT + yardstick * scale
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + len(rows) * (BAR + GAP)}" stroke="{FAINT}" stroke-width="2"/>')
    for row in rows:
        name = f'cachee {row["policy"]}' if row["real"] else row["policy"]
        ratio = f' ({row[field] / yardstick:.3f} × S3-FIFO)' if yardstick else ""
        width = max(1.0, row[field] * scale)
        out.append(text(LEFT - 8, y + BAR - 4, name, 12, "end"))
        out.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{OURS if row["real"] else OTHER}"/>')
        out.append(text(LEFT + width + 6, y + BAR - 4, f"{row[field]:.4f}{ratio}", 11))
        y += BAR + GAP
    return out, y + 30


def draw(result):
    panels = [(f"{trace}, {100 * size:g} % of its footprint", rows, result["cost"] != "")
              for (trace, size), rows in panels_of(result["rows"]).items()]
    what = f'cost of misses ({result["cost"]})' if result["cost"] else "misses"
    return compose(LEFT + PANEL + 260, f"Share of {what}, real segment and sweep beside simulators: less is better", "", panels,
                   draw_panel)


if __name__ == "__main__":
    main(__doc__, draw)
