"""Fixtures: real segments, held by a real process.

CACHEE_SEGMENT_HOLDER names tests/support's segment_holder, CACHEED the supervisor; CTest sets them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import cachee
import pytest

DEADLINE_S = 20.0
_numbers = itertools.count()


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
        time.sleep(0.002)


def _program(variable: str) -> str:
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} is not set: run through ctest")
    return path


def _segment_name() -> str:
    return f"test-python-{os.getpid()}-{next(_numbers)}"


class Holder:
    """A segment that a segment_holder keeps."""

    def __init__(self, memory_bytes: int = 16 << 20) -> None:
        self.name = _segment_name()
        self._process = subprocess.Popen(
            [_program("CACHEE_SEGMENT_HOLDER"), self.name, str(memory_bytes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        answer = self._read()
        assert answer.startswith("ok"), answer
        return answer[3:]

    def fill_ring(self, cache: cachee.Cache[bytes, bytes], pattern: str) -> int:
        """Writes keys of a trigger's pattern until one is pressed back; gives its number."""
        for number in range(cache.info()["ring"]["capacity"] + 1):
            try:
                cache.set(pattern.replace("*", str(number)), b"v")
            except cachee.BackPressure:
                return number
        raise AssertionError("the ring takes everything")

    def stop(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@contextlib.contextmanager
def refusals(subscription: cachee.Subscription[bytes]) -> Iterator[list[cachee.NoSupervisor]]:
    """Gives the slices of a subscription's waits that ended without a cacheed."""
    refused: list[cachee.NoSupervisor] = []
    read = subscription._read

    def watched(patience_ms: int, count_max: int) -> None:
        try:
            read(patience_ms, count_max)
        except cachee.NoSupervisor as error:
            refused.append(error)
            raise

    with mock.patch.object(subscription, "_read", watched):
        yield refused


@pytest.fixture
def holder() -> Iterator[Holder]:
    held = Holder()
    yield held
    held.stop()


@pytest.fixture
def cache(holder: Holder) -> Iterator[cachee.Cache[bytes, bytes]]:
    with cachee.Cache(holder.name) as opened:
        yield opened


class Supervisor:
    """A running cacheed with folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.name = _segment_name()
        self.runtime_dir = folder / "run"
        self._state_dir = folder / "state"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                _program("CACHEED"), "--name", self.name, "--memory", "16MiB", "--ring-events",
                "1024", "--runtime-dir", str(self.runtime_dir), "--state-dir",
                str(self._state_dir),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: self._listens() or self._process.poll() is not None, "cacheed starts")
        assert self._process.poll() is None

    def _listens(self) -> bool:
        # The socket of one that was killed is still there.
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.runtime_dir / f"{self.name}.sock")) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(DEADLINE_S) == 0
        # The segment outlives its supervisor; nobody wants this one again.
        Path("/dev/shm", f"cachee.{self.name}").unlink(missing_ok=True)
        shutil.rmtree(Path("/dev/shm", f"cachee.{self.name}.locks"), ignore_errors=True)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    running = Supervisor(tmp_path)
    monkeypatch.setenv("CACHEE_RUNTIME_DIR", str(running.runtime_dir))
    yield running
    running.stop()
