"""Durations as Python gives them: seconds, or a ``timedelta``."""

from __future__ import annotations

import datetime
import math

from .errors import InvalidArgument

Duration = float | datetime.timedelta
"""Seconds, or a ``timedelta``."""

_MS_MAX = 2**32 - 1  # of what crosses to the library, seven weeks


def milliseconds(name: str, duration: Duration, *, least: int = 0) -> int:
    """Whole milliseconds of a parameter, at least `least`, rounded up so that no wait becomes none.

    :raises InvalidArgument: names the parameter and what was expected
    """
    seconds = duration.total_seconds() if isinstance(duration, datetime.timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds or a timedelta, not {duration!r}")
    if math.isfinite(seconds) and least <= (ms := math.ceil(seconds * 1000 - 1e-6)) <= _MS_MAX:
        return ms
    expected = f"{least / 1000:g} to {_MS_MAX // 1000} s"
    raise InvalidArgument(f"{name} is {duration!r}: expected {expected}")
