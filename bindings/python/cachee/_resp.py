"""A minimal client of cacheed's control socket, which speaks RESP3 (the protocol of Redis)."""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Any

from .errors import Error, Io, NoSupervisor, TimedOut

__all__ = ["Connection", "ReplyError", "socket_path"]

_BULK_BYTES_MAX = 512 << 20  # as Redis
_LINE_BYTES_MAX = 64 << 10
_DEPTH_MAX = 16


class ReplyError(Exception):
    """An error that the server answered with: `code` is its first word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code, _, self.message = text.partition(" ")


def socket_path(name: str, runtime_dir: str | None = None) -> str:
    """Where the control socket of a segment is: $CACHEE_RUNTIME_DIR, $XDG_RUNTIME_DIR, /run."""
    if runtime_dir is None:
        runtime_dir = os.environ.get("CACHEE_RUNTIME_DIR")
    if not runtime_dir:
        xdg = os.environ.get("XDG_RUNTIME_DIR")
        runtime_dir = os.path.join(xdg, "cachee") if xdg else "/run/cachee"
    return os.path.join(runtime_dir, f"{name}.sock")


class Connection:
    """One connection; not for several threads at a time."""

    def __init__(self, name: str, runtime_dir: str | None, timeout: float | None) -> None:
        self._name = name
        self._path = socket_path(name, runtime_dir)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(self._path)
        except OSError as error:
            self._socket.close()
            raise self._unreachable(error) from error
        self._input = self._socket.makefile("rb")
        try:
            self.command("HELLO", "3")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._input.close()
        self._socket.close()

    def command(self, *words: str | bytes) -> Any:
        """Sends a command and gives its reply. Text comes back as ``str``.

        :raises ReplyError: the server refused it
        """
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        request = b"*%d\r\n" % len(parts)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        try:
            self._socket.sendall(request)
            reply = self._read(0)
        except TimeoutError as error:
            raise TimedOut(
                f"cacheed of segment '{self._name}' did not answer in time", segment=self._name
            ) from error
        except OSError as error:
            raise self._unreachable(error) from error
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _unreachable(self, error: OSError) -> Error:
        if isinstance(error, PermissionError):
            text = (
                f"control socket {self._path} may not be opened by this user: see --mode and "
                "--group of cacheed"
            )
        elif isinstance(error, TimeoutError):
            text = f"cacheed does not answer at {self._path}"
        else:
            text = (
                f"no cacheed answers at {self._path} ({error.strerror or error}): start "
                f"`cacheed --name {self._name}`, or set CACHEE_RUNTIME_DIR as for cacheed"
            )
        return NoSupervisor(text, errno=error.errno or 0, segment=self._name)

    # ---- replies ---------------------------------------------------------------------------

    def _read(self, depth: int) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return _text(rest)
        if kind == b"-":
            return ReplyError(_text(rest))
        if kind == b":":
            return self._number(rest)
        if kind in b"$=!":
            return self._bulk(kind, rest)
        if kind == b"_":
            return None
        if kind == b"#" and rest in (b"t", b"f"):
            return rest == b"t"
        if kind == b",":
            return self._double(rest)
        if kind == b"(":
            return self._number(rest)
        if kind in b"*~>%|":
            return self._aggregate(kind, rest, depth)
        raise self._broken()

    def _aggregate(self, kind: bytes, rest: bytes, depth: int) -> Any:
        count = self._number(rest)
        if count == -1 and kind == b"*":
            return None
        if count < 0 or depth == _DEPTH_MAX:
            raise self._broken()
        if kind in b"%|":
            pairs: dict[Any, Any] = {}
            for _ in range(count):
                key = self._read(depth + 1)
                value = self._read(depth + 1)
                pairs[str(key)] = value
            # Attributes stand before the reply that they are about.
            return pairs if kind == b"%" else self._read(depth + 1)
        return [self._read(depth + 1) for _ in range(count)]

    def _bulk(self, kind: bytes, rest: bytes) -> Any:
        count = self._number(rest)
        if count == -1 and kind == b"$":
            return None
        if not 0 <= count <= _BULK_BYTES_MAX:
            raise self._broken()
        data = self._input.read(count + 2)
        if len(data) != count + 2 or data[-2:] != b"\r\n":
            raise self._broken()
        text = _text(data[:-2])
        if kind == b"!":
            return ReplyError(text)
        return text[4:] if kind == b"=" else text  # "txt:..."

    def _line(self) -> bytes:
        line = self._input.readline(_LINE_BYTES_MAX)
        if not line:
            raise ConnectionResetError("cacheed closed the connection")
        if not line.endswith(b"\r\n"):
            raise self._broken()
        return line[:-2]

    def _number(self, text: bytes) -> int:
        try:
            return int(text)
        except ValueError:
            raise self._broken() from None

    def _double(self, text: bytes) -> float:
        try:
            return float(text)
        except ValueError:
            raise self._broken() from None

    def _broken(self) -> Error:
        return Io(f"{self._path} does not answer in RESP", segment=self._name)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
