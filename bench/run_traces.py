#!/usr/bin/env python3
"""Replays the public traces through a real segment with the real sweep, and keeps what misses.

    bench/run_traces.py --traces DIR [--build build/release] [--only NAME,...] [--no-keep]

The default policy and `lru` without costs, then `cost` under each model of a recomputation cost; beside
them simulators of published policies. Keeps <date>-<commit>-traces.json, .md and .svg in bench/results.
"""
import argparse
import json
import math
import pathlib

from plot_traces import draw
from run import TREE, origin, program_of, run_json

COST_MODELS = ["ln15", "two", "lnsz"]
NEAR = 1.02  # "within 2 %"


def geometric_mean(ratios):
    return math.exp(sum(math.log(r) for r in ratios) / len(ratios))


def points_of(rows):
    """{(trace, size): {policy: row}}"""
    points = {}
    for row in rows:
        points.setdefault((row["trace"], row["size"]), {})[row["policy"]] = row
    return points


def is_simulated(row):
    return not row["real"]


def summary_of(runs):
    """What the default policy and the cost policy are judged by."""
    plain = points_of(runs[0]["rows"]).values()
    best = [min(r["miss_ratio"] for r in point.values() if is_simulated(r)) for point in plain]
    ours = [point["balanced"]["miss_ratio"] for point in plain]
    summary = {
        "points": len(ours),
        "within_2_percent_of_best": sum(o <= NEAR * b for o, b in zip(ours, best)),
        "worst_over_lru": max(o / point["LRU"]["miss_ratio"] for o, point in zip(ours, plain)),
        "mean_over_s3_fifo": geometric_mean([o / point["S3-FIFO"]["miss_ratio"] for o, point in zip(ours, plain)]),
        "cost": {},
    }
    all_cost, all_misses = [], []
    for run in runs[1:]:
        points = points_of(run["rows"]).values()
        cost = [p["cost"]["cost_miss_ratio"] / p["S3-FIFO"]["cost_miss_ratio"] for p in points]
        misses = [p["cost"]["miss_ratio"] / p["S3-FIFO"]["miss_ratio"] for p in points]
        all_cost += cost
        all_misses += misses
        summary["cost"][run["cost"]] = {"cost_over_s3_fifo": geometric_mean(cost), "misses_over_s3_fifo": geometric_mean(misses)}
    summary["cost"]["all"] = {"cost_over_s3_fifo": geometric_mean(all_cost), "misses_over_s3_fifo": geometric_mean(all_misses)}
    return summary


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def markdown_of(result):
    runs, summary = result["runs"], result["summary"]
    points = points_of(runs[0]["rows"])
    names = list(next(iter(points.values())))
    rows = []
    for (trace, size), point in points.items():
        best = min(r["miss_ratio"] for r in point.values() if is_simulated(r))
        cells = [f'{point[name]["miss_ratio"]:.4f}' for name in names]
        rows.append([f"{trace} at {100 * size:g} %", *cells, f'{point["balanced"]["miss_ratio"] / best:.3f}'])
    text = [f"# Trace replays, {result['date']}, commit {result['commit']}", "",
            "Share of the requests that miss. `balanced` and `lru` are replayed through a real segment with the real",
            "sweep; the others are simulated. The last column is `balanced` over the best simulated.", "",
            table(["trace", *names, "of best"], rows),
            f'`balanced`: geometric mean over S3-FIFO {summary["mean_over_s3_fifo"]:.3f}; within 2 % of the best in '
            f'{summary["within_2_percent_of_best"]} of {summary["points"]} cases; at worst {summary["worst_over_lru"]:.3f} of LRU.', "",
            "## Policy `cost`", "",
            "Over S3-FIFO: the summed cost of what missed, and the number of misses. Models: `ln15` log-normal, `two` one key",
            "of ten costs 100, `lnsz` log-normal by the root of the size.", ""]
    rows = []
    for run in runs[1:]:
        for (trace, size), point in points_of(run["rows"]).items():
            ours, s3 = point["cost"], point["S3-FIFO"]
            rows.append([f'{trace} at {100 * size:g} %, {run["cost"]}', f'{ours["cost_miss_ratio"]:.4f}', f'{s3["cost_miss_ratio"]:.4f}',
                         f'{ours["cost_miss_ratio"] / s3["cost_miss_ratio"]:.3f}', f'{ours["miss_ratio"] / s3["miss_ratio"]:.3f}'])
    for model, means in summary["cost"].items():
        rows.append([f"geometric mean, {model}", "", "", f'{means["cost_over_s3_fifo"]:.3f}', f'{means["misses_over_s3_fifo"]:.3f}'])
    return "\n".join([*text, table(["trace and model", "cost", "S3-FIFO", "cost ratio", "misses ratio"], rows)])


def compact(result):
    """A row a line."""
    runs = ",\n".join(f'  {{"cost": {json.dumps(run["cost"])}, "rows": [\n   ' +
                      ",\n   ".join(json.dumps(row) for row in run["rows"]) + "]}" for run in result["runs"])
    head = json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=1)
    return head[:-2] + f',\n "runs": [\n{runs}]\n}}\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--traces", required=True)
    parser.add_argument("--build", type=pathlib.Path, default=TREE / "build/release")
    parser.add_argument("--only")
    parser.add_argument("--no-keep", action="store_true")
    arguments = parser.parse_args()
    program = program_of(arguments.build, "cachee_bench_traces")
    base = [program, "--traces", arguments.traces, *(["--only", arguments.only] if arguments.only else [])]
    result = {**origin(), "runs": [run_json([*base, "--policies", "balanced,lru"], "--json")]}
    for model in COST_MODELS:
        result["runs"].append(run_json([*base, "--policies", "cost", "--cost", model], "--json"))
    result["summary"] = summary_of(result["runs"])
    text = markdown_of(result)
    print(text)
    if arguments.no_keep:
        return
    path = TREE / "bench/results" / f'{result["date"]}-{result["commit"]}-traces'
    path.with_suffix(".json").write_text(compact(result))
    path.with_suffix(".md").write_text(text)
    path.with_suffix(".svg").write_text(draw(result["runs"][0]))


if __name__ == "__main__":
    main()
