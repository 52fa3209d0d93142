"""Cachee: a cache in shared memory whose keys' lives are events.

::

    import cachee

    with cachee.Cache("orders") as cache:
        cache.set("session:42", b"...", ttl=1800)
        print(cache["session:42"])

:class:`Cache` is the way in, :mod:`cachee.aio` that of asyncio; errors are subclasses of
:class:`Error`; :mod:`cachee.serializers` has ways to store more than bytes.
"""

from typing import TYPE_CHECKING, Any

from . import serializers
from ._cachee import version as __version__
from .cache import Cache, Entry, Key
from .durations import Duration
from .errors import (
    BackPressure, Busy, Closed, Corrupt, Errc, Error, Exists, Full, InvalidArgument, Io, Lapped,
    LayoutMismatch, NoSegment, NoSpace, NoSupervisor, NotANumber, NotFound, Overflow, Permission,
    ReadOnly, Stale, TimedOut, Unsupported, WouldBlock,
)
from .events import Event, Origin
from .subscription import Subscription
from .triggers import Triggers

if TYPE_CHECKING:
    from . import aio

__all__ = [
    "BackPressure", "Busy", "Cache", "Closed", "Corrupt", "Duration", "Entry", "Errc", "Error",
    "Event", "Exists", "Full", "InvalidArgument", "Io", "Key", "Lapped", "LayoutMismatch",
    "NoSegment", "NoSpace", "NoSupervisor", "NotANumber", "NotFound", "Origin", "Overflow",
    "Permission",
    "ReadOnly", "Stale", "Subscription", "TimedOut", "Triggers", "Unsupported", "WouldBlock",
    "__version__", "aio", "serializers",
]


def __getattr__(name: str) -> Any:
    # asyncio takes as long to import as all the rest: only who asks for it pays.
    if name == "aio":
        import importlib

        return importlib.import_module(".aio", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
