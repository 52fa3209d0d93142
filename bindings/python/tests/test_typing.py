"""The package is fully typed, and the types are those of the module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cachee
import pytest

pytest.importorskip("mypy")


def run(*words: str, cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, cwd=cache,
        env={**os.environ, "MYPYPATH": str(Path(cachee.__file__).parent.parent),
             "MYPY_CACHE_DIR": str(cache)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_and_user_pass_mypy_strict(tmp_path: Path) -> None:
    user = Path(__file__).with_name("typed_user.py")
    run("mypy", "--strict", "-p", "cachee", cache=tmp_path)
    run("mypy", "--strict", str(user), cache=tmp_path)


# Of pybind11: the metaclass, and a constructor that only says that there is none.
EXPECTED_DIFFERENCES = """\
cachee._cachee.NativeCache
cachee._cachee.NativeSubscription
cachee._cachee.Pin
cachee._cachee.Pin.__init__
"""


def test_the_stub_has_what_the_module_has(tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    expected.write_text(EXPECTED_DIFFERENCES)
    run("mypy.stubtest", "cachee._cachee", "--allowlist", str(expected), cache=tmp_path)
