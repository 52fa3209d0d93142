"""Errors: one class per code of the library, all of them :class:`Error`.

``except cachee.BackPressure`` catches one cause, ``except cachee.Error`` all of them. Where Python
has a word of its own the class is that, too: a :class:`NotFound` is a ``KeyError``.
"""

from __future__ import annotations

import enum
from typing import ClassVar

__all__ = [
    "BackPressure", "Busy", "Closed", "Corrupt", "Errc", "Error", "Exists", "Full", "InvalidArgument", "Io",
    "Lapped", "LayoutMismatch", "NoSegment", "NoSpace", "NoSupervisor", "NotANumber", "NotFound",
    "Overflow", "Permission", "ReadOnly", "Stale", "TimedOut", "Unsupported", "WouldBlock",
]


class Errc(enum.IntEnum):
    """Codes, with the numbers of ``cachee::Errc`` in C++ and ``CACHEE_...`` in C."""

    ok = 0
    not_found = 1
    exists = 2
    stale = 3
    full = 4
    lapped = 5
    would_block = 6
    timed_out = 7
    not_a_number = 8
    overflow = 9
    no_space = 32
    io = 33
    permission = 34
    busy = 35
    unsupported = 36
    no_supervisor = 37
    no_segment = 38
    invalid_argument = 64
    layout_mismatch = 65
    corrupt = 66
    closed = 67
    read_only = 68


class Error(Exception):
    """Base of all errors of Cachee.

    ``code`` tells the cause, ``errno`` what the operating system said (0: nothing), ``detail`` is
    a number whose meaning depends on the code, ``segment`` and ``key`` are what it was about.
    """

    code: ClassVar[Errc]

    def __init__(
        self,
        message: str,
        *,
        errno: int = 0,
        detail: int = 0,
        segment: str | None = None,
        key: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.errno = errno
        self.detail = detail
        self.segment = segment
        self.key = key

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        # By keywords, which pickle does not do on its own: errors cross multiprocessing pools.
        fields = (self.args[0], self.errno, self.detail, self.segment, self.key)
        return (_rebuild, (type(self), *fields))


class NotFound(Error, KeyError):
    """There is no such key (or trigger, or consumer group)."""

    code = Errc.not_found


class Exists(Error):
    """``nx=True``, and the key is there; or a consumer group, with another definition."""

    code = Errc.exists


class Stale(Error):
    """``if_version`` is not the version of the key; or an event is in other hands by now."""

    code = Errc.stale


class BackPressure(Error):
    """A trigger wants the event, and events cannot be taken fast enough. Nothing was applied.
    Of a subscription: too many of its events are not acknowledged."""

    code = Errc.full


Full = BackPressure
"""The same by the name of its code, ``full``."""


class Lapped(Error):
    """The event is gone."""

    code = Errc.lapped


class WouldBlock(Error):
    """There is nothing yet."""

    code = Errc.would_block


class TimedOut(Error):
    """Not done in the time allowed."""

    code = Errc.timed_out


class NotANumber(Error, ValueError):
    """``incr`` of a value that is not a decimal integer."""

    code = Errc.not_a_number


class Overflow(Error, OverflowError):
    """``incr`` past 64 bits, or by a number that has more."""

    code = Errc.overflow


class NoSpace(Error):
    """No room in the segment (or in /dev/shm), and nothing may be evicted."""

    code = Errc.no_space


class Io(Error):
    """The operating system reported an error; ``errno`` has it."""

    code = Errc.io


class Permission(Error):
    """The operating system does not allow it."""

    code = Errc.permission


class Busy(Error):
    """Taken by another process; ``detail`` may be its pid."""

    code = Errc.busy


class Unsupported(Error):
    """This library or machine cannot do it."""

    code = Errc.unsupported


class NoSupervisor(Error):
    """The operation needs a running cacheed."""

    code = Errc.no_supervisor


class NoSegment(Error):
    """There is no segment of that name."""

    code = Errc.no_segment


class InvalidArgument(Error, ValueError):
    """An argument breaks a rule."""

    code = Errc.invalid_argument


class LayoutMismatch(Error):
    """The segment was made by another version of Cachee."""

    code = Errc.layout_mismatch


class Corrupt(Error):
    """The segment breaks a rule at the offset in ``detail``."""

    code = Errc.corrupt


class Closed(Error):
    """The cache or the subscription was closed, or the latter was made before ``fork()``."""

    code = Errc.closed


class ReadOnly(Error):
    """A write through a cache that was opened with ``read_only=True``."""

    code = Errc.read_only


_CLASSES: dict[int, type[Error]] = {
    int(cls.code): cls
    for cls in (
        NotFound, Exists, Stale, BackPressure, Lapped, WouldBlock, TimedOut, NotANumber, Overflow,
        NoSpace, Io, Permission, Busy, Unsupported, NoSupervisor, NoSegment,
        InvalidArgument, LayoutMismatch, Corrupt, Closed, ReadOnly,
    )
}

# What happened and what to do, of {key} in {segment}; {text} is what the library says.
_MESSAGES: dict[int, str] = {
    Errc.not_found: "no key {key} in segment '{segment}'",
    Errc.exists: "key {key} is in segment '{segment}' already",
    Errc.stale: "key {key} in segment '{segment}' has another version: read it again and retry",
    Errc.full: (
        "back pressure in segment '{segment}' at key {key}: a trigger wants the event, and the "
        "event ring stayed full; nothing was applied. Retry later; `cachee -n {segment} ring` "
        "shows the depth, `cachee -n {segment} trigger stats` who is slow"
    ),
    Errc.not_a_number: "value of key {key} in segment '{segment}' is not a decimal integer",
    Errc.overflow: "sum at key {key} in segment '{segment}' does not fit 64 bits",
    Errc.no_space: (
        "no room for key {key} in segment '{segment}': start cacheed with a larger --memory, or "
        "with an --eviction policy ({text})"
    ),
    Errc.no_supervisor: (
        "no cacheed runs for segment '{segment}': start `cacheed --name {segment}`"
    ),
    Errc.no_segment: (
        "there is no segment '{segment}': start `cacheed --name {segment}`, which creates it"
    ),
    Errc.permission: (
        "segment '{segment}' may not be opened by this user: see --mode and --group of cacheed "
        "({text})"
    ),
    Errc.layout_mismatch: (
        "segment '{segment}' was made by another version of Cachee: restart cacheed of this "
        "version with --fresh, or use the library of that version ({text})"
    ),
    Errc.corrupt: "segment '{segment}' is damaged: run `cachee -n {segment} fsck` ({text})",
    Errc.closed: "the cache '{segment}' was closed",
    Errc.read_only: "cache '{segment}' was opened with read_only=True",
}


def from_native(
    code: int, errno: int, detail: int, text: str, segment: str, key: bytes | None
) -> Error:
    """Makes the exception of a code; the compiled half calls this."""
    words = _MESSAGES.get(code, "segment '{segment}', key {key}: {text}")
    if key is None:
        words = words.replace(" for key {key}", "").replace(" at key {key}", "")
        words = words.replace(", key {key}", "")
    message = words.format(key=show_key(key), segment=segment, text=text)
    cls = _CLASSES.get(code, Error)
    return cls(message, errno=errno, detail=detail, segment=segment, key=key)


# The same of a consumer group, where cacheed said nothing itself.
_GROUP_MESSAGES: dict[int, str] = {
    Errc.closed: (
        "the subscription to group '{group}' of segment '{segment}' was closed; it does not "
        "outlive fork(): subscribe again"
    ),
    Errc.no_supervisor: (
        "no cacheed answers for segment '{segment}': start `cacheed --name {segment}`, or set "
        "CACHEE_RUNTIME_DIR as for cacheed"
    ),
    Errc.invalid_argument: (
        "cacheed of segment '{segment}' cannot be asked about group '{group}': the path of its "
        "socket is longer than 107 bytes, or a name is not valid"
    ),
    Errc.timed_out: "cacheed of segment '{segment}' did not answer in time",
    Errc.permission: (
        "the control socket of segment '{segment}' may not be opened by this user: see --mode and "
        "--group of cacheed ({text})"
    ),
}


def from_group(
    code: int, errno: int, text: str, segment: str, group: bytes, said: bytes
) -> Error:
    """Makes the exception of a code about a consumer group; the compiled half calls this.

    `said` is the error that cacheed answered with: a word for its kind, and what happened.
    """
    if said:
        message = f"cacheed of segment '{segment}': {_decode(said).partition(' ')[2]}"
    else:
        words = _GROUP_MESSAGES.get(code, "group '{group}' of segment '{segment}': {text}")
        message = words.format(group=_decode(group), segment=segment, text=text)
    return _CLASSES.get(code, Error)(message, errno=errno, segment=segment)


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def show_key(key: bytes | None) -> str:
    """A key in a message: short, and on one line."""
    if key is None:
        return "?"
    text = key if len(key) <= 80 else key[:77] + b"..."
    try:
        return repr(text.decode())
    except UnicodeDecodeError:
        return repr(text)


def _rebuild(
    cls: type[Error], message: str, errno: int, detail: int, segment: str | None, key: bytes | None
) -> Error:
    return cls(message, errno=errno, detail=detail, segment=segment, key=key)
