"""Subscriptions: each event of a group to one consumer, in the order of its key, until it is over.

Method: a cacheed of each test's own; consumers are subscriptions of this process, or processes that
are killed.
"""

from __future__ import annotations

import datetime
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cachee
import pytest

from conftest import DEADLINE_S, Holder, Supervisor, refusals, wait_until

Bytes = cachee.Cache[bytes, bytes]
Sub = cachee.Subscription[bytes]


@pytest.fixture
def cache(supervisor: Supervisor) -> Iterator[Bytes]:
    with cachee.Cache(supervisor.name) as opened:
        yield opened


def join(cache: Bytes, **options: Any) -> Sub:
    options = {"backoff_min": 0.001, "backoff_max": 0.005, **options}
    return cache.subscribe("s:*", events=["ON_WRITE"], group="g", **options)


def one(subscription: Sub) -> cachee.Event[bytes]:
    [event] = subscription.wait(DEADLINE_S, 1)
    return event


def take(subscription: Sub, number: int) -> list[cachee.Event[bytes]]:
    """The next events, not acknowledged: of different keys, else the second one never comes."""
    events: list[cachee.Event[bytes]] = []
    while len(events) < number:
        more = subscription.wait(DEADLINE_S, min(number - len(events), 4096))
        assert more, f"{len(events)} of {number} came"
        events += more
    return events


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def await_call(subscription: Sub) -> None:
    wait_until(lambda: subscription._native.calls, "a thread in the wait")


# ---- events --------------------------------------------------------------------------------


def test_iteration_gives_every_event_once_in_the_order_of_its_key(cache: Bytes) -> None:
    subscription = join(cache)
    for number in range(90):
        cache[f"s:{number % 3}"] = b"%d" % number
    seen: dict[bytes, list[int]] = {}
    ids = set()
    for event in subscription:
        seen.setdefault(event.key, []).append(int(event.value))
        ids.add(event.id)
        assert event.attempt == 1
        event.ack()
        if len(ids) == 90:
            break
    assert seen == {b"s:%d" % key: list(range(key, 90, 3)) for key in range(3)}
    assert subscription.poll() == [] and subscription.lag() == 0


def test_an_event_has_the_fields_of_lua(cache: Bytes) -> None:
    subscription = cache.subscribe(
        "s:*", events="on_write, ON_DELETE,ON_EXPIRE", group="g", consumer="this one"
    )
    cache["s:1"] = b"old"
    first = one(subscription)
    assert (first.type, first.cause, first.value, first.old_value) == (
        "write", "create", b"old", None,
    )
    assert first.deadline is None and first.ttl_ms is None and first.parent is None
    version = cache.set("s:1", b"\xff\0", ttl=60, cost=2.5, metadata={"user": "ädä"})
    first.ack()
    second = one(subscription)
    assert (second.key, second.value, second.old_value) == (b"s:1", b"\xff\0", b"old")
    assert (second.type, second.cause, second.version) == ("write", "update", version)
    assert second.metadata == {"user": "ädä"} and second.cost == 2.5 and second.size == 2
    assert second.ttl_ms is not None and 0 < second.ttl_ms <= 60_000
    assert abs(second.timestamp - time.time()) < DEADLINE_S
    assert second.deadline is not None
    assert abs(second.deadline - second.timestamp - 60) < 0.1
    assert (second.attempt, second.duplicate, second.depth) == (1, False, 0)
    assert second.chain == second.id != first.id
    assert second.origin.kind == "client" and second.origin.pid == os.getpid()
    with pytest.raises(AttributeError):
        second.key = b"k"  # type: ignore[misc]
    with pytest.raises(TypeError):
        second.metadata["user"] = "x"  # type: ignore[index]
    cache.touch("s:1", 0.02)
    second.ack()
    third = one(subscription)
    assert (third.type, third.cause, third.value) == ("expire", "ttl", b"\xff\0")
    assert third.lag_ms >= 0 and third.age_ms >= 0
    third.ack()


def test_keys_are_text_where_the_cache_has_text_keys(supervisor: Supervisor) -> None:
    with cachee.Cache(supervisor.name, decode_keys=True) as cache:
        subscription = cache.subscribe("s:*", events=["ON_WRITE"], group="g")
        cache["s:ä"] = b"v"
        cache[b"s:\xff"] = b"v"
        keys = {event.key for event in subscription.wait(DEADLINE_S)}
        while len(keys) < 2:
            keys |= {event.key for event in subscription.wait(DEADLINE_S)}
        assert keys == {"s:ä", "s:\udcff"}


def test_a_group_without_readers_keeps_its_events(cache: Bytes) -> None:
    join(cache).close()
    cache["s:1"] = b"v"
    with cache.subscribe(group="g") as again:
        assert one(again).value == b"v"


def test_many_are_acknowledged_at_once(cache: Bytes) -> None:
    subscription = join(cache)
    cache.set_many({f"s:{number}": b"v" for number in range(50)})
    events = take(subscription, 50)
    subscription.ack(*events[:40])
    subscription.ack(*(event.id for event in events[40:]))
    assert subscription.lag() == 0
    subscription.ack()


def test_a_second_ack_is_stale(cache: Bytes) -> None:
    subscription = join(cache)
    cache["s:1"] = b"v"
    event = one(subscription)
    event.ack()
    refused: list[Callable[[], None]] = [event.ack, event.nack]
    for again in refused:
        with pytest.raises(cachee.Stale, match=f"{event.id}.* acknowledged before"):
            again()


# ---- failed attempts -----------------------------------------------------------------------


def test_nack_hands_out_again_and_ends_in_a_dead_letter(cache: Bytes) -> None:
    subscription = join(cache, retry_attempts=2)
    cache["s:1"] = b"bad"
    first = one(subscription)
    cache["s:1"] = b"behind it"
    start = time.monotonic()
    first.nack(delay=datetime.timedelta(seconds=0.2), error="no such user")
    assert subscription.poll() == [], "what comes behind a failed event waits"
    second = one(subscription)
    assert time.monotonic() - start >= 0.19
    assert (second.id, second.attempt, second.value) == (first.id, 2, b"bad")
    second.nack(error="no such user")
    behind = one(subscription)
    assert behind.value == b"behind it"
    behind.ack()
    assert subscription.lag() == 0


def test_an_event_past_its_ack_deadline_goes_to_another(cache: Bytes) -> None:
    slow, quick = join(cache, ack_deadline=0.3), join(cache, ack_deadline=0.3)
    cache["s:1"] = b"v"
    event = one(slow)
    again = one(quick)
    assert (again.id, again.attempt) == (event.id, 2)
    with pytest.raises(cachee.Stale, match="has it"):
        event.ack()
    again.ack()


def test_what_was_read_ahead_is_not_handed_out_past_its_deadline(cache: Bytes) -> None:
    slow, quick = join(cache, ack_deadline=0.3), join(cache, ack_deadline=0.3)
    for number in range(3):
        cache[f"s:{number}"] = b"v"
    wait_until(lambda: slow.lag() == 3, "three events")
    first = next(slow)

    def ahead() -> bool:
        slow._read(0, 8)
        return len(slow._ready) == 2

    wait_until(ahead, "the other two")
    quick.ack(*take(quick, 3))
    cache["s:last"] = b"v"
    assert next(slow).key == b"s:last", f"{first.key!r} was the only one of the three"


def test_closing_gives_back_at_once(cache: Bytes) -> None:
    first, second = join(cache), join(cache)
    cache["s:1"] = b"v"
    event = one(first)
    first.close()
    first.close()
    again = one(second)
    assert (again.attempt, again.duplicate) == (1, True)
    with pytest.raises(cachee.Closed, match="group 'g'"):
        event.ack()


def test_a_dropped_subscription_gives_back(cache: Bytes) -> None:
    cache["s:0"] = b"before the group: not of it"
    other = join(cache)
    cache["s:1"] = b"v"
    for event in join(cache):
        assert event.attempt == 1
        break
    del event
    again = one(other)
    assert (again.attempt, again.duplicate) == (1, True)


# ---- several consumers ---------------------------------------------------------------------


def test_two_consumers_of_a_group_share_its_events(cache: Bytes) -> None:
    total = 200
    seen: list[tuple[str, bytes, int]] = []
    lock = threading.Lock()
    subscriptions = {name: join(cache, consumer=name, prefetch=4) for name in ("a", "b")}

    def consume(name: str) -> None:
        for event in subscriptions[name]:
            with lock:
                seen.append((name, event.key, int(event.value)))
                over = len(seen) == total
            event.ack()
            if over:
                for subscription in subscriptions.values():
                    subscription.close()

    threads = [in_thread(functools.partial(consume, name)) for name in subscriptions]
    for number in range(total):
        cache[f"s:{number % 20}"] = b"%d" % number
    joined(*threads)
    assert {name for name, _, _ in seen} == {"a", "b"}
    for key in range(20):
        values = [value for _, where, value in seen if where == b"s:%d" % key]
        assert values == list(range(key, total, 20))


# A consumer of its own process: acknowledges some events, prints the others, and waits.
CONSUMER = """
import sys, cachee
cache = cachee.Cache(sys.argv[1])
taken = 0
for event in cache.subscribe(group="g", prefetch=1):
    taken += 1
    if taken <= int(sys.argv[2]):
        event.ack()
        continue
    print(event.key.decode(), flush=True)
    if sys.argv[3] == "hold":
        sys.stdin.read()
    break
"""


def consumer(cache: Bytes, acks: int, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CONSUMER, cache.name, str(acks), then], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )


@pytest.mark.parametrize("then", ["exit", "hold"])
def test_the_cursor_outlives_the_consumer_s_process(cache: Bytes, then: str) -> None:
    subscription = join(cache)
    cache.set_many({f"s:{number}": b"v" for number in range(10)})
    process = consumer(cache, 6, then)
    assert process.stdout is not None
    held = process.stdout.readline().strip()
    if then == "hold":
        process.kill()  # in the middle of its work
    process.communicate(timeout=DEADLINE_S)
    events = take(subscription, 4)
    assert subscription.lag() == 4, "six are acknowledged"
    assert {event.attempt for event in events} == {1}
    assert [event.key.decode() for event in events if event.duplicate] == [held]


# ---- cacheed -------------------------------------------------------------------------------


def test_iteration_goes_on_when_cacheed_was_killed(supervisor: Supervisor, cache: Bytes) -> None:
    subscription = join(cache)
    cache["s:1"] = b"v"
    before = next(subscription)
    supervisor.kill()
    with pytest.raises(cachee.NoSupervisor, match=f"cacheed --name {cache.name}"):
        subscription.poll()
    with pytest.raises(cachee.NoSupervisor):
        subscription.wait(0.05)
    with pytest.raises(cachee.NoSupervisor):
        before.ack()
    again: list[cachee.Event[bytes]] = []
    with refusals(subscription) as refused:
        waiting = in_thread(lambda: again.append(next(subscription)))
        wait_until(lambda: len(refused) > 1, "slices without a cacheed")
        supervisor.start()
        joined(waiting)
    assert again[0].id == before.id and again[0].duplicate
    again[0].ack()
    assert subscription.lag() == 0


def test_without_cacheed_joining_says_so(holder: Holder) -> None:
    with cachee.Cache(holder.name) as cache:
        with pytest.raises(cachee.NoSupervisor, match=f"cacheed --name {holder.name}"):
            cache.subscribe("s:*", events=["ON_WRITE"], group="g")


def test_a_removed_group_is_not_found(cache: Bytes) -> None:
    subscription = join(cache)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            next(subscription)
        except cachee.NotFound as error:
            failures.append(error)

    waiting = in_thread(wait)
    await_call(subscription)
    with cachee._resp.Connection(cache.name, None, DEADLINE_S) as connection:
        connection.command("GROUP", "REMOVE", "g")
    joined(waiting)
    assert "no such consumer group: g" in str(failures[0])
    with pytest.raises(cachee.NotFound):
        subscription.lag()


def test_too_many_events_in_hand_press_back(cache: Bytes) -> None:
    subscription = join(cache)
    for number in range(8200):
        cache[f"s:{number}"] = b""
    events = take(subscription, 8192)
    with pytest.raises(cachee.BackPressure, match="8192 events in hand"):
        subscription.poll()
    subscription.ack(*events)
    assert len(take(subscription, 8)) == 8


# ---- waiting -------------------------------------------------------------------------------


def test_wait_ends_with_its_time(cache: Bytes) -> None:
    subscription = join(cache)
    start = time.monotonic()
    assert subscription.wait(0.25) == []
    assert time.monotonic() - start >= 0.25


@pytest.mark.parametrize("how", ["wait", "iterate"])
def test_ctrl_c_interrupts_and_nothing_is_lost(cache: Bytes, how: str) -> None:
    subscription = join(cache)

    def interrupt() -> None:
        await_call(subscription)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = in_thread(interrupt)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(subscription) if how == "iterate" else subscription.wait(60)
    assert time.monotonic() - start < DEADLINE_S
    joined(interrupting)
    cache["s:1"] = b"v"
    assert next(subscription).attempt == 1


def test_what_was_read_when_ctrl_c_came_is_handed_out_next(cache: Bytes) -> None:
    subscription = join(cache)
    cache["s:1"] = b"v"
    read = subscription._read

    def read_and_be_interrupted(patience_ms: int, count_max: int) -> None:
        read(patience_ms, count_max)
        if subscription._ready:
            raise KeyboardInterrupt

    with mock.patch.object(subscription, "_read", read_and_be_interrupted):
        with pytest.raises(KeyboardInterrupt):
            next(subscription)
    assert len(subscription._ready) == 1
    assert next(subscription).attempt == 1


def test_a_signal_in_the_middle_of_a_read_loses_nothing(cache: Bytes) -> None:
    subscription = join(cache)
    for number in range(20):

        def write_and_interrupt(key: str = f"s:{number}") -> None:
            await_call(subscription)
            cache[key] = b"v"
            os.kill(os.getpid(), signal.SIGINT)

        writing = in_thread(write_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            while True:
                subscription._read(1000, 8)
        joined(writing)
    events = take(subscription, 20)
    assert {event.attempt for event in events} == {1} and len({e.id for e in events}) == 20


def test_threads_share_one_subscription(cache: Bytes) -> None:
    subscription = join(cache)
    ids: list[str] = []

    def consume() -> None:
        for event in subscription:
            ids.append(event.id)
            event.ack()
            if len(ids) == 200:
                subscription.close()

    threads = [in_thread(consume) for _ in range(4)]
    for number in range(200):
        cache[f"s:{number}"] = b"v"
    joined(*threads)
    assert len(ids) == len(set(ids)) == 200


def test_an_ack_gets_through_while_another_thread_waits(cache: Bytes) -> None:
    subscription = join(cache)
    for number in range(30):
        cache[f"s:{number}"] = b"v"
    events = take(subscription, 30)
    waiting = in_thread(lambda: list(subscription))
    await_call(subscription)
    start = time.monotonic()
    for event in events:
        event.ack()
    took = time.monotonic() - start
    assert waiting.is_alive() and subscription.lag() == 0
    assert took < DEADLINE_S
    subscription.close()
    joined(waiting)


def test_a_wait_does_not_hold_the_interpreter(cache: Bytes) -> None:
    subscription = join(cache)
    waiting = in_thread(lambda: list(subscription))
    await_call(subscription)
    steps = 0
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        cache.get("none")
        steps += 1
    assert waiting.is_alive() and steps > 100
    subscription.close()
    joined(waiting)


@pytest.mark.parametrize("closes", ["subscription", "cache"])
def test_closing_ends_the_waits_of_other_threads(cache: Bytes, closes: str) -> None:
    subscription = join(cache)
    outcomes: list[str] = []

    def iterate() -> None:
        for _ in subscription:
            pass
        outcomes.append("end of loop")

    def wait() -> None:
        try:
            subscription.wait()
        except cachee.Closed:
            outcomes.append("Closed")

    threads = [in_thread(iterate), in_thread(wait)]
    wait_until(lambda: subscription._native.calls == 2, "both in the wait")
    subscription.close() if closes == "subscription" else cache.close()
    joined(*threads)
    assert sorted(outcomes) == ["Closed", "end of loop"] and subscription.closed
    assert list(subscription) == []
    refused: list[Callable[[], object]] = [subscription.poll, subscription.wait, subscription.lag]
    for operation in refused:
        with pytest.raises(cachee.Closed):
            operation()


# ---- processes -----------------------------------------------------------------------------


def test_a_forked_child_has_to_subscribe_again(cache: Bytes) -> None:
    subscription = join(cache)
    cache.set_many({f"s:{number}": b"v" for number in range(2)})
    event = one(subscription)
    waiting = in_thread(lambda: list(subscription))
    await_call(subscription)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            refused: list[Callable[[], object]] = [
                subscription.poll, event.ack, subscription.__next__,
            ]
            for operation in refused:
                with pytest.raises(cachee.Closed, match="fork"):
                    operation()
            subscription.close()
            with cache.subscribe(group="g") as own:
                assert own.poll() == []  # the parent has both
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    event.ack()
    subscription.close()
    joined(waiting)


def test_closing_gives_back_although_a_forked_child_lives_on(cache: Bytes) -> None:
    subscription = join(cache)
    cache["s:1"] = b"v"
    one(subscription)
    stop, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(release)
        os.read(stop, 1)
        os._exit(0)
    try:
        subscription.close()
        with cache.subscribe(group="g") as again:
            event = one(again)
            assert (event.attempt, event.duplicate) == (1, True)
    finally:
        os.close(release)
        os.close(stop)
        os.waitpid(pid, 0)


DAEMON_THREADS = """
import sys, threading, cachee
cache = cachee.Cache(sys.argv[1])
def consume():
    for event in cache.subscribe(group="g"):
        event.ack()
for _ in range(5):
    threading.Thread(target=consume, daemon=True).start()
subscriptions = sys.modules["cachee.subscription"]._open
while sum(s._native.calls for s in subscriptions.all()) < 5:
    pass
"""


def test_the_interpreter_ends_while_daemon_threads_wait(cache: Bytes) -> None:
    join(cache).close()
    done = subprocess.run(
        [sys.executable, "-c", DAEMON_THREADS, cache.name], capture_output=True, text=True,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"group": ""}, ValueError, "group is the name"),
        ({"group": 7}, ValueError, "group is the name"),
        ({"group": "a\n"}, ValueError, "without control characters"),
        ({"events": []}, ValueError, "events is empty: .*ON_EXPIRE"),
        ({"events": ["ON_WRITES"]}, ValueError, "events has 'ON_WRITES': .*ON_WRITE"),
        ({"events": [2]}, ValueError, "events has 2"),
        ({"pattern": None}, ValueError, "events are given without a pattern"),
        ({"pattern": 7}, TypeError, "a pattern is str or bytes-like, not int"),
        ({"pattern": "s:" + "x" * 100_000}, ValueError, "bad pattern"),
        ({"consumer": 7}, TypeError, "consumer is a str"),
        ({"retry_attempts": 0}, ValueError, "retry_attempts is 0"),
        ({"retry_attempts": 1.5}, TypeError, "retry_attempts is an integer"),
        ({"retry_attempts": 5000}, ValueError, "RETRY"),
        ({"backoff_min": 0}, ValueError, "backoff_min is 0"),
        ({"backoff_max": "1s"}, TypeError, "backoff_max is a number of seconds"),
        ({"backoff_min": 2, "backoff_max": 1}, ValueError, "backoff_min 2 is longer"),
        ({"ack_deadline": float("nan")}, ValueError, "ack_deadline is nan"),
        ({"ack_deadline": datetime.timedelta(days=2)}, ValueError, "DEADLINE"),
        ({"prefetch": 0}, ValueError, "prefetch is 0: expected 1 to 4096"),
        ({"socket": "/none" * 40}, ValueError, "socket"),
        ({"socket": "/none.sock"}, cachee.NoSupervisor, "no cacheed answers"),
    ],
)
def test_a_bad_argument_is_named(
    shared_cache: Bytes, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    options = {"pattern": "s:*", "group": "bad", "events": ["ON_WRITE"], **options}
    with pytest.raises(error, match=words):
        shared_cache.subscribe(**options)


def test_bad_arguments_of_a_subscription_are_named(shared_cache: Bytes) -> None:
    with shared_cache.subscribe("s:*", events=["ON_WRITE"], group="g") as subscription:
        for number in (0, 4097):
            with pytest.raises(cachee.InvalidArgument, match=f"count_max is {number}"):
                subscription.poll(number)
        with pytest.raises(cachee.InvalidArgument, match="timeout is -1"):
            subscription.wait(-1)
        with pytest.raises(cachee.InvalidArgument, match="delay is inf"):
            subscription.nack("x", delay=float("inf"))
        with pytest.raises(TypeError, match="event is an Event or its id, not 7"):
            subscription.ack(7)  # type: ignore[arg-type]


def test_another_definition_of_a_group_is_refused(shared_cache: Bytes) -> None:
    with shared_cache.subscribe("s:*", events=["ON_WRITE"], group="taken"):
        with pytest.raises(cachee.Exists, match="taken exists with another pattern"):
            shared_cache.subscribe("s:*", events=["ON_READ"], group="taken")
    with pytest.raises(cachee.NotFound, match="no such consumer group: none"):
        shared_cache.subscribe(group="none")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bytes]:
    running = Supervisor(Path(tmp_path_factory.mktemp("shared")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHEE_RUNTIME_DIR", str(running.runtime_dir))
        with cachee.Cache(running.name) as opened:
            yield opened
    running.stop()
