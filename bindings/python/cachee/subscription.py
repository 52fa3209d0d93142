"""A share in a consumer group; see :class:`Subscription`."""

from __future__ import annotations

import atexit
import math
import operator
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

from ._cachee import NativeSubscription, event_bits, group_events_default, group_events_max
from ._living import Living
from ._resp import socket_path
from .durations import Duration, milliseconds
from .errors import Closed, InvalidArgument, NoSupervisor
from .events import Event, EventFields, fields_of

if TYPE_CHECKING:
    from types import TracebackType

    from ._cachee import NativeCache

__all__ = ["Subscription", "SubscribeOptions"]

K = TypeVar("K", str, bytes)

PREFETCH_DEFAULT = 32
_ATTEMPTS_MAX = 2**32 - 1
_FOREVER_MS = 3_600_000  # of one slice, which is shorter anyway
_SLICES_PER_DEADLINE = 4
_EXIT_S = 5.0            # that calls of other threads have to end when the interpreter does


class SubscribeOptions:
    """The arguments of :meth:`Cache.subscribe`, checked. Joins with them, once or more often."""

    def __init__(
        self,
        pattern: str | bytes | None,
        group: str,
        events: str | Iterable[str],
        consumer: str,
        retry_attempts: int,
        backoff_min: Duration,
        backoff_max: Duration,
        ack_deadline: Duration,
        socket: str | None,
        prefetch: int,
    ) -> None:
        if not isinstance(group, str) or not group:
            raise InvalidArgument(f"group is the name of a consumer group, not {group!r}")
        for name, text in (("consumer", consumer), ("socket", socket or "")):
            if not isinstance(text, str):
                raise TypeError(f"{name} is a str, not {text!r}")
        mask = _mask(events)
        if not pattern and mask:
            raise InvalidArgument(
                f"events are given without a pattern: group {group!r} has its own, or give both"
            )
        if pattern and not mask:
            raise InvalidArgument(f"events is empty: expected some of {', '.join(event_bits)}")
        self.group = group
        self.prefetch = count("prefetch", prefetch)
        self._socket = socket
        least, most = (
            milliseconds("backoff_min", backoff_min, least=1),
            milliseconds("backoff_max", backoff_max, least=1),
        )
        if least > most:
            raise InvalidArgument(
                f"backoff_min {backoff_min!r} is longer than backoff_max {backoff_max!r}"
            )
        attempts = integer("retry_attempts", retry_attempts, 1, _ATTEMPTS_MAX)
        deadline_ms = milliseconds("ack_deadline", ack_deadline, least=1)
        # Of a group that is there, cacheed alone knows it.
        self.ack_deadline_s = deadline_ms / 1000 if pattern else math.inf
        # An event's deadline is counted from the question that brought it, which is never too late
        # and by a slice too early: that may be a part of the deadline only.
        self.slice_ms = max(1, deadline_ms // _SLICES_PER_DEADLINE) if pattern else _FOREVER_MS
        self._words = (pattern or "", group, mask, consumer, attempts, least, most, deadline_ms)

    def join(self, cache: NativeCache) -> NativeSubscription:
        return NativeSubscription(cache, *self._words, self._socket or socket_path(cache.name))


class Subscription(Generic[K]):
    """A share in a consumer group: what :meth:`Cache.subscribe` gives.

    ::

        with cache.subscribe("session:*", events=["ON_EXPIRE"], group="auth") as subscription:
            for event in subscription:              # for ever; close() ends it
                try:
                    logout(event.key, event.value)
                except Exception as error:
                    event.nack(error=str(error))
                else:
                    event.ack()

    The group owns the events of its pattern, also while nobody reads it; each is handed to one of
    its consumers, and the next of the same key when that one is over. Delivery is at least once: an
    event that is not acknowledged within the ack deadline, or whose subscription closes or dies, is
    handed out again with ``attempt`` one higher, and is a dead letter after the last attempt.

    A cacheed that is restarted is found again: iteration and :meth:`wait` go on. What was in hand
    then is handed out again, with ``duplicate`` set, and :meth:`ack` of the old one says ``Stale``.

    Threads: any number may share a Subscription; each event goes to one of them. A wait is made in
    slices of 2 to 100 ms: an acknowledgement of another thread and Ctrl-C are held up for no
    longer. :meth:`close` ends the waiting of other threads: loops end, :meth:`wait` raises
    ``Closed``. At the interpreter's exit open subscriptions are closed.

    ``fork()``: in the child every method raises ``Closed``; subscribe again there. The parent's is
    not touched.
    """

    def __init__(
        self, native: NativeSubscription, options: SubscribeOptions, segment: str,
        to_key: Callable[[bytes], K],
    ) -> None:
        self._native = native
        self._group = options.group
        self._prefetch = options.prefetch
        self._ack_deadline_s = options.ack_deadline_s
        self._slice_ms = options.slice_ms
        self._segment = segment
        self._to_key: Callable[[bytes], K] = to_key
        # Read, and not handed out yet. Filled by the compiled half, so that an exception between a
        # read and the next line of Python (Ctrl-C, a cancellation) loses none.
        self._ready: deque[tuple[float, dict[str, Any]]] = deque()
        _open.add(self)

    @property
    def group(self) -> str:
        return self._group

    @property
    def closed(self) -> bool:
        return self._native.closed

    def __repr__(self) -> str:
        closed = " closed" if self.closed else ""
        return f"<cachee.Subscription {self._group!r} of {self._segment!r}{closed}>"

    def __enter__(self) -> Subscription[K]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back what was not acknowledged, as a failed attempt, and ends the loops of all
        threads. Any number of times."""
        self._native.close()

    # ---- events ----------------------------------------------------------------------------

    def __iter__(self) -> Subscription[K]:
        return self

    def __next__(self) -> Event[K]:
        """Waits for the next event, also for a cacheed that is restarting.

        :raises StopIteration: the subscription was closed
        :raises NotFound: the group was removed
        :raises BackPressure: 8192 events are not acknowledged
        """
        while True:
            event = self._take()
            if event is not None:
                return event
            try:
                self._read(_FOREVER_MS, self._prefetch)
            except NoSupervisor:
                pass  # it has waited for one as long as for an event
            except Closed:
                if self.closed:
                    raise StopIteration from None
                raise

    def poll(self, count_max: int = group_events_default) -> list[Event[K]]:
        """What is due now, oldest first, at most `count_max` (up to 4096); empty: nothing.

        :raises NoSupervisor: cacheed does not run; call again, it connects when there is one
        :raises NotFound, BackPressure, Closed: as of iteration
        """
        return self.wait(0, count_max)

    def wait(
        self, timeout: Duration | None = None, count_max: int = group_events_default
    ) -> list[Event[K]]:
        """Like :meth:`poll`, but waits for the first event, also for a cacheed that is restarting.

        :param timeout: seconds or ``timedelta``; None: for ever
        :returns: empty: the time is over
        :raises NoSupervisor: the time is over, and cacheed does not run
        :raises NotFound, BackPressure, Closed: as of iteration
        """
        count("count_max", count_max)
        clock = Countdown(timeout)
        while True:
            taken = self._take_many(count_max)
            if taken:
                return taken
            left_ms = clock.left_ms()
            try:
                self._read(left_ms, count_max)
            except NoSupervisor:
                if left_ms == 0:
                    raise
            else:
                if left_ms == 0 and not self._ready:
                    return []

    def ack(self, *events: EventFields[K] | str) -> None:
        """Events (or their ids) are over; many with one round trip and one ``fsync``. Those that
        can be are acknowledged even when it fails.

        :raises Stale, NotFound, NoSupervisor, Closed: as of :meth:`Event.ack`
        """
        self._native.ack([_id(event) for event in events])

    def nack(
        self, event: EventFields[K] | str, *, delay: Duration | None = None, error: str = ""
    ) -> None:
        """As :meth:`Event.nack`, also of an id."""
        delay_ms = None if delay is None else milliseconds("delay", delay)
        self._native.nack(_id(event), delay_ms, error)

    def lag(self) -> int:
        """Events of the group that are not acknowledged yet and no dead letters, by everybody.

        :raises NotFound, NoSupervisor, Closed: as of :meth:`Event.ack`
        """
        return self._native.lag()

    # ---- inside ----------------------------------------------------------------------------

    def _read(self, patience_ms: int, count_max: int) -> None:
        """One slice of a wait; what came is in `_ready`."""
        self._native.read(self._ready, min(patience_ms, self._slice_ms), count_max)

    def _take_fields(self) -> dict[str, Any] | None:
        """The next event that was read and is still in hand."""
        while True:
            try:
                asked, record = self._ready.popleft()
            except IndexError:
                return None
            # Past its deadline somebody else has it, and may be further with its key already.
            if not self.closed and time.monotonic() - asked < self._ack_deadline_s:
                return fields_of(record, self._to_key)

    def _take(self) -> Event[K] | None:
        fields = self._take_fields()
        return None if fields is None else Event(_subscription=self, **fields)

    def _take_many(self, count_max: int) -> list[Event[K]]:
        taken: list[Event[K]] = []
        while len(taken) < count_max and (event := self._take()) is not None:
            taken.append(event)
        return taken


class Countdown:
    """What is left of a timeout."""

    def __init__(self, timeout: Duration | None) -> None:
        ms = None if timeout is None else milliseconds("timeout", timeout)
        self._end = None if ms is None else time.monotonic() + ms / 1000

    def left_ms(self) -> int:
        if self._end is None:
            return _FOREVER_MS
        return max(0, math.ceil((self._end - time.monotonic()) * 1000))


def count(name: str, number: int) -> int:
    return integer(name, number, 1, group_events_max)


def integer(name: str, number: int, least: int, most: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        raise TypeError(f"{name} is an integer, not {number!r}") from None
    if not least <= whole <= most:
        raise InvalidArgument(f"{name} is {number!r}: expected {least} to {most}")
    return whole


def _mask(events: str | Iterable[str]) -> int:
    mask = 0
    for name in events.split(",") if isinstance(events, str) and events else events:
        bit = event_bits.get(name.strip().upper()) if isinstance(name, str) else None
        if bit is None:
            raise InvalidArgument(
                f"events has {name!r}: expected some of {', '.join(event_bits)}"
            )
        mask |= bit
    return mask


def _id(event: EventFields[K] | str) -> str:
    if isinstance(event, EventFields):
        return event.id
    if isinstance(event, str):
        return event
    raise TypeError(f"event is an Event or its id, not {event!r}")


_open: Living[Subscription[Any]] = Living()


def _close_all() -> None:
    """A daemon thread that comes back from a wait while the interpreter ends would be killed
    inside the compiled half, which takes the process with it."""
    still_open = _open.all()
    for subscription in still_open:
        subscription._native.stop()  # all of them first: each close() waits for a slice to end
    for subscription in still_open:
        subscription.close()
    end = time.monotonic() + _EXIT_S
    while any(s._native.calls for s in still_open) and time.monotonic() < end:
        time.sleep(0.001)


atexit.register(_close_all)
