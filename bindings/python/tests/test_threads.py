"""One Cache serves many threads, and what waits does not hold the interpreter up."""

from __future__ import annotations

import threading
import time

import cachee
import pytest

from conftest import DEADLINE_S, Holder

Bytes = cachee.Cache[bytes, bytes]


def test_threads_count_together(cache: Bytes) -> None:
    def count() -> None:
        for _ in range(500):
            cache.incr("n")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert cache["n"] == b"4000"


def test_more_threads_than_client_slots_may_come_and_go(cache: Bytes) -> None:
    for _ in range(400):  # of 256 slots
        thread = threading.Thread(target=lambda: cache.incr("n"))
        thread.start()
        thread.join(DEADLINE_S)
    assert cache["n"] == b"400"


def test_a_writer_that_waits_does_not_hold_the_interpreter(holder: Holder, cache: Bytes) -> None:
    holder.ask("trigger loud:* 2 1500")
    holder.fill_ring(cache, "loud:*")  # the next write waits 1.5 s
    outcome: list[str] = []

    def write() -> None:
        try:
            cache.set("loud:last", b"v")
            outcome.append("stored")
        except cachee.BackPressure:
            outcome.append("pressed back")

    waiting = threading.Thread(target=write)
    waiting.start()
    steps = 0
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        cache.get("none")
        steps += 1
    assert waiting.is_alive() and steps > 100
    holder.ask("acknowledge")  # makes room: the writer goes on
    waiting.join(DEADLINE_S)
    assert outcome == ["stored"]


def test_closing_while_others_work(holder: Holder) -> None:
    cache = cachee.Cache(holder.name)
    started = threading.Barrier(5)
    failures: list[BaseException] = []

    def work() -> None:
        started.wait()
        try:
            while True:
                cache.incr("n")
                cache.get("n")
        except cachee.Closed:
            pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.05)
    cache.close()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    assert failures == []


def test_setdefault_of_many_threads_agrees(cache: Bytes) -> None:
    for round_ in range(20):
        got: list[bytes] = []
        start = threading.Barrier(4)

        def ask(number: int, key: str = f"k:{round_}") -> None:
            start.wait()
            got.append(cache.setdefault(key, b"%d" % number))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert len(got) == 4 and len(set(got)) == 1


def test_pop_of_many_threads_gives_each_value_once(cache: Bytes) -> None:
    cache.set_many({f"k:{i}": b"%d" % i for i in range(200)})
    got: list[bytes] = []

    def drain() -> None:
        while True:
            try:
                got.append(cache.popitem()[1])
            except KeyError:
                return

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(got, key=int) == [b"%d" % i for i in range(200)]


@pytest.mark.parametrize("bytes_", [0, 1, 1000, 1 << 20])
def test_values_are_whole_under_change(cache: Bytes, bytes_: int) -> None:
    values = [bytes([fill]) * bytes_ for fill in (1, 2)]
    cache["k"] = values[0]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for value in values:
                cache["k"] = value

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(50):
            assert cache["k"] in values
            with cache.view("k") as view:
                assert view in values
    finally:
        stop.set()
        writer.join(DEADLINE_S)
