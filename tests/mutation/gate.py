#!/usr/bin/env python3
"""Plants bugs in copies of libshm and expects the tests to see them.

    gate.py --build build/test [--quick] [NAME ...]

A mutant of mutants.toml is one file of libshm with a text replaced. It, or who includes it, is compiled
with the command of the original, and linked before the library into the test that must catch it. That test
must pass without the mutant and fail with it: a mutant that survives, a text that does not stand in
its file once, or a mutant that does not compile fails the gate.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "libshm" / "src"
# Others: the one that is run by the instruction.
LIBRARY_OF = dict.fromkeys(["slow_client_test", "double_kill_test", "exhaustive_test"], "cachee_shm_crash")
TEST_SECONDS_MAX = 240


class GateError(Exception):
    pass


class Gate:
    def __init__(self, build):
        self.build = build.resolve()
        self.folder = self.build / "mutation"
        self.commands = json.loads((self.build / "compile_commands.json").read_text())
        self.links = {}
        self.baselines = {}

    def compile_command(self, file, library):
        for entry in self.commands:
            if f"/{library}.dir/" in entry["command"] and pathlib.Path(entry["file"]) == SOURCES / file:
                return shlex.split(entry["command"])
        raise GateError(f"{library} has no {file}")

    def link_command(self, test):
        """The last command that makes the test, without the shell around it."""
        if test not in self.links:
            made = subprocess.run(["ninja", "-C", str(self.build), "-t", "commands", f"tests/{test}"], check=True,
                                  capture_output=True, text=True).stdout.splitlines()
            self.links[test] = [word for word in shlex.split(made[-1]) if word not in (":", "&&")]
        return list(self.links[test])

    def mutated(self, mutant):
        text = (SOURCES / mutant["file"]).read_text()
        for find, replace in (("find", "replace"), ("also_find", "also_replace")):
            if find not in mutant:
                continue
            if text.count(mutant[find]) != 1:
                raise GateError(f"its text stands {text.count(mutant[find])} times in {mutant['file']}: {mutant[find]!r}")
            text = text.replace(mutant[find], mutant[replace])
        return text

    def make(self, mutant):
        """Compiles and links; returns the program."""
        library = LIBRARY_OF.get(mutant["test"], "cachee_shm_steps")
        folder = self.folder / mutant["name"]
        changed = folder / mutant["file"]
        changed.parent.mkdir(parents=True, exist_ok=True)
        changed.write_text(self.mutated(mutant))
        objects = []
        for file in mutant.get("compile", [mutant["file"]]):
            command = self.compile_command(file, library)
            for option in ("-o", "-c", "-MF", "-MT"):
                if option in command:
                    at = command.index(option)
                    del command[at:at + 2]
            # The changed file is found first; a source is compiled from its copy, as its includes are.
            source = folder / file
            if file != mutant["file"]:
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_text((SOURCES / file).read_text())
            first = next(n for n, word in enumerate(command) if word.startswith("-I"))
            command = [word for word in command[:first] + [f"-I{folder}"] + command[first:] if word != "-MD"]
            objects.append(str(source) + ".o")
            # A bug may leave a variable unused.
            built = subprocess.run(command + ["-w", "-c", str(source), "-o", objects[-1]], cwd=self.build,
                                   capture_output=True, text=True)
            if built.returncode != 0:
                raise GateError("it does not compile:\n" + built.stderr[-2000:])
        link = self.link_command(mutant["test"])
        program = folder / mutant["test"]
        link[link.index("-o") + 1] = str(program)
        archive = next(n for n, word in enumerate(link) if word.endswith(f"lib{library}.a"))
        link[archive:archive] = objects
        linked = subprocess.run(link, cwd=self.build, capture_output=True, text=True)
        if linked.returncode != 0:
            raise GateError("it does not link:\n" + linked.stderr[-2000:])
        return program

    def run(self, program, mutant):
        """Returns (passed, last lines, seconds)."""
        begin = time.monotonic()
        process = subprocess.Popen([str(program), f"--gtest_filter={mutant['filter']}", "--gtest_fail_fast"],
                                   env={**os.environ, **mutant.get("environment", {})}, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out, _ = process.communicate(timeout=TEST_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            out += "\nit did not end"
        # A child of a killed test may have kept its segments.
        for left in pathlib.Path("/dev/shm").glob(f"cachee.*-{process.pid}-*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if process.returncode == 0 and "0 tests from" in out:
            raise GateError("the filter matches no test")
        return process.returncode == 0, out, time.monotonic() - begin

    def baseline(self, mutant):
        """The test passes without the mutant."""
        key = (mutant["test"], mutant["filter"], str(mutant.get("environment", {})))
        if key not in self.baselines:
            self.baselines[key] = self.run(self.build / "tests" / mutant["test"], mutant)
        passed, out, _ = self.baselines[key]
        if not passed:
            raise GateError(f"{mutant['test']} {mutant['filter']} fails without it:\n{out[-1500:]}")

    def judge(self, mutant):
        """Empty: caught; otherwise what is wrong."""
        try:
            program = self.make(mutant)
            passed, out, seconds = self.run(program, mutant)
            self.baseline(mutant)
        except GateError as error:
            return f"{error}"
        if passed:
            return f"it survives {mutant['test']} {mutant['filter']} ({seconds:.1f} s)"
        first = next((line for line in out.splitlines() if line.startswith(("    Which is:", "no end:"))), "it ends badly")
        print(f"  caught   {mutant['name']:34} {mutant['test']} {mutant['filter']} in {seconds:.1f} s: {first.strip()[:110]}",
              flush=True)
        return ""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--build", type=pathlib.Path, required=True, help="a build folder (Ninja) with the tests built")
    options.add_argument("--quick", action="store_true", help="only the mutants marked `quick`")
    options.add_argument("names", nargs="*")
    chosen = options.parse_args()
    listed = tomllib.loads((HERE / "mutants.toml").read_text())
    mutants = [m for m in listed["mutant"]
               if (m["name"] in chosen.names if chosen.names else m.get("quick") or not chosen.quick)]
    if not mutants:
        sys.exit("gate.py: no such mutant")
    gate = Gate(chosen.build)
    survivors = set()

    def report(mutant, wrong):
        survivors.add(mutant["name"])
        print(f"  SURVIVES {mutant['name']}: {mutant['why']}\n    {wrong}", flush=True)

    # One whose text has moved plants nothing: every run says so, also of those that it leaves to the long form.
    for mutant in listed["mutant"]:
        try:
            gate.mutated(mutant)
        except GateError as error:
            report(mutant, str(error))
    for mutant in mutants:
        if mutant["name"] not in survivors and (wrong := gate.judge(mutant)):
            report(mutant, wrong)
    if not chosen.names and not chosen.quick:
        for model in listed["model"]:
            print(f"  model    {model['name']:34} {model['where']}: memory order only, see tests/model")
    print(f"{len(mutants)} mutants, {len(survivors)} not caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
