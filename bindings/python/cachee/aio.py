"""Cachee for asyncio; see :class:`Cache`.

::

    async with cachee.aio.Cache("orders") as cache:
        await cache.set("session:42", b"...", ttl=1800)
        async for event in cache.subscribe("session:*", events=["ON_EXPIRE"], group="auth"):
            await logout(event.key)
            await event.ack()
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import (
    TYPE_CHECKING, Any, Callable, Concatenate, Coroutine, Generic, Literal, ParamSpec, TypeVar,
    overload,
)

from . import cache as sync
from . import triggers as sync_triggers
from ._aio_subscription import Event, Subscription
from ._living import Living
from .cache import Entry, Key
from .durations import Duration
from .serializers import Serializer
from .subscription import PREFETCH_DEFAULT, SubscribeOptions

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Cache", "Event", "Subscription", "Triggers"]

K = TypeVar("K", str, bytes)
V = TypeVar("V")
T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

_MISSING: Any = object()


class Cache(Generic[K, V]):
    """The cache of :class:`cachee.Cache`, with the same options, for a program of asyncio.

    Every operation is a coroutine, as users of ``redis.asyncio`` expect, and means what the method
    of that name means there. What happens in shared memory happens at once, in the thread of the
    event loop: a thread would cost more than it takes. ``clear``, ``size`` and ``info``, which walk
    the segment, and what asks cacheed (``subscribe``, ``triggers``) run in threads.

    A write that a trigger wants may wait for room in the event ring, as long as the trigger's
    ``ON_FULL BLOCK`` allows (1 s unless told), and the loop with it. Where that matters:
    ``await asyncio.to_thread(cache.sync.set, ...)``.

    ``async for key in cache`` and :meth:`scan` let others run between their steps. :attr:`sync` is
    the same cache with the methods of :class:`cachee.Cache`, for code that is not a coroutine.
    """

    @overload
    def __init__(
        self: Cache[bytes, bytes], name: str = ..., *, read_only: bool = ...,
        client_name: str | None = ..., serializer: None = ..., decode_keys: Literal[False] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: Cache[str, bytes], name: str = ..., *, read_only: bool = ...,
        client_name: str | None = ..., serializer: None = ..., decode_keys: Literal[True],
    ) -> None: ...

    @overload
    def __init__(
        self: Cache[bytes, V], name: str = ..., *, read_only: bool = ...,
        client_name: str | None = ..., serializer: Serializer[V],
        decode_keys: Literal[False] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: Cache[str, V], name: str = ..., *, read_only: bool = ...,
        client_name: str | None = ..., serializer: Serializer[V], decode_keys: Literal[True],
    ) -> None: ...

    def __init__(self, name: str = "default", **options: Any) -> None:
        self.sync: sync.Cache[K, V] = sync.Cache(name, **options)
        self._subscriptions: Living[Subscription[K]] = Living()

    # ---- handle ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the segment."""
        return self.sync.name

    @property
    def closed(self) -> bool:
        return self.sync.closed

    @property
    def supervisor_alive(self) -> bool:
        """Whether a cacheed holds the segment."""
        return self.sync.supervisor_alive

    async def close(self) -> None:
        """Closes the subscriptions of this Cache and detaches."""
        try:
            await asyncio.gather(*(one.close() for one in self._subscriptions.all()))
        finally:
            self.sync.close()

    async def __aenter__(self) -> Cache[K, V]:
        self.sync.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<cachee.aio.Cache {self.name!r}{' closed' if self.closed else ''}>"

    # ---- one key ---------------------------------------------------------------------------

    @overload
    async def get(self, key: Key) -> V | None: ...

    @overload
    async def get(self, key: Key, default: V | T) -> V | T: ...

    async def get(self, key: Key, default: Any = None) -> Any:
        """The value, or `default` where there is none."""
        return self.sync.get(key, default)

    @overload
    async def pop(self, key: Key) -> V: ...

    @overload
    async def pop(self, key: Key, default: V | T) -> V | T: ...

    async def pop(self, key: Key, default: Any = _MISSING) -> Any:
        """Removes a key and gives its value. :raises NotFound: no such key, and no default"""
        return self.sync.pop(key) if default is _MISSING else self.sync.pop(key, default)

    async def set(
        self,
        key: Key,
        value: V,
        *,
        ttl: Duration | None = None,
        cost: float | None = None,
        metadata: Mapping[str, str] | None = None,
        depends_on: Iterable[Key] | None = None,
        nx: bool = False,
        xx: bool = False,
        if_version: int | None = None,
    ) -> int:
        """Stores a value and gives the key's new version: :meth:`cachee.Cache.set`."""
        return self.sync.set(
            key, value, ttl=ttl, cost=cost, metadata=metadata, depends_on=depends_on, nx=nx,
            xx=xx, if_version=if_version,
        )

    async def setdefault(self, key: Key, default: V) -> V:
        """The value; where there is none, stores `default` and gives that."""
        return self.sync.setdefault(key, default)

    async def delete(self, key: Key) -> bool:
        """Removes a key; False where there was none."""
        return self.sync.delete(key)

    async def contains(self, key: Key) -> bool:
        """Whether there is such a key: ``key in cache`` of :class:`cachee.Cache`."""
        return self.sync.exists(key)

    exists = contains

    async def incr(self, key: Key, delta: int = 1, *, initial: int = 0) -> int:
        """Adds to a decimal integer and gives the sum."""
        return self.sync.incr(key, delta, initial=initial)

    async def append(self, key: Key, suffix: ReadableBuffer) -> int:
        """Appends bytes to the stored ones, or stores them; gives the new length."""
        return self.sync.append(key, suffix)

    async def touch(self, key: Key, ttl: Duration) -> bool:
        """Gives a key a new time to live; False where there is none."""
        return self.sync.touch(key, ttl)

    async def persist(self, key: Key) -> bool:
        """Removes the time to live; False where there was none, or no key."""
        return self.sync.persist(key)

    async def ttl(self, key: Key) -> float | None:
        """Seconds that a key has to live; None: for ever. :raises NotFound: no such key"""
        return self.sync.ttl(key)

    async def view(self, key: Key) -> memoryview:
        """The stored bytes in place, read-only: :meth:`cachee.Cache.view`."""
        return self.sync.view(key)

    async def inspect(self, key: Key) -> Entry[V]:
        """The value with everything that is stored with it. :raises NotFound: no such key"""
        return self.sync.inspect(key)

    # ---- many keys -------------------------------------------------------------------------

    async def get_many(self, keys: Iterable[T]) -> dict[T, V]:
        """Values of those keys that are there, under the keys as given."""
        return self.sync.get_many(keys)

    async def set_many(
        self,
        mapping: Mapping[str, V] | Mapping[bytes, V] | Iterable[tuple[Key, V]],
        *,
        ttl: Duration | None = None,
        cost: float | None = None,
        metadata: Mapping[str, str] | None = None,
        depends_on: Iterable[Key] | None = None,
    ) -> None:
        """Stores many values with the same options: :meth:`cachee.Cache.set_many`."""
        self.sync.set_many(mapping, ttl=ttl, cost=cost, metadata=metadata, depends_on=depends_on)

    async def scan(self, pattern: Key | None = None) -> AsyncIterator[K]:
        """Keys that match a Redis glob, or all of them: :meth:`cachee.Cache.scan`."""
        for keys in self.sync._scan_steps():
            for key in self.sync._matching(keys, pattern):
                yield key
            await asyncio.sleep(0)

    def __aiter__(self) -> AsyncIterator[K]:
        return self.scan()

    async def clear(self) -> None:
        """Removes every key that is there during the whole call."""
        await asyncio.to_thread(self.sync.clear)

    async def size(self) -> int:
        """Number of keys: ``len(cache)`` of :class:`cachee.Cache`."""
        return await asyncio.to_thread(len, self.sync)

    async def info(self) -> dict[str, Any]:
        """Figures of the segment."""
        return await asyncio.to_thread(self.sync.info)

    # ---- cacheed ---------------------------------------------------------------------------

    def subscribe(
        self,
        pattern: Key | None = None,
        *,
        group: str,
        events: str | Iterable[str] = (),
        consumer: str = "",
        retry_attempts: int = 5,
        backoff_min: Duration = 0.05,
        backoff_max: Duration = 30.0,
        ack_deadline: Duration = 30.0,
        socket: str | None = None,
        prefetch: int = PREFETCH_DEFAULT,
    ) -> Subscription[K]:
        """Joins a consumer group: :meth:`cachee.Cache.subscribe`, whose arguments these are. They
        are checked here; cacheed is asked, and may refuse, when the Subscription is first used.

        :raises InvalidArgument: an argument is wrong
        """
        options = SubscribeOptions(
            pattern, group, events, consumer, retry_attempts, backoff_min, backoff_max,
            ack_deadline, socket, prefetch,
        )
        made = Subscription(self.sync, options)
        self._subscriptions.add(made)
        return made

    @functools.cached_property
    def triggers(self) -> Triggers:
        """Triggers of this segment; they are asked of its cacheed."""
        return Triggers(self.name)


def _in_thread(
    method: Callable[Concatenate[sync_triggers.Triggers, P], R]
) -> Callable[Concatenate[Triggers, P], Coroutine[Any, Any, R]]:
    @functools.wraps(method)
    async def coroutine(self: Triggers, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(lambda: method(self.sync, *args, **kwargs))

    return coroutine


class Triggers:
    """:class:`cachee.Triggers` as coroutines: the same methods, arguments and errors. They run in
    threads; one that is cancelled may be carried out none the less."""

    def __init__(
        self, name: str = "default", *, runtime_dir: str | None = None,
        timeout: float | None = sync_triggers.TIMEOUT_S,
    ) -> None:
        self.sync = sync_triggers.Triggers(name, runtime_dir=runtime_dir, timeout=timeout)

    register = _in_thread(sync_triggers.Triggers.register)
    list = _in_thread(sync_triggers.Triggers.list)
    info = _in_thread(sync_triggers.Triggers.info)
    source = _in_thread(sync_triggers.Triggers.source)
    stats = _in_thread(sync_triggers.Triggers.stats)
    remove = _in_thread(sync_triggers.Triggers.remove)
    enable = _in_thread(sync_triggers.Triggers.enable)
    disable = _in_thread(sync_triggers.Triggers.disable)
    pause = _in_thread(sync_triggers.Triggers.pause)
    resume = _in_thread(sync_triggers.Triggers.resume)
    test = _in_thread(sync_triggers.Triggers.test)
