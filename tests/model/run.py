#!/usr/bin/env python3
"""Runs the spin models: every one must be searched to the end without an error, every planted bug must be found.

    tests/model/run.py                 the quick configurations, about a minute of CPU
    tests/model/run.py --long          the large ones too (hours; some need 20 GiB)
    tests/model/run.py insert ring     these models only

A search that was cut short (depth, memory) is a failure, as is a missing tool: a check that cannot fail
proves nothing. Each model is compiled once; configurations and bugs are environment variables of it.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent / "spin"
STATES_MIN = 1000  # a model that explores less has lost its processes
DEPTH_MAX = 200_000
JOB_SECONDS_MAX = 600
LONG_MEMORY_MIB = 20_000

# model: (quick, long, {bug: configuration in which it must be found})
MODELS = {
    "one_key": (
        ["M1=2 PRE=1 NKILL=0"],
        ["M1=2 PRE=1 NKILL=1", "M1=1 NKILL=1 NRESTART=1", "M0=2 M1=2 PRE=1 NKILL=2 NRESTART=1"],
        {"NOHELP": "M1=2 PRE=1 NKILL=0", "NOHAZ": "M1=2 PRE=1 NKILL=0",
         "ONE_STATE": "PRE=1 NKILL=1 NRESTART=1", "SETTLE_STORE": "M1=2 PRE=1 NKILL=0"}),
    "insert": (
        ["SETTERS=1 OPS=2 NKILL=1"],
        ["SETTERS=1 OPS=2 NKILL=1 NRESTART=1", "NKILL=0", "NKILL=1", "SETTERS=1 OPS=3 EOPS=2 NKILL=1",
         "SETTERS=3 EOPS=0 NKILL=0"],
        {"NOHAZ": "SETTERS=1 OPS=2", "NORECHECK": "SETTERS=1 OPS=2", "PLAIN": "NB=3 EOPS=0 NKILL=0",
         "NOIX3": "SETTERS=1 OPS=2", "IDLE": "", "ABORT": "SETTERS=1 OPS=2"}),
    "chain": (
        ["WHO=5 NKILL=1 NRESTART=1", "WHO=3 NKILL=1"],
        ["WHO=3 NKILL=1 NRESTART=1", "WHO=3 OPS=2 NKILL=1", "WHO=7 NKILL=0", "WHO=7 NKILL=1"],
        {"NOWALK": "WHO=3", "LATEINTENT": "WHO=3", "LINKSTORE": "WHO=3", "KEEP": "WHO=3", "ANYCLIENT": "WHO=3"}),
    "expiry": (
        ["WHO=3 MODE=1 NKILL=0", "WHO=3 MODE=0 NKILL=0 FULL=1 DEBT=1", "WHO=5 NKILL=1 NRESTART=1 FULL=1 DEBT=1"],
        ["WHO=3 MODE=1 NKILL=1", "WHO=3 MODE=0 NKILL=1", "WHO=3 MODE=1 FULL=1 NKILL=1",
         "WHO=3 MODE=0 FULL=1 DEBT=1 NKILL=1 NRESTART=1", "MODE=0 NKILL=0", "MODE=1 NKILL=0", "MODE=1 FULL=1 NKILL=0"],
        {"NOFREEZE": "WHO=3 NKILL=0", "TOUCHFROZEN": "WHO=3 NKILL=0", "KEEPNOFREEZE": "WHO=3 MODE=1 NKILL=1 DEBT=1",
         "NOPAY": "WHO=5 FULL=1 DEBT=1 NKILL=0", "COPYEVENT": "WHO=3 MODE=1 NKILL=1 DEBT=1",
         "NOFINISH": "WHO=5 FULL=1 DEBT=1 NKILL=0", "SETOVER": "WHO=3 NKILL=0",
         "ABSENT": "WHO=5 FULL=1 DEBT=1 NKILL=0"}),
    "summary": (
        ["WHO=5 NKILL=1 NRESTART=1", "WHO=7 D1=1 NKILL=0", "WHO=13 NKILL=0", "WALL=1 WHO=5 D0=2 NKILL=0",
         "WALL=1 WHO=1 D0=2 NKILL=1", "WALL=1 WHO=4 D0=2 NKILL=1"],
        ["WHO=7 NKILL=1 NRESTART=1", "WHO=7 NEAR=0 NKILL=1", "WHO=13 NKILL=1", "WHO=13 D0=2 NKILL=1",
         "WALL=1 WHO=5 D0=2 NKILL=0 NRESTART=1", "WALL=1 WHO=5 D0=2 NKILL=1"],
        {"NOW3": "WHO=5", "NOUP": "WHO=13 NKILL=0", "STORE": "WHO=5", "NOTEND": "WHO=5", "NOREBUILD": "WHO=5",
         "BUDGET": "WHO=7 D1=1 NKILL=0", "LOOKNEAR": "WHO=5", "NOLOOK": "WALL=1 WHO=5 D0=2 NKILL=0",
         "NOV1": "WALL=1 WHO=5 D0=2 NKILL=0", "LATEV0": "WALL=1 WHO=5 D0=2 NKILL=0",
         "NOREVISING": "WALL=1 WHO=5 D0=2 NKILL=0 NRESTART=1"}),
    "admit": (
        ["OPS=1", "OPS=1 WANTED=1", "N=2 FILL=1 OPS=1 TIGHT=1 REGS=0"],
        ["OPS=2", "OPS=2 WANTED=1 REGS=2", "N=2 FILL=1 OPS=1 TIGHT=1", "OPS=3 RELEASES=2 WANTED=1"],
        {"NOSLACK": "OPS=3 WANTED=1", "NOSWEEP": "OPS=3 WANTED=1", "DROP": "N=2 FILL=1 OPS=1 TIGHT=1 REGS=0"}),
    "ring": (
        ["WHO=0 NKILL=1", "WHO=0 N=1 BATCH=1 NKILL=0 NRESTART=1"],
        ["WHO=0 NKILL=1 NRESTART=1", "WHO=1 NKILL=0", "WHO=1 TWO=0 N=1 BATCH=1 NKILL=1", "WHO=1 NKILL=1 NRESTART=1",
         "WHO=4 NKILL=0 NRESTART=1", "WHO=5 NKILL=0"],
        {"NOCONFIRM": "WHO=0 NKILL=1", "ADD": "WHO=0 NKILL=1 NRESTART=1", "HEADFIRST": "WHO=0 NRESTART=1",
         "PLAIN": "WHO=0 NRESTART=1", "NOPOS": "WHO=0 NRESTART=1", "NOREDO": "WHO=0 NRESTART=1"}),
    "slab": (
        ["NKILL=0", "WHO=11 NKILL=1"],
        ["NKILL=0 OPS=2", "NKILL=1", "NKILL=2 NRESTART=1"],
        {"NONW": "NKILL=0", "NOD3": "NKILL=0", "NOHOLD": "NKILL=0", "LATENAME": "NKILL=0", "NOUNDO": "WHO=11 NKILL=1",
         "ANYHDR": "OPS=2 NKILL=0"}),
    "clients": (
        ["OWNERS=2 NKILL=2", "OWNERS=3 NKILL=0"],
        ["OWNERS=2 NKILL=4", "OWNERS=3 NKILL=3"],
        {"LIVE": "NKILL=2", "LIVEBY": "NKILL=2", "CLEARFIRST": "OWNERS=2 NKILL=1", "FREEFIRST": "NKILL=2",
         "COUNTER": "NKILL=2", "STORE": "NKILL=2"}),
}


class Failure(Exception):
    pass


def bugs_of(model: str) -> dict[str, str]:
    text = (FOLDER / f"{model}.pml").read_text()
    return dict(re.findall(r"^#define BUG_(\w+) +(\d+)", text, re.MULTILINE))


def build(model: str, folder: pathlib.Path, long: bool) -> None:
    for name in (f"{model}.pml", "model.h"):
        shutil.copy(FOLDER / name, folder)
    made = subprocess.run(["spin", "-a", f"{model}.pml"], cwd=folder, capture_output=True, text=True)
    if made.returncode != 0 or "Error" in made.stdout + made.stderr or not (folder / "pan.c").exists():
        raise Failure(f"{model}: spin refused it:\n{made.stdout}{made.stderr}")
    # Compiling takes longer than a quick search: -O1 and above take gcc minutes over these transitions.
    flags = ["-O2", "-DHC4", f"-DMEMLIM={LONG_MEMORY_MIB}"] if long else ["-O0", "-DMEMLIM=2000"]
    compiled = subprocess.run(["gcc", "-w", *flags, "-DSAFETY", "-DVECTORSZ=1024", "-o", "pan", "pan.c"],
                              cwd=folder, capture_output=True, text=True)
    if compiled.returncode != 0:
        raise Failure(f"{model}: gcc: {compiled.stderr}")


def search(model: str, folder: pathlib.Path, configuration: str, bug: str, long: bool) -> str:
    """Returns the line of the table. A bug must be found, without one the search must be complete and clean."""
    environment = dict(os.environ, **dict(pair.split("=") for pair in configuration.split()))
    environment["BUG"] = bugs_of(model)[bug] if bug else "0"
    depth, table = (20_000_000, "-w28") if long and not bug else (DEPTH_MAX, "-w22")
    what = f"{model} [{configuration}]" + (f" with BUG_{bug}" if bug else "")
    # A folder of its own: pan writes its trail where it runs.
    with tempfile.TemporaryDirectory(dir=folder) as place:
        run = subprocess.run([folder / "pan", f"-m{depth}", table, "-n"], cwd=place, env=environment, text=True,
                             capture_output=True, timeout=None if long else JOB_SECONDS_MAX)
    text = run.stdout + run.stderr
    figures = re.search(r"depth reached (\d+), errors: (\d+)\n\s*(\S+) states, stored", text)
    if figures is None:
        raise Failure(f"{what}: no result:\n{text}")
    reached, errors, states = int(figures[1]), int(figures[2]), int(float(figures[3]))
    seconds = re.search(r"elapsed time (\S+) seconds", text)
    line = f"{what}: {states:,} states, depth {reached}, {seconds[1] if seconds else '?'} s"
    if bug:
        if errors == 0:
            raise Failure(f"{line}: the planted bug was not found")
        if "assertion violated" not in text:
            raise Failure(f"{line}: ended by something else than an assertion:\n{text}")
        return f"{line}: found"
    for cut in ("max search depth too small", "out of memory", "Search not completed", "memory limit", "exceeds"):
        if cut in text:
            raise Failure(f"{line}: {cut}:\n{text}")
    if errors != 0 or "Full statespace search" not in text and not long:
        raise Failure(f"{line}: {errors} errors:\n{text}")
    if states < STATES_MIN:
        raise Failure(f"{line}: only {states} states")
    return f"{line}: clean"


def run_model(model: str, long: bool) -> list[str]:
    quick, large, bugs = MODELS[model]
    if set(bugs) != set(bugs_of(model)):
        raise Failure(f"{model}: the bugs in the model and in run.py differ: {set(bugs) ^ set(bugs_of(model))}")
    with tempfile.TemporaryDirectory(prefix=f"cachee-model-{model}-") as name:
        folder = pathlib.Path(name)
        build(model, folder, long)
        jobs = [(c, "") for c in quick + (large if long else [])] + [(c, b) for b, c in bugs.items()]
        return [search(model, folder, configuration, bug, long) for configuration, bug in jobs]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], help="default: all")
    parser.add_argument("--long", action="store_true", help="the large configurations too")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    for tool in ("spin", "gcc"):
        if shutil.which(tool) is None:
            print(f"{tool} is missing: the models cannot be checked", file=sys.stderr)
            return 1
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(1 if options.long else options.jobs) as pool:
        jobs = [pool.submit(run_model, model, options.long) for model in options.models or MODELS]
        for job in concurrent.futures.as_completed(jobs):
            try:
                print("\n".join(job.result()), flush=True)
            except (Failure, subprocess.TimeoutExpired) as failure:
                failed += 1
                print(f"FAILED {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
