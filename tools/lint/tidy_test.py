"""Goal: tidy.py finds each kind of breach, and finds none where there is none.

Method: small trees with one breach each, checked with the real layers.toml.
"""
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TIDY = HERE / "tidy.py"


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tools/lint").mkdir(parents=True)
    shutil.copy(HERE / "layers.toml", tmp_path / "tools/lint/layers.toml")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    return write


def tidy(root):
    done = subprocess.run([sys.executable, TIDY, "--root", root], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == (1 if lines else 0), done.stderr
    return lines


BREACHES = [
    ("layers", "libshm/src/index/find.cpp", '#include "keyspace/keyspace.hpp"'),
    ("layers", "libshm/src/index/find.cpp", '#include "ring/ring.hpp"'),
    ("layers", "libshm/src/base/clock.hpp", '#include "mem/shared.hpp"'),
    ("layers", "libshm/src/keyspace/set.cpp", '#include "ring/append_detail.hpp"'),
    ("layers", "libshm/src/novel/x.cpp", '#include "base/bits.hpp"'),
    ("layers", "libshm/src/index/find.cpp", '#include "nowhere.hpp"'),
    ("parts", "daemon/src/webhook/sender.cpp", '#include "compliance/log.hpp"'),
    ("parts", "daemon/src/core/log.cpp", '#include "store/sqlite.hpp"'),
    ("parts", "daemon/src/store/sqlite.cpp", '#include "webhook/sender.hpp"'),
    ("public-only", "tools/cachee/cmd_get.cpp", '#include "index/index.hpp"'),
    ("public-only", "bench/workload/driver.cpp", '#include "core/log.hpp"'),
    ("public-only", "libshm/include/cachee/cache.hpp", "#include <boost/any.hpp>"),
    ("atomics", "libshm/src/ring/append.cpp", "std::atomic<int> x;"),
    ("atomics", "libshm/src/ring/append.cpp", "x.load(std::memory_order_relaxed);"),
    ("atomics", "libshm/src/ring/append.cpp", "#include <atomic>"),
    ("atomics", "libshm/src/ring/append.cpp", "__atomic_load_n(&x, 0);"),
    ("atomics", "daemon/src/events/x.cpp", "flag.store(true, std::memory_order_release);"),
    ("atomics", "daemon/src/events/x.cpp", "std::atomic_ref<int> word{shared};"),
    ("third-party", "daemon/src/control/socket.cpp", "#include <sqlite3.h>"),
    ("third-party", "daemon/src/control/socket.cpp", "#include <lua.hpp>"),
    ("third-party", "libshm/src/api/cache.cpp", "#include <fmt/format.h>"),
    ("third-party", "libshm/src/segment/create.cpp",
     "#include <boost/interprocess/mapped_region.hpp>"),
    ("crash-points", "libshm/src/slab/allocate.cpp", "CACHEE_CRASH_POINT(kName);"),
    ("crash-points", "libshm/src/slab/allocate.cpp", 'CACHEE_CRASH_POINT("Slab Alloc");'),
    ("crash-points", "libshm/src/slab/allocate.cpp",
     'CACHEE_CRASH_POINT("slab.linked");\nCACHEE_CRASH_POINT("slab.linked");'),
]


def test_an_invariant_that_nobody_tests_or_lists_is_found(tree):
    stated = "// Invariants\n//   [RG-1] head <= tail,\n//          always [RG-2].\n"
    header = "libshm/src/ring/ring.hpp"
    row = "| [RG-1] | head <= tail. | `libshm/src/ring/ring.hpp` | fsck |\n"
    found = tidy(tree(header, stated))
    assert [line.split(": ", 2)[1:] for line in found] == [
        ["invariants", "[RG-1] is quoted by no test"],
        ["invariants", "[RG-1] of this header is not in libshm/doc/invariants.md"]], found
    tree("libshm/doc/invariants.md", row.replace("ring.hpp", "other.hpp"))
    assert len(tidy(tree("tests/model/spin/ring.pml", "/* [RG-1] */"))) == 1
    assert tidy(tree("libshm/doc/invariants.md", row)) == []
    assert len(tidy(tree("libshm/doc/invariants.md", row + row))) == 1
    assert len(tidy(tree("libshm/doc/invariants.md", row.replace("tail.", "tail, and")))) == 1
    assert len(tidy(tree("libshm/doc/invariants.md", row.replace(" fsck |", " |")))) == 1, "who checks it?"
    gone = row.replace("RG-1", "RG-7")
    assert len(tidy(tree("libshm/doc/invariants.md", row + gone))) == 1
    # One name, one invariant: of the daemon's as well.
    tree("libshm/doc/invariants.md", row)
    assert len(tidy(tree("daemon/src/executor/loop.hpp", "// [RG-1] Runs happen in order.\n"))) == 1
    assert len(tidy(tree("daemon/src/executor/loop.hpp", "// [XR-1] Runs happen in order.\n"))) == 1
    own = "| [XR-1] | Runs happen in order. | `daemon/src/executor/loop.hpp` | `unit/x.cpp` |\n"
    assert tidy(tree("libshm/doc/invariants.md", row + own)) == []


@pytest.mark.parametrize("rule,name,text", BREACHES)
def test_a_breach_is_found_once(tree, rule, name, text):
    found = [line for line in tidy(tree(name, text + "\n")) if f": {rule}: " in line]
    assert len(found) == 1, found
    assert found[0].startswith(name + ":")


ALLOWED = [
    ("libshm/src/index/find.cpp", '#include "record/record.hpp"'),
    ("libshm/src/index/find.cpp", '#include "index/probe.hpp"'),
    ("libshm/src/reclaim/retired.cpp", '#include "clients/clients.hpp"'),
    ("libshm/src/keyspace/get.cpp", '#include "ring/ring_inl.hpp"'),
    ("libshm/src/segment/create.cpp", '#include "layout/geometry.hpp"'),
    ("libshm/src/os/mapping.cpp", "#include <boost/interprocess/mapped_region.hpp>"),
    ("libshm/src/mem/shared.hpp", "#include <atomic>\nstd::atomic_ref<int> x;"),
    ("daemon/src/main.cpp", '#include "webhook/sender.hpp"'),
    ("daemon/src/webhook/outbox.cpp", '#include "store/sqlite.hpp"'),
    ("daemon/src/store/outbox.cpp", '#include "core/log.hpp"\n#include "script/effects.hpp"'),
    ("daemon/src/store/sqlite.cpp", "#include <sqlite3.h>"),
    ("daemon/src/core/runner.cpp", "#include <atomic>\nstd::atomic<bool> stop;"),
    ("libshm/src/ring/append.cpp", "// not std::atomic: see mem/\n/* memory_order\n std::atomic */"),
    ("libshm/src/ring/append.cpp", 'log("std::atomic");'),
    ("libshm/src/ring/append.cpp", "int n = 1'000; // std::atomic"),
    ("libshm/src/slab/allocate.cpp",
     'CACHEE_CRASH_POINT("slab.alloc.linked");\nCACHEE_CRASH_POINT("slab.alloc.taken");'),
]


@pytest.mark.parametrize("name,text", ALLOWED)
def test_what_the_rules_allow_is_not_found(tree, name, text):
    assert tidy(tree(name, text + "\n")) == []


def test_every_edge_states_its_reason():
    import tomllib
    settings = tomllib.loads((HERE / "layers.toml").read_text())
    for table in (settings["libshm"]["edges"], settings["libshm"]["inner_headers"],
                  settings["daemon"]["words"], settings["daemon"]["edges"], settings["atomics"],
                  settings["plain_atomics"]):
        for edge, reason in table.items():
            assert len(reason.split()) >= 3, edge
