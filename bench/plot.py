#!/usr/bin/env python3
"""Draws a result of bench/run.py as an SVG: one panel a mix, one bar a store, logarithmic.

    bench/plot.py bench/results/FILE.json > plot.svg
"""
import html
import json
import math
import sys

BAR, GAP, LEFT, PANEL, VALUE = 18, 7, 250, 420, 110
PRIVATE, OURS, OTHER, TEXT, FAINT = "#9aa5b1", "#0b7285", "#c9b79c", "#1f2933", "#e4e7eb"


def panels_of(result):
    """[(title, unit, [(store, shared, value, note)])]: a panel for each mix, two processes, and a storm."""
    versus = result["versus"]
    stores = versus["stores"]
    panels = []
    for n, mix in enumerate(stores[0]["mixes"]):
        rows = [(s["name"], s["shared"], s["mixes"][n]["median_ns"], f'{s["mixes"][n]["ratio"]:.2f} ×')
                for s in stores]
        panels.append((f'{mix["mix"]}: ns per operation, less is better', "ns", rows))
    rows = [(s["name"] + ("" if s["shared"] else " (two copies)"), s["shared"], s["two_processes"]["mops"],
             f'p99 {s["two_processes"]["p99_ns"]:.0f} ns') for s in stores]
    panels.append(("two processes, 95 % get, zipf: million operations/s, more is better", "M/s", rows))
    if "scale" in result:
        rows = [(f'cachee, {mix["mix"]}', True, mix["two_mops"], f'{mix["ratio"]:.2f} × one process')
                for mix in result["scale"]["mixes"]]
        panels.append(("two processes on one segment, zipf: million operations/s, more is better", "M/s", rows))
        rows = [(f"cachee, {name}", True, result["scale"][key]["p999_ns"], f'median {result["scale"][key]["p50_ns"]:.0f} ns')
                for name, key in (("alone", "get_alone"), ("beside a storm", "get_beside_storm"))]
        panels.append(("get beside a storm of expiry and eviction: 99.9th percentile in ns, less is better", "ns", rows))
    return panels


def text(x, y, words, size=12, anchor="start", weight="normal", fill=TEXT):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{fill}">{html.escape(words)}</text>')


def frame(width, height):
    """How every picture begins: its size, and a white ground."""
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="system-ui, sans-serif">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>']


def draw_panel(y, title, unit, rows):
    values = [value for _, _, value, _ in rows if value > 0]
    low = 10 ** math.floor(math.log10(min(values) / 1.5))
    high = 10 ** math.ceil(math.log10(max(values) * 1.01))
    scale = PANEL / math.log10(high / low)
    height = len(rows) * (BAR + GAP)
    out = [text(16, y, title, 13, weight="bold")]
    y += 12
    for decade in range(round(math.log10(high / low)) + 1):
        x = LEFT + decade * scale
        out.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{y}" y2="{y + height}" stroke="{FAINT}"/>')
        out.append(text(x, y + height + 13, f"{low * 10 ** decade:g}", 10, "middle", fill="#7b8794"))
    for name, shared, value, note in rows:
        colour = OURS if name.startswith("cachee") else OTHER if shared else PRIVATE
        width = max(1.0, math.log10(value / low) * scale) if value > 0 else 0
        out.append(text(LEFT - 8, y + BAR - 4, name, 12, "end"))
        out.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        out.append(text(LEFT + width + 6, y + BAR - 4, f"{value:.3g} {unit}  ({note})", 11))
        y += BAR + GAP
    return out, y + 44


def compose(width, title, subtitle, panels, draw_one=draw_panel):
    """The SVG of panels, each what `draw_one` takes behind its place, one below the other under a heading."""
    body, y = [], 62
    for panel in panels:
        drawn, y = draw_one(y, *panel)
        body += drawn
    head = [*frame(width, y), text(16, 24, title, 15, weight="bold")]
    if subtitle:
        head.append(text(16, 42, subtitle, 11, fill="#52606d"))
    return "\n".join([*head, *body, "</svg>", ""])


def draw(result):
    """The SVG of one result file's content."""
    versus, machine = result["versus"], result["machine"]
    return compose(LEFT + PANEL + VALUE + 60,
                   f'Cachee beside other stores: {versus["keys"]:,} keys of {versus["key_bytes"]} bytes, '
                   f'values of {versus["value_bytes"]}',
                   f'{machine["cpu"]}, {machine["cores"]} cores · median of {versus["rounds"]} interleaved '
                   f'rounds · × is the ratio to the private inline map · commit {result["commit"]}', panels_of(result))


def main(usage, draw_result):
    """Draws the file that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(usage)
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(draw_result(json.load(file)))


if __name__ == "__main__":
    main(__doc__, draw)
