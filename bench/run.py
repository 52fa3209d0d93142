#!/usr/bin/env python3
"""Runs the benchmarks of a release build, prints their figures and keeps them in bench/results.

    bench/run.py [--build build/release] [--keys 1000000] [--rounds 7] [--quick] [--huge-pages] [--no-keep]

Builds the preset `release` when its programs are not there. Keeps <date>-<commit>-<machine>.json and
an .svg of the same name. --quick is a trial of seconds, not kept.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

from plot import draw

TREE = pathlib.Path(__file__).resolve().parents[1]


def read(path, pattern, default="?"):
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(), re.M)
    except OSError:
        return default
    return found.group(1).strip() if found else default


def machine():
    return {
        "cpu": read("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"),
        "cores": os.cpu_count(),
        "memory_kib": int(read("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0")),
        "kernel": platform.release(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", r"(.*)", "unknown"),
        "transparent_huge_pages_shmem": read("/sys/kernel/mm/transparent_hugepage/shmem_enabled", r"\[(\w+)\]"),
        "load_average_before": os.getloadavg()[0],
    }


def git(*words):
    done = subprocess.run(["git", "-C", TREE, *words], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def origin():
    """What every result begins with."""
    return {"date": datetime.date.today().isoformat(), "commit": git("rev-parse", "--short=10", "HEAD"), "machine": machine()}


def program_of(build, name):
    path = build / "bench" / name
    if not path.exists():
        sys.exit(f"{path} is not there: cmake --build --preset release --target {name}")
    return path


def run_json(command, out_option, environment=None):
    """Runs a program with <out_option>=<file>; returns the JSON that it wrote."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run([*command, f"{out_option}={file.name}"], check=True,
                       env={**os.environ, **(environment or {})})
        return json.loads(pathlib.Path(file.name).read_text())


def micro_of(raw):
    """Google Benchmark's medians in ns per item."""
    rows = {}
    for row in raw["benchmarks"]:
        if row.get("aggregate_name", "median") != "median":
            continue
        if row.get("error_occurred"):
            sys.exit(f'{row["name"]}: {row["error_message"]}')
        name = row["run_name"].replace("uniform:0", "zipf").replace("uniform:1", "uniform")
        per_item = 1e9 / row["items_per_second"] if "items_per_second" in row else row["real_time"]
        rows[name] = round(per_item, 2)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=TREE / "build/release")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--huge-pages", action="store_true")
    parser.add_argument("--no-keep", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.keys, arguments.rounds, arguments.no_keep = min(arguments.keys, 100_000), 2, True
    programs = [arguments.build / "bench" / name for name in ("cachee_bench_micro", "cachee_bench_versus", "cachee_bench_scale",
                                                            "cachee_bench_events")]
    if not all(program.exists() for program in programs):
        subprocess.run(["cmake", "--preset", "release"], cwd=TREE, check=True)
        subprocess.run(["cmake", "--build", "--preset", "release", "--target", *(p.name for p in programs)],
                       cwd=TREE, check=True)

    result = {**origin(), "tree_clean": git("status", "--porcelain", "--untracked-files=no") == "",
              "command": "bench/run.py " + " ".join(sys.argv[1:])}
    time_s = "0.05" if arguments.quick else "0.5"
    repetitions = "1" if arguments.quick else "5"
    print("\n== one operation of the public API, median ns", flush=True)
    result["micro"] = micro_of(run_json(
        [programs[0], f"--benchmark_min_time={time_s}", f"--benchmark_repetitions={repetitions}",
         "--benchmark_out_format=json", "--benchmark_format=console", "--benchmark_display_aggregates_only=true",
         "--benchmark_report_aggregates_only=true"],
        "--benchmark_out", {"CACHEE_BENCH_KEYS": str(arguments.keys)}))
    print("\n== beside other stores, one run", flush=True)
    result["versus"] = run_json(
        [programs[1], "--keys", str(arguments.keys), "--rounds", str(arguments.rounds), "--seconds",
         "0.5" if arguments.quick else "3", *(["--huge-pages"] if arguments.huge_pages else [])], "--json")
    print("\n== two processes, and a reader beside a storm", flush=True)
    result["scale"] = run_json(
        [programs[2], "--keys", str(arguments.keys), "--rounds", str(arguments.rounds), "--seconds",
         "0.2" if arguments.quick else "1"], "--json")
    print("\n== triggers: what they cost a writer, how soon and how fast they are handled", flush=True)
    result["events"] = run_json(
        [programs[3], "--events", "20000" if arguments.quick else "400000", "--rounds", str(arguments.rounds),
         "--samples", "100" if arguments.quick else "2000"], "--json")

    if not arguments.no_keep:
        slug = re.sub(r"[^a-z0-9]+", "-", result["machine"]["cpu"].lower()).strip("-")
        pages = "-huge-pages" if arguments.huge_pages else ""
        path = TREE / "bench/results" / f'{result["date"]}-{result["commit"]}-{slug}{pages}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        path.with_suffix(".svg").write_text(draw(result))
        print(f"\nkept {path.relative_to(TREE)} and its .svg")


if __name__ == "__main__":
    main()
