"""Triggers of a segment, through the control socket of its cacheed; see :class:`Triggers`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ._resp import Connection, ReplyError
from .errors import Error, InvalidArgument, NotFound

__all__ = ["Triggers"]

TIMEOUT_S = 30.0


class Triggers:
    """What `cache.triggers` is: registers, lists and tries out Lua triggers.

    ::

        cache.triggers.register("session:*", "ON_EXPIRE", '''
            cachee.webhook("http://auth/expired", {key = event.key, user = event.metadata.user})
        ''')
        cache.triggers.test("session:*@ON_EXPIRE", {"key": "session:42"})

    Every call opens a connection of its own, so it may be used by several threads and after
    ``fork()``. Without a cacheed: :class:`cachee.NoSupervisor`.

    :param name: of the segment
    :param runtime_dir: of cacheed, when it differs from the environment's
    :param timeout: seconds to wait for an answer; None: for ever
    """

    def __init__(
        self, name: str = "default", *, runtime_dir: str | None = None,
        timeout: float | None = TIMEOUT_S,
    ) -> None:
        self._name = name
        self._runtime_dir = runtime_dir
        self._timeout = timeout

    def register(
        self,
        pattern: str,
        events: str | Iterable[str],
        source: str,
        *,
        name: str | None = None,
        priority: int | None = None,
        block: float | datetime.timedelta | None = None,
        shed: bool = False,
        retry: int | None = None,
        backoff: tuple[float | datetime.timedelta, float | datetime.timedelta] | None = None,
        timeout: float | datetime.timedelta | None = None,
        memory: int | str | None = None,
        steps: int | None = None,
        sample: int | None = None,
        max_depth: int | None = None,
        disabled: bool = False,
    ) -> None:
        """Registers a trigger, or replaces the one of the same name. When it has returned, every
        later operation of every client sees the trigger. What is not given has cacheed's default.

        :param pattern: Redis glob: ``* ? [a-z] [^x] \\``
        :param events: ``"ON_WRITE"``, ``"ON_EXPIRE"``, ... or several
        :param source: Lua
        :param name: ``<pattern>@<events>`` unless given
        :param priority: high first
        :param block: how long a writer waits for room in the event ring, in seconds
        :param shed: lose events instead of waiting, counted and with a gap event; a cacheed that
            cannot do that refuses it
        :param retry: attempts in all
        :param backoff: shortest and longest wait between them, in seconds
        :param timeout: of one run, in seconds
        :param memory: of one run: bytes, or ``"16MiB"``
        :param steps: VM instructions of one run
        :param sample: 1 in so many events (``ON_READ``)
        :param max_depth: how deep triggers may set off triggers
        :raises InvalidArgument: the script does not compile, or an option is wrong
        """
        if shed and block is not None:
            raise ValueError("block and shed exclude each other")
        words = ["REGISTER", pattern, events if isinstance(events, str) else ",".join(events)]

        def option(word: str, *values: object) -> None:
            words.extend((word, *map(str, values)))

        if name is not None:
            option("NAME", name)
        if priority is not None:
            option("PRIORITY", priority)
        if block is not None:
            option("ON_FULL", "BLOCK", _milliseconds(block))
        if shed:
            option("ON_FULL", "SHED")
        if retry is not None:
            option("RETRY", retry)
        if backoff is not None:
            option("BACKOFF", *(f"{_milliseconds(wait)}ms" for wait in backoff))
        if timeout is not None:
            option("TIMEOUT", _milliseconds(timeout))
        if memory is not None:
            option("MEMORY", memory)
        if steps is not None:
            option("STEPS", steps)
        if sample is not None:
            option("SAMPLE", sample)
        if max_depth is not None:
            option("MAXDEPTH", max_depth)
        if disabled:
            option("DISABLED")
        self._ask(*words, source)

    def list(self) -> list[dict[str, Any]]:
        """All triggers: name, pattern, events, options; high priority first."""
        return [_record(item) for item in self._ask("LIST") or []]

    def info(self, name: str) -> dict[str, Any]:
        """One trigger. :raises NotFound: there is none of that name"""
        return _record(self._ask("INFO", name))

    def source(self, name: str) -> str:
        """Lua text of a trigger. :raises NotFound: there is none of that name"""
        return str(self._ask("SOURCE", name))

    def stats(self, name: str) -> dict[str, Any]:
        """Runs, failures and latencies. :raises NotFound: there is none of that name"""
        return _record(self._ask("STATS", name))

    def remove(self, name: str) -> None:
        """:raises NotFound: there is none of that name"""
        self._ask("REMOVE", name)

    def enable(self, name: str) -> None:
        """:raises NotFound: there is none of that name"""
        self._ask("ENABLE", name)

    def disable(self, name: str) -> None:
        """Makes no events until it is enabled. :raises NotFound: there is none of that name"""
        self._ask("DISABLE", name)

    def pause(self, name: str) -> None:
        """Keeps events for :meth:`resume`. :raises NotFound: there is none of that name"""
        self._ask("PAUSE", name)

    def resume(self, name: str) -> None:
        """:raises NotFound: there is none of that name"""
        self._ask("RESUME", name)

    def test(self, name_or_source: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Runs a trigger, or Lua text, against an event, without carrying its effects out.

        :param event: fields as Lua sees them: ``{"key": ..., "value": ..., "metadata": {...}}``
        :returns: ``ok``, ``error``, ``effects``, ``microseconds``
        """
        return _record(self._ask("TEST", name_or_source, json.dumps(dict(event))))

    def _ask(self, *words: str) -> Any:
        with Connection(self._name, self._runtime_dir, self._timeout) as connection:
            try:
                return connection.command("TRIGGER", *words)
            except ReplyError as error:
                raise self._error(error) from None

    def _error(self, error: ReplyError) -> Error:
        text = f"cacheed of segment '{self._name}': {error.message or error.code}"
        if "no such" in error.message:
            return NotFound(text, segment=self._name)
        return InvalidArgument(text, segment=self._name)


def _milliseconds(duration: float | datetime.timedelta) -> int:
    if isinstance(duration, datetime.timedelta):
        duration = duration.total_seconds()
    return round(duration * 1000)


def _record(reply: Any) -> dict[str, Any]:
    """A reply that is a map, or its text as JSON, or (RESP2) names and values in turn."""
    if isinstance(reply, str):
        reply = json.loads(reply)
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2]))
    if not isinstance(reply, dict):
        raise InvalidArgument(f"cacheed answered {reply!r} where a record was expected")
    return reply
