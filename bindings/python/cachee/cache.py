"""The cache as a mapping; see :class:`Cache`."""

from __future__ import annotations

import collections.abc
import datetime
import functools
import os.path
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING, Any, Callable, Generic, ItemsView, KeysView, Literal, MutableMapping, TypeVar,
    ValuesView, overload,
)

from . import serializers
from ._cachee import NativeCache, glob_match
from ._living import Living
from .durations import Duration
from .errors import Closed, Errc, Exists, NotFound, from_native
from .memoize import P, R, Memoized, memoized
from .subscription import PREFETCH_DEFAULT, SubscribeOptions, Subscription
from .triggers import Triggers

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer

__all__ = ["Cache", "Duration", "Entry", "Key"]

Key = str | bytes
"""A key: a ``str`` stands for its UTF-8 bytes."""

K = TypeVar("K", str, bytes)
V = TypeVar("V")
T = TypeVar("T")

_SCAN_KEYS = 1000  # keys that one step of an iteration fetches
_TTL_NS_MAX = 2**63 - 1
_MISSING: Any = object()


@dataclass(frozen=True)
class Entry(Generic[V]):
    """Everything that is stored with a key."""

    value: V
    version: int
    """Grows with every write; for ``set(..., if_version=...)``."""
    cost: float
    metadata: dict[str, str]
    depends_on: list[bytes]
    ttl: float | None
    """Seconds until it expires; None: never."""
    age: float
    """Seconds since the value was written."""
    memory_bytes: int
    """What the record takes in the segment."""


class Cache(MutableMapping[Key, V], Generic[K, V]):
    """A cache in shared memory, which all processes of this machine see under its name.

    ::

        with cachee.Cache("orders") as cache:
            cache.set("session:42", b"...", ttl=1800, metadata={"user": "42"})
            cache["k"] = b"v"
            value = cache.get("k")              # a copy, or None
            with cache.view("k") as memory:     # in place, read-only
                ...

    It is a mutable mapping; keys are ``str`` (UTF-8) or ``bytes``, values any buffer. Values come
    back as ``bytes``, or as what the serializer makes of them.

    :param name: of the segment, which ``cacheed --name`` created
    :param read_only: map the segment for reading only
    :param client_name: shown by ``cachee clients``; the program's name unless given
    :param serializer: one of :mod:`cachee.serializers`, or alike; raw bytes unless given
    :param decode_keys: iteration gives keys as ``str`` (UTF-8, undecodable bytes escaped as
        ``os.fsdecode`` does, which finds the key again); as ``bytes`` unless asked for

    Differences to a ``dict``, because others write at the same time: iteration sees every key that
    is there from its start to its end at least once, in no order, and does not mind changes; keys
    that go meanwhile are left out by ``items()`` and ``values()``; ``len()`` counts the index, and
    walks all of it.

    Threads: one Cache serves any number; operations that may wait release the GIL. After ``fork()``
    (multiprocessing, gunicorn, ...) the child gets a handle of its own at its first operation.
    Memoryviews of :meth:`view` belong to the process that took them. A Cache may be pickled: it
    opens the same segment again.

    Errors are subclasses of :class:`cachee.Error`.
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
        client_name: str | None = ..., serializer: serializers.Serializer[V],
        decode_keys: Literal[False] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: Cache[str, V], name: str = ..., *, read_only: bool = ...,
        client_name: str | None = ..., serializer: serializers.Serializer[V],
        decode_keys: Literal[True],
    ) -> None: ...

    def __init__(
        self,
        name: str = "default",
        *,
        read_only: bool = False,
        client_name: str | None = None,
        serializer: serializers.Serializer[Any] | None = None,
        decode_keys: bool = False,
    ) -> None:
        if client_name is None:
            client_name = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        self._native = NativeCache(name, read_only, client_name)
        self._serializer: serializers.Serializer[Any] = serializer or serializers.raw
        self._dumps: Callable[[Any], bytes] = self._serializer.dumps
        self._loads: Callable[[bytes], Any] = self._serializer.loads
        self._decode_keys = decode_keys
        self._arguments = (name, read_only, client_name, serializer, decode_keys)
        self._subscriptions: Living[Subscription[K]] = Living()

    # ---- handle ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the segment."""
        return self._native.name

    @property
    def closed(self) -> bool:
        return self._native.closed

    @property
    def supervisor_alive(self) -> bool:
        """Whether a cacheed holds the segment; reads and writes work without one."""
        return self._native.supervisor_alive()

    def close(self) -> None:
        """Detaches; every further operation raises :class:`cachee.Closed`. Views stay valid.
        Subscriptions of this Cache are closed."""
        for subscription in self._subscriptions.all():
            subscription.close()
        self._native.close()

    def __enter__(self) -> Cache[K, V]:
        if self.closed:
            raise self._closed_error()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<cachee.Cache {self.name!r}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (_open_again, self._arguments)

    # ---- mapping ---------------------------------------------------------------------------

    def __getitem__(self, key: Key) -> V:
        data = self._native.get(key)
        if data is None:
            raise self._not_found(key)
        value: V = self._loads(data)
        return value

    def __setitem__(self, key: Key, value: V) -> None:
        self._native.set(key, self._dumps(value), None, None, None, None, False, False, None)

    def __delitem__(self, key: Key) -> None:
        if not self._native.erase(key):
            raise self._not_found(key)

    def __contains__(self, key: object) -> bool:
        # Like any mapping: what cannot be a key is not in it.
        return isinstance(key, (str, bytes, bytearray, memoryview)) and self._native.contains(key)

    def __len__(self) -> int:
        return self._native.size()

    def __iter__(self) -> Iterator[K]:
        return self.scan()

    @overload
    def get(self, key: Key) -> V | None: ...

    @overload
    def get(self, key: Key, default: V | T) -> V | T: ...

    def get(self, key: Key, default: Any = None) -> Any:
        """The value, or `default` where there is none."""
        data = self._native.get(key)
        return default if data is None else self._loads(data)

    @overload
    def pop(self, key: Key) -> V: ...

    @overload
    def pop(self, key: Key, default: V | T) -> V | T: ...

    def pop(self, key: Key, default: Any = _MISSING) -> Any:
        """Removes a key and gives its value, in one step: no two clients get the same one."""
        data = self._native.pop(key)
        if data is not None:
            return self._loads(data)
        if default is _MISSING:
            raise self._not_found(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Removes any key and gives it with its value."""
        for key in self:
            value = self.pop(key, _MISSING)
            if value is not _MISSING:
                return key, value
        raise NotFound(f"segment '{self.name}' is empty", segment=self.name)

    def setdefault(self, key: Key, default: V) -> V:  # type: ignore[override]  # None is no value
        """The value; where there is none, stores `default` and gives that."""
        while True:
            data = self._native.get(key)
            if data is not None:
                value: V = self._loads(data)
                return value
            try:
                self.set(key, default, nx=True)
            except Exists:
                continue  # another client was faster: give what it stored
            return default

    def clear(self) -> None:
        """Removes every key that is there during the whole call."""
        self._native.clear()

    def update(  # type: ignore[override]  # keys of one type, where MutableMapping wants both
        self,
        other: Mapping[str, V] | Mapping[bytes, V] | Iterable[tuple[Key, V]] = (),
        /,
        **others: V,
    ) -> None:
        """Stores all items, as :meth:`set_many` does."""
        self.set_many(other)
        self.set_many(others)

    def keys(self) -> KeysView[K]:
        keys: KeysView[Any] = collections.abc.KeysView(self)
        return keys

    def items(self) -> ItemsView[K, V]:
        return _Items(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    # ---- one key ---------------------------------------------------------------------------

    def set(
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
        """Stores a value and gives the key's new version.

        :param ttl: seconds or ``timedelta`` until it expires; None: never; 0 and less: at once
        :param cost: of computing the value again: any positive, finite number
        :param metadata: strings that events carry as ``event.metadata``
        :param depends_on: keys that this one was made from, never itself; :meth:`inspect` gives them
            back. Removing one of them does not remove this key yet. Cycles through other keys are
            refused by cacheed's ``DEPENDS_ON`` only
        :param nx: only where there is no such key, else :class:`cachee.Exists`
        :param xx: only where there is one, else :class:`cachee.NotFound`
        :param if_version: only over this version, else :class:`cachee.Stale`
        """
        if nx and xx:
            raise ValueError("nx and xx exclude each other")
        return self._native.set(
            key, self._dumps(value), _nanoseconds(ttl), cost, _fields(metadata),
            _keys(depends_on), nx, xx, if_version,
        )

    def delete(self, key: Key) -> bool:
        """Removes a key; False where there was none."""
        return self._native.erase(key)

    def exists(self, key: Key) -> bool:
        return self._native.contains(key)

    def incr(self, key: Key, delta: int = 1, *, initial: int = 0) -> int:
        """Adds to a decimal integer and gives the sum. TTL, cost and metadata are kept.

        :param initial: what a key that is not there starts from
        :raises Overflow: (an ``OverflowError``) the sum, or `delta` itself, does not fit 64 bits
        """
        return self._native.increment(key, delta, initial)

    def append(self, key: Key, suffix: ReadableBuffer) -> int:
        """Appends bytes to the stored ones, or stores them; gives the new length."""
        return self._native.append(key, suffix)

    def touch(self, key: Key, ttl: Duration) -> bool:
        """Gives a key a new time to live; False where there is none."""
        nanoseconds = _nanoseconds(ttl)
        if nanoseconds is None:
            raise TypeError("touch needs a ttl; persist() removes one")
        return self._native.touch(key, nanoseconds)

    def persist(self, key: Key) -> bool:
        """Removes the time to live; False where there was none, or no key."""
        return self._native.persist(key)

    def ttl(self, key: Key) -> float | None:
        """Seconds that a key has to live; None: it does not expire.

        :raises NotFound: there is no such key
        """
        milliseconds = self._native.ttl_ms(key)
        return None if milliseconds is None else milliseconds / 1000

    def view(self, key: Key) -> memoryview:
        """The stored bytes in place, read-only: nothing is copied.

        The memory stays as it is until the view is released (``release()``, ``with``, or by the
        garbage collector), whatever happens to the key; so keep views short. A thread has room for
        8 of them, further ones hold a copy. ``view.obj`` knows ``version`` and ``in_place``.

        :raises NotFound: there is no such key
        """
        return self._native.view(key)

    def inspect(self, key: Key) -> Entry[V]:
        """The value with its version, cost, metadata, dependencies and times.

        :raises NotFound: there is no such key
        """
        fields = self._native.inspect(key)
        ttl_ms = fields["ttl_ms"]
        return Entry(
            value=self._loads(fields["value"]),
            version=fields["version"],
            cost=fields["cost"],
            metadata={_decode(name): _decode(text) for name, text in fields["metadata"].items()},
            depends_on=fields["depends_on"],
            ttl=None if ttl_ms is None else ttl_ms / 1000,
            age=fields["age_ms"] / 1000,
            memory_bytes=fields["bytes"],
        )

    # ---- many keys -------------------------------------------------------------------------

    def get_many(self, keys: Iterable[T]) -> dict[T, V]:
        """Values of those keys that are there, under the keys as given."""
        wanted = list(keys)
        found = self._native.get_many(wanted)
        loads = self._loads
        return {key: loads(data) for key, data in zip(wanted, found) if data is not None}

    def set_many(
        self,
        mapping: Mapping[str, V] | Mapping[bytes, V] | Iterable[tuple[Key, V]],
        *,
        ttl: Duration | None = None,
        cost: float | None = None,
        metadata: Mapping[str, str] | None = None,
        depends_on: Iterable[Key] | None = None,
    ) -> None:
        """Stores many values with the same options, one after the other.

        Not a transaction: the first failure is raised, its ``key`` tells where; what was stored
        before stays.
        """
        pairs: Iterable[tuple[Any, V]] = (
            mapping.items() if isinstance(mapping, Mapping) else mapping
        )
        dumps = self._dumps
        items = [(key, dumps(value)) for key, value in pairs]
        self._native.set_many(
            items, _nanoseconds(ttl), cost, _fields(metadata), _keys(depends_on)
        )

    def scan(self, pattern: Key | None = None) -> Iterator[K]:
        """Keys that match a Redis glob (``* ? [a-z] [^x] \\``), or all of them, as iteration."""
        for keys in self._scan_steps():
            yield from self._matching(keys, pattern)

    def info(self) -> dict[str, Any]:
        """Figures of the segment: memory, keys, clients, ring, and the totals of all clients."""
        return self._native.info()

    # ---- more ------------------------------------------------------------------------------

    def memoize(
        self,
        ttl: Duration | None = None,
        *,
        prefix: str | None = None,
        serializer: serializers.Serializer[Any] = serializers.pickle,
        metadata: Mapping[str, str] | None = None,
        depends_on: Iterable[Key] | None = None,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Decorator: keeps results of a function in this cache, for all processes.

        ::

            @cache.memoize(ttl=60)
            def price(article: int, currency: str = "EUR") -> float: ...

            price(7)                  # computed, and stored with its cost: the milliseconds it took
            price(7)                  # read
            price.invalidate(7)       # forgotten, everywhere

        Arguments are told apart by value and type; those that are no plain data go through
        :mod:`pickle`. A result that cannot be stored for lack of room (:class:`cachee.NoSpace`,
        :class:`cachee.BackPressure`) is still returned. Two processes that miss at the same time
        both compute. The default serializer is pickle; :mod:`cachee.serializers` says when not to.

        :param prefix: of the keys; ``memoize:<module>.<function>`` unless given. It is needed for
            a lambda, and for a function that uses variables of another one around it
        """
        if callable(ttl):
            raise TypeError("write @cache.memoize() with parentheses")
        options = (_nanoseconds(ttl), _fields(metadata), _keys(depends_on))

        def decorate(function: Callable[P, R]) -> Memoized[P, R]:
            return memoized(function, self._native, serializer, prefix, options)

        return decorate

    @functools.cached_property
    def triggers(self) -> Triggers:
        """Triggers of this segment; they are asked of its cacheed."""
        return Triggers(self.name)

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
        """Joins a consumer group, and makes it when there is none of that name.

        ::

            for event in cache.subscribe("session:*", events=["ON_EXPIRE"], group="auth"):
                logout(event.key, event.value)
                event.ack()

        A group that is there must have the same pattern, events and options; without a pattern
        this only joins. :class:`Subscription` says what is promised.

        :param pattern: Redis glob: ``* ? [a-z] [^x] \\``
        :param group: its name
        :param events: ``"ON_WRITE"``, ``"ON_DELETE"``, ``"ON_EXPIRE"``, ``"ON_EVICT"``,
            ``"ON_READ"``: several, or a comma list
        :param consumer: how this one is shown; ``pid-`` and the process id unless given
        :param retry_attempts: attempts in all, then an event is a dead letter
        :param backoff_min: seconds or ``timedelta`` before the second attempt, doubling
        :param backoff_max: the longest wait between two attempts
        :param ack_deadline: how long one consumer may have an event in hand
        :param socket: path of cacheed's control socket; unless given that of the segment in
            ``$CACHEE_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/cachee``, else ``/run/cachee``
        :param prefetch: events that an iteration reads ahead, up to 4096. Their ack deadline runs
            from there: handling so many must take less, or the last of them are left to others
            (and handled twice, when the deadline is not known for lack of a pattern)
        :raises NoSupervisor: cacheed does not run
        :raises Exists: the group has another pattern, other events or options
        :raises NotFound: no pattern was given, and there is no such group
        :raises InvalidArgument: an argument is wrong, or cacheed refuses it
        """
        return self._join(SubscribeOptions(
            pattern, group, events, consumer, retry_attempts, backoff_min, backoff_max,
            ack_deadline, socket, prefetch,
        ))

    # ---- inside ----------------------------------------------------------------------------

    def _join(self, options: SubscribeOptions) -> Subscription[K]:
        made = Subscription(options.join(self._native), options, self.name, self._to_key)
        self._subscriptions.add(made)
        return made

    def _scan_steps(self) -> Iterator[list[bytes]]:
        cursor = 0
        while True:
            cursor, keys = self._native.scan(cursor, _SCAN_KEYS)
            yield keys
            if cursor == 0:
                return

    def _matching(self, keys: list[bytes], pattern: Key | None) -> Iterator[K]:
        for key in keys:
            if pattern is None or glob_match(pattern, key):
                yield self._to_key(key)

    def _scan_items(self) -> Iterator[tuple[K, V]]:
        for keys in self._scan_steps():
            # Keys that went since the step are left out by get_many.
            for key, value in self.get_many(keys).items():
                yield self._to_key(key), value

    def _to_key(self, key: bytes) -> K:
        return _decode(key) if self._decode_keys else key  # type: ignore[return-value]

    def _not_found(self, key: Key) -> NotFound:
        data = key.encode(errors="surrogateescape") if isinstance(key, str) else bytes(key)
        error = from_native(Errc.not_found, 0, 0, "", self.name, data)
        assert isinstance(error, NotFound)
        return error

    def _closed_error(self) -> Closed:
        error = from_native(Errc.closed, 0, 0, "", self.name, None)
        assert isinstance(error, Closed)
        return error


class _Items(ItemsView[Any, Any]):
    """items() that fetches values many at a time, and leaves out keys that went meanwhile."""

    def __init__(self, cache: Cache[Any, Any]) -> None:
        super().__init__(cache)
        self._cache = cache

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._cache._scan_items()


class _Values(ValuesView[Any]):
    def __init__(self, cache: Cache[Any, Any]) -> None:
        super().__init__(cache)
        self._cache = cache

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._cache._scan_items())


def _open_again(
    name: str,
    read_only: bool,
    client_name: str,
    serializer: serializers.Serializer[Any] | None,
    decode_keys: bool,
) -> Cache[Any, Any]:
    make: Any = Cache  # its overloads want to know decode_keys
    cache: Cache[Any, Any] = make(
        name, read_only=read_only, client_name=client_name, serializer=serializer,
        decode_keys=decode_keys,
    )
    return cache


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _nanoseconds(ttl: Duration | None) -> int | None:
    if ttl is None:
        return None
    if isinstance(ttl, (str, bytes)):  # a product with these is a long text
        raise TypeError(f"ttl is a number of seconds or a timedelta, not {type(ttl).__name__}")
    if isinstance(ttl, datetime.timedelta):
        nanoseconds = ttl // datetime.timedelta(microseconds=1) * 1000
    else:
        try:
            nanoseconds = int(ttl * 1_000_000_000)
        except (ValueError, OverflowError):  # not a number, infinite
            raise ValueError(f"ttl is a number of seconds or a timedelta, not {ttl!r}") from None
    if abs(nanoseconds) > _TTL_NS_MAX:
        raise ValueError(f"ttl of {ttl!r} is too long: at most 292 years; None is for ever")
    return nanoseconds


def _fields(metadata: Mapping[str, str] | None) -> dict[Any, Any] | None:
    return None if metadata is None else dict(metadata)


def _keys(keys: Iterable[Key] | None) -> list[Any] | None:
    if isinstance(keys, (str, bytes)):
        raise TypeError("depends_on is a list of keys, not one key")
    return None if keys is None else list(keys)
