"""After fork() the child works on with a handle of its own, and the parent does not notice."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from typing import Any

import cachee
import pytest

from conftest import DEADLINE_S, Holder

Bytes = cachee.Cache[bytes, bytes]


def in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_reads_and_writes(cache: Bytes) -> None:
    cache["k"] = b"parent"

    def work() -> None:
        assert cache["k"] == b"parent"
        cache["k"] = b"child"
        assert cache.incr("n") == 1

    in_child(work)
    assert cache["k"] == b"child"
    assert cache.incr("n") == 2


@pytest.mark.parametrize(
    "first", ["get", "set", "view", "iterate", "get_many", "incr", "info", "len", "delete"]
)
def test_any_operation_may_be_the_child_s_first(cache: Bytes, first: str) -> None:
    cache["k"] = b"v"
    operations: dict[str, Callable[[], object]] = {
        "get": lambda: cache.get("k"),
        "set": lambda: cache.set("k", b"w"),
        "view": lambda: bytes(cache.view("k")),
        "iterate": lambda: list(cache),
        "get_many": lambda: cache.get_many(["k"]),
        "incr": lambda: cache.incr("n"),
        "info": lambda: cache.info(),
        "len": lambda: len(cache),
        "delete": lambda: cache.delete("k"),
    }

    def work() -> None:
        assert operations[first]()
        cache["more"] = b"v"

    in_child(work)
    assert cache["more"] == b"v"


def test_a_grandchild_works_too(cache: Bytes) -> None:
    def grandchild() -> None:
        cache.incr("n")

    def child() -> None:
        cache.incr("n")
        in_child(grandchild)
        cache.incr("n")

    in_child(child)
    assert cache["n"] == b"3"


def test_a_closed_cache_stays_closed_in_the_child(cache: Bytes) -> None:
    cache.close()

    def work() -> None:
        with pytest.raises(cachee.Closed):
            cache.get("k")

    in_child(work)


def test_closing_in_the_child_leaves_the_parent_alone(cache: Bytes) -> None:
    cache["k"] = b"v"
    in_child(cache.close)
    assert cache["k"] == b"v"
    cache["k"] = b"w"


def test_the_parent_s_view_survives_a_child_that_drops_it(cache: Bytes) -> None:
    cache["k"] = b"before"
    view = cache.view("k")
    in_child(view.release)
    cache["k"] = b"after."
    cache.set_many({f"other:{i}": b"xxxxxx" for i in range(5000)})
    assert view == b"before"


def test_fork_while_other_threads_write(cache: Bytes) -> None:
    stop = threading.Event()

    def write(number: int) -> None:
        while not stop.is_set():
            cache.incr(f"n:{number}")

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            in_child(lambda: cache.__setitem__("k", b"v"))
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert cache["k"] == b"v"


def _count(cache: Bytes, times: int) -> None:
    for _ in range(times):
        cache.incr("n")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_count_together(holder: Holder, method: str) -> None:
    with cachee.Cache(holder.name) as cache:
        context: Any = multiprocessing.get_context(method)
        workers = [context.Process(target=_count, args=(cache, 500)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(DEADLINE_S)
            assert worker.exitcode == 0
        assert cache["n"] == b"1500"
