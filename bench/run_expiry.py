#!/usr/bin/env python3
"""How late expiry events come, what waiting for them and for room costs, and what clients notice; beside Redis.

    bench/run_expiry.py [--build build/release] [--keys 1000000] [--many 10000000] [--no-keep]

Ten minutes, of which Redis gets one and the ten million keys take seven; they need 4 GiB of /dev/shm. Keeps <date>-<commit>-expiry.json
and .svg in bench/results.
"""
import argparse
import json
import pathlib

from expiry_cacheed import run_cacheed
from expiry_redis import run_redis
from plot_expiry import draw
from run import TREE, origin, program_of, run_json

FEW = 1000  # whose lines all are in the processor's caches


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=TREE / "build/release")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--many", type=int, default=10_000_000)
    parser.add_argument("--no-keep", action="store_true")
    arguments = parser.parse_args()
    expiry, scale, room = (program_of(arguments.build, f"cachee_bench_{name}") for name in ("expiry", "scale", "room"))

    def measure(keys, parts):
        print(f"\n== {keys:,} keys: {parts}", flush=True)
        return run_json([expiry, "--keys", str(keys), "--only", parts], "--json")

    result = {**origin(), "keys": arguments.keys, "many": arguments.many}
    result["of_keys"] = measure(arguments.keys, "random,idle,sessions,mass,among,writer")
    result["of_many"] = measure(arguments.many, "idle,sessions")
    result["of_few"] = measure(FEW, "writer")
    for name, keys in (("cacheed_of_keys", arguments.keys), ("cacheed_of_many", arguments.many)):
        print(f"\n== a real cacheed, {keys:,} keys", flush=True)
        result[name] = run_cacheed(arguments.build, keys)
    print("\n== a storm of eviction and expiry", flush=True)
    result["storm"] = run_json([scale, "--keys", str(arguments.keys), "--rounds", "2", "--seconds", "1"], "--json")["set_in_storm"]
    print("\n== room: who makes it, and whose it is", flush=True)
    result["room"] = run_json([room], "--json")
    print("\n== the same 1,000 keys in Redis, a minute", flush=True)
    result["redis"] = run_redis()
    print(json.dumps(result["redis"], indent=1))
    if arguments.no_keep:
        return
    path = TREE / "bench/results" / f'{result["date"]}-{result["commit"]}-expiry'
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".svg").write_text(draw(result))


if __name__ == "__main__":
    main()
