"""The cache for asyncio: its subscriptions hold nobody up, and a cancellation loses nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

import cachee
import pytest
from cachee import aio

from conftest import DEADLINE_S, Holder, Supervisor, refusals

Cache = aio.Cache[bytes, bytes]
Sub = aio.Subscription[bytes]
Use = Callable[[], Coroutine[Any, Any, object]]


def run(name: str, work: Callable[[Cache], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with aio.Cache(name) as cache:
            await asyncio.wait_for(work(cache), 3 * DEADLINE_S)
        assert cache.closed

    asyncio.run(main())


async def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {DEADLINE_S} s"
        await asyncio.sleep(0.002)


def join(cache: Cache, group: str = "g", **options: Any) -> Sub:
    options = {"backoff_min": 0.001, "backoff_max": 0.005, **options}
    return cache.subscribe("s:*", events=["ON_WRITE"], group=group, **options)


def calls(subscription: Sub) -> int:
    """Threads of a subscription that wait for cacheed."""
    return 0 if subscription._joined is None else subscription._joined._native.calls


# ---- operations ----------------------------------------------------------------------------


def test_operations_are_those_of_the_cache(holder: Holder) -> None:
    async def work(cache: Cache) -> None:
        version = await cache.set("k", b"v", ttl=60, metadata={"user": "42"})
        assert await cache.get("k") == b"v" and await cache.get("none", 7) == 7
        assert await cache.contains("k") and not await cache.exists("none")
        entry = await cache.inspect("k")
        assert entry.version == version and entry.metadata == {"user": "42"}
        assert 0 < (await cache.ttl("k") or 0) <= 60
        assert await cache.persist("k") and await cache.ttl("k") is None
        assert await cache.touch("k", 60) and not await cache.touch("none", 60)
        assert await cache.append("k", b"w") == 2
        with await cache.view("k") as view:
            assert view == b"vw"
        assert await cache.incr("n", 2, initial=40) == 42
        await cache.set_many({"a": b"1", "b": b"2"}, ttl=60)
        assert await cache.get_many(["a", "none", "b"]) == {"a": b"1", "b": b"2"}
        assert await cache.setdefault("a", b"x") == b"1"
        assert sorted([key async for key in cache]) == [b"a", b"b", b"k", b"n"]
        assert [key async for key in cache.scan("[ab]")] != []
        assert await cache.size() == 4 and (await cache.info())["keys"] == 4
        assert await cache.pop("a") == b"1" and await cache.pop("a", None) is None
        assert await cache.delete("b") and not await cache.delete("b")
        with pytest.raises(cachee.Exists):
            await cache.set("k", b"v", nx=True)
        with pytest.raises(cachee.NotFound):
            await cache.pop("a")
        await cache.clear()
        assert await cache.size() == 0 == len(cache.sync)
        assert cache.name == holder.name and cache.supervisor_alive == cache.sync.supervisor_alive

    run(holder.name, work)


def test_options_are_those_of_the_cache(holder: Holder) -> None:
    async def main() -> None:
        async with aio.Cache(
            holder.name, serializer=cachee.serializers.json, decode_keys=True
        ) as cache:
            await cache.set("k", {"a": 1})
            assert await cache.get("k") == {"a": 1} and [key async for key in cache] == ["k"]
        with pytest.raises(cachee.Closed):
            await cache.get("k")
        with pytest.raises(cachee.Closed):
            async with cache:
                pass

    asyncio.run(main())
    with pytest.raises(TypeError, match="colour"):
        aio.Cache(holder.name, colour=1)  # type: ignore[call-overload]


def test_triggers_are_coroutines(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        await cache.triggers.register("k:*", "ON_WRITE", "return", name="n", retry=3)
        assert [row["name"] for row in await cache.triggers.list()] == ["n"]
        assert (await cache.triggers.info("n"))["pattern"] == "k:*"
        assert await cache.triggers.source("n") == "return"
        assert (await cache.triggers.test("n", {"key": "k:1"}))["ok"]
        await cache.triggers.disable("n")
        await cache.triggers.enable("n")
        await cache.triggers.remove("n")
        with pytest.raises(cachee.NotFound):
            await cache.triggers.info("n")

    run(supervisor.name, work)


# ---- subscriptions -------------------------------------------------------------------------


def test_iteration_ack_and_nack(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        async with join(cache) as subscription:
            for number in range(20):
                await cache.set(f"s:{number % 2}", b"%d" % number)
            seen: list[tuple[bytes, int, int]] = []
            async for event in subscription:
                seen.append((event.key, int(event.value), event.attempt))
                if event.value == b"6" and event.attempt == 1:
                    await event.nack(error="again")
                else:
                    await event.ack()
                if len(seen) == 21:
                    break
            assert await subscription.lag() == 0 and await subscription.poll() == []
        odd = [(number, 1) for number in range(1, 20, 2)]
        even = [(0, 1), (2, 1), (4, 1), (6, 1), (6, 2), *((n, 1) for n in range(8, 20, 2))]
        assert [(value, attempt) for key, value, attempt in seen if key == b"s:1"] == odd
        assert [(value, attempt) for key, value, attempt in seen if key == b"s:0"] == even
        with pytest.raises(cachee.Closed):
            await event.ack()

    run(supervisor.name, work)


def test_wait_and_poll(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        async with join(cache) as subscription:
            start = time.monotonic()
            assert await subscription.wait(0.2) == [] and await subscription.poll() == []
            assert time.monotonic() - start >= 0.2
            await cache.set_many({f"s:{number}": b"v" for number in range(10)})
            taken: list[aio.Event[bytes]] = []
            while len(taken) < 10:
                more = await subscription.wait(DEADLINE_S, 3)
                assert 1 <= len(more) <= 3
                taken += more
            await subscription.ack(*taken)
            with pytest.raises(cachee.Stale):
                await taken[0].ack()
            with pytest.raises(cachee.InvalidArgument, match="count_max is 0"):
                await subscription.wait(1, 0)
            with pytest.raises(cachee.InvalidArgument, match="delay is -1"):
                await taken[0].nack(delay=-1)

    run(supervisor.name, work)


def test_a_cancelled_loop_loses_nothing(supervisor: Supervisor) -> None:
    total = 300

    async def work(cache: Cache) -> None:
        subscription = await join(cache, prefetch=8).__aenter__()
        seen: list[tuple[str, int]] = []

        async def consume() -> None:
            async for event in subscription:
                seen.append((event.id, event.attempt))
                await subscription.ack(event.id)

        async def write() -> None:
            for number in range(total):
                await cache.set(f"s:{number}", b"v")
                await asyncio.sleep(0.001)

        writing = asyncio.create_task(write())
        end = time.monotonic() + DEADLINE_S
        rounds = 0
        while len(seen) < total:
            assert time.monotonic() < end, f"{len(seen)} of {total} came"
            task = asyncio.create_task(consume())
            await asyncio.sleep(0.001 * (rounds % 9))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            rounds += 1
        await writing
        assert rounds > 20
        assert len({id_ for id_, _ in seen}) == total
        assert {attempt for _, attempt in seen} == {1}

    run(supervisor.name, work)


def test_an_event_read_for_a_cancelled_task_is_handed_out_next(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        async with join(cache) as subscription:
            assert subscription._joined is not None
            joined, read = subscription._joined, subscription._joined._read
            taken, cancelled = threading.Event(), threading.Event()

            def read_and_stay(patience_ms: int, count_max: int) -> None:
                read(patience_ms, count_max)
                if joined._ready and not taken.is_set():
                    taken.set()
                    assert cancelled.wait(DEADLINE_S)

            with mock.patch.object(joined, "_read", read_and_stay):
                first = asyncio.create_task(subscription.__anext__())
                await cache.set("s:1", b"v")
                await until(taken.is_set, "the event in the thread's hands")
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                cancelled.set()
                event = await subscription.__anext__()
            assert (event.value, event.attempt) == (b"v", 1)
            await event.ack()

    run(supervisor.name, work)


def test_a_cancelled_wait_releases_its_thread(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        subscription = join(cache)
        for _ in range(20):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(subscription.__anext__(), 0.02)
        await until(lambda: not calls(subscription), "the thread's end of its slice")

        def threads() -> int:
            return sum(thread.name.startswith("cachee-g") for thread in threading.enumerate())

        assert 1 <= threads() <= 2
        await subscription.close()
        await until(lambda: not threads(), "the threads' end")

    run(supervisor.name, work)


def test_a_dropped_subscription_gives_back_and_ends_its_threads(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        async with join(cache) as other:
            await cache.set("s:1", b"v")
            async for event in join(cache):
                assert event.attempt == 1
                break
            del event
            gc.collect()
            [again] = await other.wait(DEADLINE_S)
            assert (again.attempt, again.duplicate) == (1, True)
            await again.ack()

    run(supervisor.name, work)


def test_many_subscriptions_wait_at_once_and_the_loop_goes_on(supervisor: Supervisor) -> None:
    number = 40  # more than the loop's own pool has threads

    async def work(cache: Cache) -> None:
        subscriptions = [join(cache, f"g{i}") for i in range(number)]
        got: list[str] = []

        async def consume(subscription: Sub) -> None:
            async for event in subscription:
                got.append(subscription.group)
                await event.ack()
                return

        tasks = [asyncio.create_task(consume(subscription)) for subscription in subscriptions]
        await until(lambda: all(one._joined for one in subscriptions), "all to join")
        steps = 0
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            await asyncio.sleep(0.001)
            steps += 1
        assert steps > 20 and not got
        assert await asyncio.to_thread(lambda: "free") == "free"
        await cache.set("s:1", b"v")
        await asyncio.gather(*tasks)
        assert sorted(got) == sorted(one.group for one in subscriptions)

    run(supervisor.name, work)


def test_tasks_share_one_subscription_and_acknowledge_while_others_wait(
    supervisor: Supervisor,
) -> None:
    async def work(cache: Cache) -> None:
        subscription = await join(cache).__aenter__()
        ids: list[str] = []

        async def consume() -> None:
            async for event in subscription:
                ids.append(event.id)
                await event.ack()

        tasks = [asyncio.create_task(consume()) for _ in range(5)]
        await cache.set_many({f"s:{number}": b"v" for number in range(50)})
        await until(lambda: len(ids) == 50, "all events")
        await until(lambda: calls(subscription), "the wait for more")
        while await subscription.lag() > 0:
            await asyncio.sleep(0.002)
        await subscription.close()
        await asyncio.gather(*tasks)  # the loops ended
        assert len(set(ids)) == 50

    run(supervisor.name, work)


def test_closing_ends_the_waits_of_other_tasks(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        subscription = join(cache)

        async def iterate() -> int:
            return len([event async for event in subscription])

        tasks = [asyncio.create_task(iterate()), asyncio.create_task(subscription.wait())]
        await until(lambda: calls(subscription), "the wait")
        await cache.close()
        await cache.close()
        assert await tasks[0] == 0
        with pytest.raises(cachee.Closed, match="group 'g'"):
            await tasks[1]
        assert subscription.closed
        with pytest.raises(cachee.Closed):
            await subscription.lag()

    run(supervisor.name, work)


def test_iteration_goes_on_when_cacheed_was_killed(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        subscription = join(cache)
        await cache.set("s:0", b"before the group")
        async with subscription:
            await cache.set("s:1", b"v")
            before = await subscription.__anext__()
            await asyncio.to_thread(supervisor.kill)
            with pytest.raises(cachee.NoSupervisor):
                await subscription.wait(0.05)
            assert subscription._joined is not None
            with refusals(subscription._joined) as refused:
                waiting = asyncio.create_task(subscription.__anext__())
                await until(lambda: len(refused) > 1, "slices without a cacheed")
                await asyncio.to_thread(supervisor.start)
                again = await waiting
            assert again.id == before.id and again.duplicate
            await again.ack()

    run(supervisor.name, work)


def test_what_is_wrong_is_said_at_the_call_or_at_the_first_use(holder: Holder) -> None:
    async def work(cache: Cache) -> None:
        with pytest.raises(cachee.InvalidArgument, match="events has 'ON_WRITES'"):
            cache.subscribe("s:*", events=["ON_WRITES"], group="g")
        subscription = join(cache)
        uses: list[Use] = [subscription.__anext__, subscription.__aenter__, subscription.wait]
        for use in uses:
            with pytest.raises(cachee.NoSupervisor, match=f"cacheed --name {holder.name}"):
                await use()

    run(holder.name, work)


def test_a_forked_child_has_to_subscribe_again(supervisor: Supervisor) -> None:
    async def work(cache: Cache) -> None:
        async with join(cache) as subscription:
            await cache.set("s:1", b"v")
            event = await subscription.__anext__()
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    uses: list[Use] = [event.ack, subscription.poll, subscription.__anext__]
                    for use in uses:
                        try:
                            use().send(None)
                        except cachee.Closed:
                            continue
                        raise AssertionError(use)
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            await event.ack()

    run(supervisor.name, work)


CANCELLED_AT_THE_END = """
import asyncio, sys, cachee.aio
async def consume(subscription):
    async for event in subscription:
        await event.ack()
async def main(name):
    cache = cachee.aio.Cache(name)
    subscription = cache.subscribe(group="g")
    task = asyncio.create_task(consume(subscription))
    while subscription._joined is None or not subscription._joined._native.calls:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.4)  # slices have got long: one of them outlives the loop
    # asyncio.run cancels the task and closes the loop under a thread that waits.
asyncio.run(main(sys.argv[1]))
"""


def test_a_program_ends_in_peace_while_a_task_waits(supervisor: Supervisor) -> None:
    with cachee.Cache(supervisor.name) as cache:
        cache.subscribe("s:*", events=["ON_WRITE"], group="g").close()
    done = subprocess.run(
        [sys.executable, "-c", CANCELLED_AT_THE_END, supervisor.name], capture_output=True,
        text=True, timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
