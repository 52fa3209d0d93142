#!/usr/bin/env python3
"""Checks the rules of the tree that a compiler does not see.

    tools/lint/tidy.py [--root DIR]      prints "path:line: rule: what" per finding; exit 1 if any

Rules, all from tools/lint/layers.toml:
  layers        an include goes downward; from `segment` upward only through a module's face
  parts         parts of the daemon know core/, store/ and <cachee/*>, never each other
  public-only   tools, bindings, bench (but micro/ and count/) and tests/e2e see only <cachee/...>
  atomics       memory orders and atomics of the segment stay in their home; elsewhere std::atomic
                is between threads of one process, with its default order
  third-party   a library is named in its folder only
  crash-points  CACHEE_CRASH_POINT names are literals, well-formed, and each stands once
  invariants    an id that a header of libshm or the daemon states is its only one, and is in
                libshm/doc/invariants.md with that header and what checks it; one of libshm is quoted by a
                test or a model
"""
import argparse
import dataclasses
import pathlib
import re
import sys
import tomllib

SUFFIXES = {".hpp", ".cpp", ".h", ".c"}
TOP_FOLDERS = ("libshm", "daemon", "bindings", "tests", "bench", "tools")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ATOMIC = re.compile(r"\bstd\s*::\s*atomic|^\s*#\s*include\s*<atomic>")
ORDER = re.compile(r"\bmemory_order|\batomic_thread_fence|\batomic_ref|\b__atomic_|\b__sync_")
CRASH_POINT = re.compile(r"\bCACHEE_CRASH_POINT\s*\(\s*([^)]*)\)")
INVARIANT = re.compile(r"^//\s+\[([A-Z]{2}-[0-9]+)\] ")
ROW = re.compile(r"^\| \[([A-Z]{2}-[0-9]+)\] \| (.+) \| `([^`]+)` \| (.*\S) \|$")
QUOTED = re.compile(r"\[([A-Z]{2}-[0-9]+)\]")
CRASH_NAME = re.compile(r'^"([a-z0-9_]+(?:\.[a-z0-9_]+)+)"$')


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def code_lines(text):
    """Yields (number, line) with comments blanked; strings stay, as includes and names need them."""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        kept = []
        at = 0
        quote = None
        while at < len(line):
            pair = line[at:at + 2]
            if in_block:
                if pair == "*/":
                    in_block = False
                    at += 1
            elif quote:
                kept.append(line[at])
                if line[at] == "\\" and at + 1 < len(line):
                    at += 1
                    kept.append(line[at])
                elif line[at] == quote:
                    quote = None
            elif pair == "//":
                break
            elif pair == "/*":
                in_block = True
                at += 1
            else:
                # A digit separator (1'000) opens no character literal.
                if line[at] == '"' or (line[at] == "'" and not (at and line[at - 1].isalnum())):
                    quote = line[at]
                kept.append(line[at])
            at += 1
        yield number, "".join(kept)


def without_strings(line):
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', line)


class Rules:
    def __init__(self, root, settings):
        self.root = root
        self.settings = settings
        self.findings = []
        libshm = settings["libshm"]
        self.level = {m: n for n, layer in enumerate(libshm["layers"]) for m in layer}
        self.edges = set(libshm.get("edges", {}))
        self.inner = set(libshm.get("inner_headers", {}))
        self.face_level = self.level[libshm["faces_from"]]
        self.third_party = [(name, re.compile(t["header"]), t["folders"])
                            for name, t in settings["third_party"].items()]
        self.crash_points = {}

    def add(self, path, line, rule, text):
        self.findings.append(Finding(path, line, rule, text))

    def files(self):
        for top in TOP_FOLDERS:
            for path in sorted((self.root / top).rglob("*")):
                if path.suffix in SUFFIXES and path.is_file():
                    yield path.relative_to(self.root).as_posix(), path

    def run(self):
        for name, path in self.files():
            for number, line in code_lines(path.read_text(encoding="utf-8", errors="replace")):
                self.check_line(name, number, line)
        self.check_invariants()
        return sorted(self.findings)

    def check_line(self, name, number, line):
        include = INCLUDE.match(line)
        if include:
            quoted, header = include.group(1) == '"', include.group(2)
            self.check_third_party(name, number, header)
            if name.startswith("libshm/src/"):
                self.check_libshm(name, number, header, quoted)
            elif name.startswith("libshm/include/"):
                if header.count("/") and not header.startswith(("cachee/", "sys/")):
                    self.add(name, number, "public-only", f"a public header includes <{header}>")
            elif name.startswith("daemon/src/"):
                self.check_daemon(name, number, header, quoted)
            elif name.startswith(("tools/", "bindings/", "tests/e2e/", "bench/")) \
                    and not name.startswith(("bench/micro/", "bench/count/")):
                self.check_public_only(name, number, header, quoted)
        self.check_atomics(name, number, line)
        for argument in CRASH_POINT.findall(line):
            self.check_crash_point(name, number, argument.strip())

    def check_third_party(self, name, number, header):
        for library, pattern, folders in self.third_party:
            if pattern.match(header) and not name.startswith(tuple(folders)):
                self.add(name, number, "third-party",
                         f"<{header}>: {library} is named in {', '.join(folders)} only")

    def check_libshm(self, name, number, header, quoted):
        if not quoted:
            return
        parts = header.split("/")
        if len(parts) == 1:
            if not (self.root / name).parent.joinpath(header).is_file():
                self.add(name, number, "layers", f'"{header}" has no module in its path')
            return
        here, there = name.split("/")[2], parts[0]
        if here == there:
            return
        if here not in self.level or there not in self.level:
            unknown = here if here not in self.level else there
            self.add(name, number, "layers", f"module {unknown} has no layer in layers.toml")
            return
        if self.level[there] >= self.level[here] and f"{here} -> {there}" not in self.edges:
            self.add(name, number, "layers", f'{here} may not include {there} ("{header}")')
        if self.level[there] >= self.face_level and header != f"{there}/{there}.hpp" \
                and header not in self.inner \
                and not (here == "keyspace" and header == f"{there}/{there}_inl.hpp"):
            self.add(name, number, "layers", f'"{header}" is inside {there}: include {there}/{there}.hpp')

    def check_daemon(self, name, number, header, quoted):
        rules = self.settings["daemon"]
        inside = name.removeprefix("daemon/src/")
        if not quoted or "/" not in header or inside in rules["wiring"]:
            return
        here, there = inside.split("/")[0], header.split("/")[0]
        shared = rules["shared"]
        known = shared[:shared.index(here)] if here in shared else shared
        if here == there or there in known or header in rules.get("words", {}):
            return
        edges = rules.get("edges", {})
        if f"{here} -> {header}" in edges or f"{here} -> {there}" in edges:
            return
        self.add(name, number, "parts", f'{here} may not include "{header}"')

    def check_public_only(self, name, number, header, quoted):
        if not quoted or (self.root / name).parent.joinpath(header).is_file():
            return
        top = "/".join(name.split("/")[:2]) if name.startswith(("tools/", "bindings/")) else name.split("/")[0]
        if any((self.root / top / sub / header).is_file() for sub in ("", "src")):
            return
        self.add(name, number, "public-only", f'"{header}" is not of <cachee/...> nor of {top}/')

    def check_atomics(self, name, number, line):
        line = without_strings(line)
        if name.startswith(tuple(self.settings["atomics"])):
            return
        plain = name.startswith(tuple(self.settings["plain_atomics"]))
        if ORDER.search(line) or (ATOMIC.search(line) and not plain):
            homes = ", ".join(self.settings["atomics"])
            self.add(name, number, "atomics", f"atomics of shared memory and memory orders live in {homes}")

    def check_invariants(self):
        tested = set()
        for path in (self.root / "tests").rglob("*"):
            if path.is_file():
                tested.update(QUOTED.findall(path.read_text(encoding="utf-8", errors="replace")))
        page = self.root / "libshm/doc/invariants.md"
        rows = {}
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        for number, line in enumerate(text.splitlines(), 1):
            row = ROW.match(line)
            if row and row.group(1) in rows:
                self.add(page.relative_to(self.root).as_posix(), number, "invariants", f"[{row.group(1)}] has two rows")
            elif row:
                rows[row.group(1)] = row.group(3)
                if not row.group(2).endswith("."):
                    self.add(page.relative_to(self.root).as_posix(), number, "invariants",
                             f"[{row.group(1)}] is no whole sentence")
        stated_in = {}
        for top in ("libshm/src", "daemon/src"):
            for path in sorted((self.root / top).rglob("*.hpp")):
                name = path.relative_to(self.root).as_posix()
                for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                    stated = INVARIANT.match(line)
                    if not stated:
                        continue
                    invariant = stated.group(1)
                    if stated_in.setdefault(invariant, name) != name:
                        self.add(name, number, "invariants", f"[{invariant}] is stated by {stated_in[invariant]} too")
                    elif rows.get(invariant) != name:
                        self.add(name, number, "invariants",
                                 f"[{invariant}] of this header is not in libshm/doc/invariants.md")
                    if top == "libshm/src" and invariant not in tested:
                        self.add(name, number, "invariants", f"[{invariant}] is quoted by no test")
        for invariant in rows.keys() - stated_in.keys():
            self.add(page.relative_to(self.root).as_posix(), 1, "invariants", f"[{invariant}] is stated by no header")

    def check_crash_point(self, name, number, argument):
        if name == "libshm/src/mem/crash_point.hpp":
            return
        match = CRASH_NAME.match(argument)
        if not match:
            self.add(name, number, "crash-points", f'{argument}: expected a literal "module.step"')
            return
        point = match.group(1)
        if point in self.crash_points:
            self.add(name, number, "crash-points", f'"{point}" stands at {self.crash_points[point]} too')
        else:
            self.crash_points[point] = f"{name}:{number}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    here = pathlib.Path(__file__).resolve()
    parser.add_argument("--root", type=pathlib.Path, default=here.parents[2])
    arguments = parser.parse_args()
    settings_path = arguments.root / "tools/lint/layers.toml"
    with settings_path.open("rb") as file:
        rules = Rules(arguments.root, tomllib.load(file))
    findings = rules.run()
    for finding in findings:
        print(finding)
    count = len(rules.crash_points)
    print(f"tidy: {len(findings)} findings, {count} crash points", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
