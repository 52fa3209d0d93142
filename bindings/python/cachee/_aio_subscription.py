"""A share in a consumer group for asyncio; ``cachee.aio`` has it."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

from ._cachee import group_events_default
from .durations import Duration, milliseconds
from .errors import Closed, Errc, Error, NoSupervisor, from_group
from .events import EventFields
from .subscription import Countdown, SubscribeOptions, count
from .subscription import Subscription as SyncSubscription

if TYPE_CHECKING:
    from .cache import Cache as SyncCache

__all__ = ["Event", "Subscription"]

K = TypeVar("K", str, bytes)
T = TypeVar("T")

_FOREVER = Countdown(None)


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Event(EventFields[K]):
    """An event in the hands of this program: :class:`cachee.Event`, with coroutines."""

    _subscription: Subscription[K] = field(repr=False)

    async def ack(self) -> None:
        """The event is over. When this returns, that is on disk.

        A call that is cancelled may be carried out none the less.

        :raises Stale, NotFound, NoSupervisor, Closed: as of :meth:`cachee.Event.ack`
        """
        await self._subscription.ack(self)

    async def nack(self, *, delay: Duration | None = None, error: str = "") -> None:
        """Gives the event back: a failed attempt, as :meth:`cachee.Event.nack`."""
        await self._subscription.nack(self, delay=delay, error=error)


class Subscription(Generic[K]):
    """What ``aio.Cache.subscribe`` gives: :class:`cachee.Subscription` for asyncio.

    ::

        async with cache.subscribe("session:*", events=["ON_EXPIRE"], group="auth") as subscription:
            async for event in subscription:
                await logout(event.key)
                await event.ack()

    It joins its group when it is first used, and raises then what ``cachee.Cache.subscribe`` does.
    Everything that waits does so in threads of its own, two at most: any number of subscriptions
    may wait at a time, and the loop goes on.

    Cancellation loses nothing: what a cancelled ``async for``, :meth:`poll` or :meth:`wait` had
    read is handed out by the next one, and its thread is free within 100 ms. :meth:`close`, ``async
    with`` and the end of the Cache give everything back; so does dropping the last reference.

    For tasks of one event loop, any number of them. In a forked child every method raises
    ``Closed``.
    """

    def __init__(self, cache: SyncCache[K, Any], options: SubscribeOptions) -> None:
        self._cache: SyncCache[K, Any] = cache
        self._options = options
        self._pid = os.getpid()
        self._closed = False
        # One waits, and one acknowledges meanwhile. A pool of its own: in the loop's one, some
        # dozen waiting subscriptions would leave no thread to anybody.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"cachee-{options.group}")
        self._joining = threading.Lock()
        self._joined: SyncSubscription[K] | None = None  # guarded by _joining
        self._reading: asyncio.Future[Error | None] | None = None

    @property
    def group(self) -> str:
        return self._options.group

    @property
    def closed(self) -> bool:
        return self._closed

    def __repr__(self) -> str:
        closed = " closed" if self.closed else ""
        return f"<cachee.aio.Subscription {self.group!r} of {self._cache.name!r}{closed}>"

    async def __aenter__(self) -> Subscription[K]:
        await self._run(lambda joined: None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives back what was not acknowledged, as a failed attempt; ends ``async for`` of other
        tasks, and :meth:`wait` with ``Closed``. Any number of times."""
        self._closed = True
        try:
            if os.getpid() == self._pid:
                loop = asyncio.get_running_loop()
                await asyncio.shield(loop.run_in_executor(self._threads, self._leave))
        except RuntimeError:
            pass  # closed before: the pool takes no more work
        finally:
            self._threads.shutdown(wait=False)

    # ---- events ----------------------------------------------------------------------------

    def __aiter__(self) -> Subscription[K]:
        return self

    async def __anext__(self) -> Event[K]:
        """Waits for the next event, as iteration of :class:`cachee.Subscription` does."""
        while True:
            # Nothing is awaited between here and the return: a cancellation comes before or after.
            event = self._take()
            if event is not None:
                return event
            try:
                await self._read(_FOREVER, self._options.prefetch)
            except NoSupervisor:
                if self._joined is None:
                    raise
            except Closed:
                if self._closed:
                    raise StopAsyncIteration from None
                raise

    async def poll(self, count_max: int = group_events_default) -> list[Event[K]]:
        """What is due now: :meth:`cachee.Subscription.poll`."""
        return await self.wait(0, count_max)

    async def wait(
        self, timeout: Duration | None = None, count_max: int = group_events_default
    ) -> list[Event[K]]:
        """Waits for events: :meth:`cachee.Subscription.wait`."""
        count("count_max", count_max)
        clock = Countdown(timeout)
        while True:
            taken: list[Event[K]] = []
            while len(taken) < count_max and (event := self._take()) is not None:
                taken.append(event)
            if taken:
                return taken
            left_ms = clock.left_ms()
            try:
                await self._read(clock, count_max)
            except NoSupervisor:
                if left_ms == 0 or self._joined is None:
                    raise
            else:
                if left_ms == 0 and not self._has_ready():
                    return []

    async def ack(self, *events: EventFields[K] | str) -> None:
        """Events (or their ids) are over: :meth:`cachee.Subscription.ack`. A call that is cancelled
        may be carried out none the less."""
        await self._run(lambda joined: joined.ack(*events))

    async def nack(
        self, event: EventFields[K] | str, *, delay: Duration | None = None, error: str = ""
    ) -> None:
        """Gives an event back: :meth:`cachee.Subscription.nack`."""
        if delay is not None:
            milliseconds("delay", delay)
        await self._run(lambda joined: joined.nack(event, delay=delay, error=error))

    async def lag(self) -> int:
        """Events of the group that are not acknowledged yet and no dead letters, by everybody."""
        return await self._run(lambda joined: joined.lag())

    # ---- in the loop's thread --------------------------------------------------------------

    def _take(self) -> Event[K] | None:
        fields = None if self._joined is None else self._joined._take_fields()
        return None if fields is None else Event(_subscription=self, **fields)

    def _has_ready(self) -> bool:
        return self._joined is not None and bool(self._joined._ready)

    def _check_open(self) -> None:
        # The pool's threads are not there in a forked child: asking it would wait for ever.
        if self._closed or os.getpid() != self._pid:
            raise self._closed_error()

    def _closed_error(self) -> Error:
        return from_group(Errc.closed, 0, "", self._cache.name, self.group.encode(), b"")

    async def _run(self, work: Callable[[SyncSubscription[K]], T]) -> T:
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(self._join()))

    async def _read(self, clock: Countdown, count_max: int) -> None:
        """One slice of a wait, which all tasks that wait share; what came is ready to be taken."""
        self._check_open()
        reading = self._reading
        if reading is None or reading.done():
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(self._threads, self._read_in_thread, clock, count_max)
            self._reading = reading
        try:
            # Unlike awaiting it, this leaves it to the others when one task is cancelled.
            await asyncio.wait([reading])
        except asyncio.CancelledError:
            # The thread ends its slice and keeps what it reads; the loop is not told, because
            # Python 3.10 complains of one that is closed by then.
            reading.cancel()
            raise
        if not reading.cancelled() and (error := reading.result()) is not None:
            raise error

    # ---- in a thread -----------------------------------------------------------------------

    def _join(self) -> SyncSubscription[K]:
        with self._joining:
            if self._closed:
                raise self._closed_error()
            if self._joined is None:
                self._joined = self._cache._join(self._options)
            return self._joined

    def _leave(self) -> None:
        with self._joining:
            if self._joined is not None:
                self._joined.close()

    def _read_in_thread(self, clock: Countdown, count_max: int) -> Error | None:
        # As a result: nobody may be left to take an exception.
        try:
            self._join()._read(clock.left_ms(), count_max)
        except Error as error:
            return error
        return None
