"""The client of the control socket against a server that says anything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import cachee
import pytest
from cachee._resp import Connection, ReplyError, socket_path

HELLO = b"%1\r\n+server\r\n+cachee\r\n"


class Server:
    """Answers the greeting, and then one command with the bytes given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / "fake.sock"))
        self._socket.listen()
        self.request = b""
        self.answer = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                if peer.recv(4096):
                    peer.sendall(HELLO)
                self.request = peer.recv(65536)
                try:
                    peer.sendall(self.answer)
                except OSError:
                    pass  # the client has seen enough

    def ask(self, answer: bytes, *words: str | bytes) -> object:
        self.answer = answer
        with Connection("fake", str(self.folder), 5.0) as connection:
            return connection.command(*(words or ("PING",)))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.close()


def test_commands_are_arrays_of_bulk_strings(server: Server) -> None:
    assert server.ask(b"+OK\r\n", "SET", b"\x00\r\n", "ä") == "OK"
    assert server.request == b"*3\r\n$3\r\nSET\r\n$3\r\n\x00\r\n\r\n$2\r\n\xc3\xa4\r\n"


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (b"+OK\r\n", "OK"), (b":-12\r\n", -12), (b"$5\r\na\r\nbc\r\n", "a\r\nbc"),
        (b"$0\r\n\r\n", ""), (b"$-1\r\n", None), (b"_\r\n", None), (b"*-1\r\n", None),
        (b"#t\r\n", True), (b"#f\r\n", False), (b",1.5\r\n", 1.5),
        (b"(123456789012345678901\r\n", 123456789012345678901),
        (b"=8\r\ntxt:text\r\n", "text"), (b"*0\r\n", []), (b"*2\r\n+a\r\n*1\r\n:1\r\n", ["a", [1]]),
        (b"~1\r\n:1\r\n", [1]), (b"%2\r\n+a\r\n:1\r\n+b\r\n_\r\n", {"a": 1, "b": None}),
        (b"|1\r\n+ttl\r\n:1\r\n+OK\r\n", "OK"),
    ],
)
def test_replies(server: Server, answer: bytes, value: object) -> None:
    assert server.ask(answer) == value


@pytest.mark.parametrize("answer", [b"-ERR no\r\n", b"!6\r\nERR no\r\n"])
def test_errors_are_raised(server: Server, answer: bytes) -> None:
    with pytest.raises(ReplyError) as caught:
        server.ask(answer)
    assert caught.value.code == "ERR" and caught.value.message == "no"


@pytest.mark.parametrize(
    "answer",
    [
        b"?\r\n", b"\r\n", b":x\r\n", b"$x\r\n", b"$-2\r\n", b"$99999999999\r\n", b"$3\r\nab",
        b"$1\r\nabc\r\n",
        b"*-2\r\n", b"%-1\r\n", b"#x\r\n", b",x\r\n", b"+no end", b"*1\r\n" * 100, b"x" * 100000,
        b"|0\r\n" * 100,
    ],
    ids=lambda answer: repr(answer[:16]),
)
def test_nonsense_is_an_error(server: Server, answer: bytes) -> None:
    with pytest.raises(cachee.Error, match=r"does not answer in RESP|closed the connection"):
        server.ask(answer)


def test_a_server_that_goes_is_no_supervisor(server: Server) -> None:
    with pytest.raises(cachee.NoSupervisor, match="closed the connection"):
        server.ask(b"")


def test_a_server_that_is_not_there_is_no_supervisor(tmp_path: Path) -> None:
    with pytest.raises(cachee.NoSupervisor) as caught:
        Connection("orders", str(tmp_path), 1.0)
    assert "cacheed --name orders" in str(caught.value) and caught.value.errno != 0


def test_the_path_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEE_RUNTIME_DIR", "/a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/b")
    assert socket_path("n", "/c") == "/c/n.sock"
    assert socket_path("n") == "/a/n.sock"
    monkeypatch.delenv("CACHEE_RUNTIME_DIR")
    assert socket_path("n") == "/b/cachee/n.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert socket_path("n") == "/run/cachee/n.sock"
