#!/usr/bin/env python3
"""Instructions of one operation, counted by callgrind: the same number on every machine and every run.

    bench/count.py [--build build/release] [OPERATION...]      default: all

Needs valgrind. The difference of two runs of different length is taken, so that warming up and the
attachment cost nothing; the loop's own instructions (choosing a key, making a value) are in the figure.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[1]
# Each program with what it counts and the function that is counted.
PROGRAMS = {
    "cachee_bench_count": (["get", "get_ttl", "get_at", "get_many", "miss", "view", "set", "set_ttl", "set_at", "set_event", "set_unwanted", "set_new"],
                           "counted_{}"),
    "cachee_bench_count_handlers": (["handler", "handler_metadata", "handler_log"], "counted_handlers"),
}
OPERATIONS = {operation: (program, function.format(operation))
              for program, (operations, function) in PROGRAMS.items() for operation in operations}
SHORT, LONG = 4096, 20480


def count(program, function, operation, operations):
    with tempfile.NamedTemporaryFile() as out:
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}",
                               f"--toggle-collect=*{function}(*", program, operation, str(operations)],
                              capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected:
        sys.exit(f"{operation}: {done.stderr}")
    return int(collected.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=TREE / "build/release")
    parser.add_argument("operations", nargs="*", default=list(OPERATIONS), metavar="OPERATION")
    arguments = parser.parse_args()
    for operation in arguments.operations:
        if operation not in OPERATIONS:
            sys.exit(f'unknown operation "{operation}": expected {", ".join(OPERATIONS)}')
        name, function = OPERATIONS[operation]
        program = arguments.build / "bench" / name
        if not program.exists():
            sys.exit(f"{program} is not there: cmake --build --preset release --target {name}")
        each = (count(program, function, operation, LONG) - count(program, function, operation, SHORT)) / (LONG - SHORT)
        print(f"{operation:17} {each:8.1f} instructions", flush=True)


if __name__ == "__main__":
    main()
