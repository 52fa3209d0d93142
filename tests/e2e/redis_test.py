"""Goal: Redis clients work against the control socket: redis-cli, pipelines, RESP3, big and binary
values, and the answers Redis 7 documents, errors included.

Method: redis-cli as a user runs it, and raw RESP where redis-cli would hide the bytes.
"""
import subprocess

import pytest

from support import Resp, RespError


def redis_cli(daemon, *words, stdin=None):
    done = subprocess.run(["redis-cli", "-s", str(daemon.socket_path), *map(str, words)], input=stdin,
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def test_redis_cli_smoke(daemon):
    for words, expected in [
            ("PING", "PONG"), ("SET k v", "OK"), ("GET k", "v"), ("EXISTS k", "1"), ("STRLEN k", "1"),
            ("GET nothing", ""), ("DEL k", "1"), ("DEL k", "0"), ("INCR n", "1"), ("INCRBY n 41", "42"),
            ("DECR n", "41"), ("TTL n", "-1"), ("TTL nothing", "-2"), ("EXPIRE n 100", "1"), ("TTL n", "100"),
            ("PERSIST n", "1"), ("PERSIST n", "0"), ("TYPE n", "string"), ("TYPE nothing", "none"),
            ("SETNX n 5", "0"), ("APPEND a xy", "2"), ("APPEND a z", "3"), ("GETRANGE a 1 -1", "yz"),
            ("SETRANGE a 1 Q", "3"), ("GET a", "xQz"), ("GETSET a new", "xQz"), ("GETDEL a", "new"),
            ("MSET x 1 y 2", "OK"), ("MGET x y zz", "1\n2"), ("DBSIZE", "3"), ("ECHO hi", "hi"),
            ("SELECT 0", "OK"), ("PEXPIRE x 50000", "1"), ("RENAME x z", "OK"), ("EXISTS x z", "1"),
            ("FLUSHALL", "OK"), ("DBSIZE", "0")]:
        assert redis_cli(daemon, *words.split()).rstrip("\n") == expected, words


def test_redis_cli_pipe_and_info(daemon):
    stdin = "".join(f"SET bulk:{n} {n}\n" for n in range(500))
    assert redis_cli(daemon, stdin=stdin).count("OK") == 500
    assert len(redis_cli(daemon, "--scan", "--pattern", "bulk:*").split()) == 500
    info = redis_cli(daemon, "INFO")
    for word in ("# Server", "# Memory", "# Stats", "redis_version:7", "# Cachee"):
        assert word in info, info
    assert "NOSUCH" in redis_cli(daemon, "NOSUCH", "x")


def test_redis_benchmark_runs(daemon):
    done = subprocess.run(["redis-benchmark", "-s", str(daemon.socket_path), "-t", "ping,set,get,incr,mset",
                           "-n", "2000", "-q"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("requests per second") >= 5, done.stdout
    assert "rror" not in done.stdout + done.stderr


def test_ttl_options_of_set(daemon):
    resp = daemon.resp
    assert resp("SET", "k", "v", "PX", 100000) == "OK"
    assert 99000 < resp("PTTL", "k") <= 100000
    assert resp("SET", "k", "w", "KEEPTTL", "GET") == "v"
    assert resp("PTTL", "k") > 90000
    assert resp("SET", "k", "x") == "OK"
    assert resp("TTL", "k") == -1
    assert resp("SET", "k", "y", "NX") is None
    assert resp("SET", "new", "y", "XX") is None
    assert resp("EXPIRE", "k", 100, "XX") == 0
    assert resp("EXPIRE", "k", 100, "NX") == 1
    assert resp("EXPIRE", "k", 50, "GT") == 0
    assert resp("EXPIRE", "k", 50, "LT") == 1
    assert resp("EXPIRE", "k", -1) == 1
    assert resp("EXISTS", "k") == 0


def test_binary_and_large_values_and_keys(daemon):
    binary = bytes(range(256)) * 10
    key = b"bin\x00\r\n\xff"
    with_path = Resp(daemon.socket_path)
    assert with_path("SET", key, binary) == "OK"
    with_path.send("GET", key)
    assert with_path.read().encode("utf-8", "surrogateescape") == binary
    large = b"L" * (5 << 20)
    assert with_path("SET", "large", large) == "OK"
    assert with_path("STRLEN", "large") == len(large)
    assert with_path("GET", "large").encode() == large
    with_path.close()


def test_pipeline_answers_in_order(daemon):
    connection = Resp(daemon.socket_path)
    for n in range(2000):
        connection.send("INCR", "n")
    assert [connection.read() for _ in range(2000)] == list(range(1, 2001))
    connection.close()


def test_resp3_hello(daemon):
    connection = Resp(daemon.socket_path)
    connection.send("HELLO", "3")
    assert connection.stream.readline().startswith(b"%")
    connection.close()
    with pytest.raises(RespError, match="NOPROTO"):
        daemon.resp("HELLO", "9")


def test_garbage_ends_the_connection_and_nobody_elses(daemon):
    for garbage in (b"*1\r\n$-5\r\nPING\r\n", b"*99999999999\r\n", b"*1\r\n:3\r\n", b"\x00\xff\xfe\r\n\r\n",
                    b"*2\r\n$3\r\nGET\r\n$99999999999\r\n"):
        connection = Resp(daemon.socket_path, timeout=5)
        connection.socket.sendall(garbage)
        answer = connection.stream.readline()
        assert answer == b"" or answer.startswith(b"-"), (garbage, answer)
        connection.close()
    assert daemon.resp("PING") == "PONG"


def test_cachee_and_redis_cli_see_the_same(daemon):
    daemon.cachee_ok("set", "k", "from cachee")
    assert redis_cli(daemon, "GET", "k") == "from cachee"
    redis_cli(daemon, "SET", "k", "from redis-cli", "EX", "60")
    assert daemon.cachee_ok("get", "k").strip() == "from redis-cli"
    assert "60" in daemon.cachee_ok("ttl", "k") or "59" in daemon.cachee_ok("ttl", "k")


def test_versions_compare_and_set(daemon):
    daemon.resp("SET", "k", "a")
    value, version = daemon.resp("GETVER", "k")
    assert value == "a"
    assert daemon.resp("SET", "k", "b", "IFVER", version) == "OK"
    answer = None
    try:
        answer = daemon.resp("SET", "k", "c", "IFVER", version)
    except RespError:
        pass
    assert answer is None
    assert daemon.resp("GET", "k") == "b"
