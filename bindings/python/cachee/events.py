"""Events of consumer groups; see :class:`Event`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, Generic, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from .durations import Duration
    from .subscription import Subscription

__all__ = ["Event", "EventFields", "EventType", "Origin"]

EventType = Literal["write", "delete", "expire", "evict", "read", "gap"]
"""What happened. ``gap`` stands in the place of events that a group with ``ON_FULL SHED`` lost."""

K = TypeVar("K", str, bytes)


class Origin(NamedTuple):
    """Who set an event off."""

    kind: str
    """``client sweep trigger cascade cdc coherence control``"""
    pid: int
    client: str
    """Name of the client."""
    instance: str


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class EventFields(Generic[K]):
    """What an event says: the fields of Lua's ``event``. Read-only."""

    id: str
    """``"5f3a9c1e-1234"``: unique over the segment's life, the same in every attempt."""
    type: EventType
    cause: str
    """``create update``, ``ttl``, ``capacity``, ``explicit invalidate flush cascade cdc coherence
    trigger``, or ``hit``."""
    key: K
    """``bytes``; ``str`` of a cache with ``decode_keys=True``."""
    value: bytes
    """The stored bytes, whatever serializer the cache has; of ``expire``, ``evict`` and ``delete``
    those of the value that went."""
    old_value: bytes | None
    """What a ``write`` replaced; None: nothing."""
    metadata: Mapping[str, str]
    cost: float
    timestamp: float
    """Unix seconds when it happened."""
    deadline: float | None
    """Unix seconds when the value expires, or expired; None: never."""
    ttl_ms: int | None
    """Milliseconds that the value had to live; None: it does not expire."""
    lag_ms: float
    """Milliseconds that an expiry fired late."""
    version: int
    """Of the key."""
    attempt: int
    """1, 2, ...: how often it has been handed out, this time included."""
    duplicate: bool
    """A cacheed that died may have handed it out before."""
    depth: int
    """How many triggers lie between a client's operation and this event."""
    chain: str
    """Id of the first event of the chain."""
    parent: str | None
    """Id of the event whose handler set this one off."""
    origin: Origin
    hits: int
    """How used the key was, 0 to 31, of ``expire`` and ``evict``; not how often it was read."""
    age_ms: int
    """Milliseconds since the value was written, of ``expire`` and ``evict``."""
    size: int
    """Bytes of the value."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Event(EventFields[K]):
    """An event in the hands of this program, until it is acknowledged or given back.

    Two deliveries of one event are two objects with the same ``id``. Both methods may be called
    from any thread.
    """

    _subscription: Subscription[K] = field(repr=False)

    def ack(self) -> None:
        """The event is over. When this returns, that is on disk.

        :raises Stale: it is not (any more) in the subscription's hands: its ack deadline passed,
            cacheed was restarted, or it was acknowledged before. It may be handed out again
        :raises NotFound: the group was removed
        :raises NoSupervisor: cacheed does not run
        :raises Closed: the subscription was closed, and has given the event back
        """
        self._subscription.ack(self)

    def nack(self, *, delay: Duration | None = None, error: str = "") -> None:
        """Gives the event back: a failed attempt.

        :param delay: seconds or ``timedelta`` until the next attempt; None: the group's backoff
        :param error: why, for the dead letter
        :raises Stale, NotFound, NoSupervisor, Closed: as of :meth:`ack`
        """
        self._subscription.nack(self, delay=delay, error=error)


def fields_of(record: dict[str, Any], to_key: Callable[[bytes], K]) -> dict[str, Any]:
    """What the compiled half says of an event, as the arguments of :class:`EventFields`."""
    record["key"] = to_key(record["key"])
    record["metadata"] = MappingProxyType(record["metadata"])
    record["origin"] = Origin(*record["origin"])
    return record
