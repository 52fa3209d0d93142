"""Cachee: a cache in shared memory whose keys' lives are events.

::

    import cachee

    with cachee.Cache("orders") as cache:
        cache.set("session:42", b"...", ttl=1800)
        print(cache["session:42"])

:class:`Cache` is the way in; errors are subclasses of :class:`Error`; :mod:`cachee.serializers`
has ways to store more than bytes.
"""

from . import serializers
from ._cachee import version as __version__
from .cache import Cache, Duration, Entry, Key
from .errors import (
    BackPressure, Busy, Closed, Corrupt, Errc, Error, Exists, Full, InvalidArgument, Io, Lapped,
    LayoutMismatch, NoSegment, NoSpace, NoSupervisor, NotANumber, NotFound, Overflow, Permission,
    ReadOnly, Stale, TimedOut, Unsupported, WouldBlock,
)
from .triggers import Triggers

__all__ = [
    "BackPressure", "Busy", "Cache", "Closed", "Corrupt", "Duration", "Entry", "Errc", "Error",
    "Exists", "Full", "InvalidArgument", "Io", "Key", "Lapped", "LayoutMismatch", "NoSegment", "NoSpace",
    "NoSupervisor", "NotANumber", "NotFound", "Overflow", "Permission", "ReadOnly", "Stale",
    "TimedOut", "Triggers", "Unsupported", "WouldBlock", "__version__", "serializers",
]
