"""Goal: each failure a user can meet says what it is about and what to do.

Method: each failure is made for real; the message must name the thing (the setting, the value, the
pid, the path) and a way out, and the exit code must be the documented one.
"""
import pathlib
import shutil
import subprocess

import pytest

from support import CACHEE, CACHEED, RespError


def start_fails(daemon, *more, prefix=()):
    """Runs cacheed where it must refuse; returns what it said."""
    done = subprocess.run([*prefix, *map(str, daemon.command(*more))], capture_output=True, text=True,
                          timeout=30, env=daemon.environment())
    assert done.returncode not in (0, -6, -11), (done.returncode, done.stderr)
    assert done.returncode > 0, f"ended by signal {-done.returncode}: {done.stderr}"
    return done.stderr


@pytest.fixture
def idle(make_daemon):
    """A daemon that has not been started."""
    return make_daemon(start=False)


def says(text, *words):
    for word in words:
        assert str(word).lower() in text.lower(), f"{word!r} is not in: {text}"


# No supervisor

def test_no_segment(idle):
    done = idle.cachee("get", "k")
    assert done.returncode == 3
    says(done.stderr, idle.name, "cacheed")


def test_no_supervisor_for_a_command_that_needs_it(daemon):
    daemon.resp("SET", "k", "v")
    daemon.kill()
    assert daemon.cachee_ok("get", "k").strip() == "v"
    done = daemon.cachee("trigger", "list")
    assert done.returncode == 3
    says(done.stderr, "cacheed", daemon.name)


# The segment

def test_wrong_layout_names_both_versions(daemon):
    daemon.resp("SET", "k", "v")
    assert daemon.terminate() == 0
    segment = pathlib.Path("/dev/shm") / f"cachee.{daemon.name}"
    original = segment.read_bytes()
    with segment.open("r+b") as file:
        file.seek(LAYOUT_MAJOR_OFFSET)
        file.write((77).to_bytes(4, "little"))
    text = start_fails(daemon)
    says(text, "layout", "77.", "3.", "--fresh")
    done = daemon.cachee("get", "k")
    assert done.returncode == 3
    says(done.stderr, "layout")
    segment.write_bytes(original)


# Offset of layout_major in the segment header (libshm/doc/segment-format.md).
LAYOUT_MAJOR_OFFSET = 8


def test_file_that_is_no_segment(idle):
    path = pathlib.Path("/dev/shm") / f"cachee.{idle.name}"
    path.write_bytes(b"not a segment" * 1000)
    try:
        says(start_fails(idle), idle.name, "--fresh")
        assert idle.cachee("get", "k").returncode == 3
    finally:
        path.unlink()


def test_name_taken(daemon):
    text = start_fails(daemon)
    says(text, daemon.name, daemon.process.pid)


@pytest.mark.parametrize("name", ["No/Slash", ".", "..", "a.locks"])
def test_bad_name(idle, name):
    rule = "1 to 64 characters of a-z0-9_.-, other than . and .., and not ending in .locks"
    says(start_fails(idle, "--name", name), f"name: bad value '{name}'", rule)
    done = subprocess.run([CACHEE, "-n", name, "get", "k"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    says(done.stderr, f"'{name}'", rule)


def test_segment_full_names_the_way_out(make_daemon):
    daemon = make_daemon(memory="2MiB", options=("--eviction", "none"))
    value = "x" * 20000
    failed = None
    for n in range(400):
        try:
            daemon.resp("SET", f"k{n}", value)
        except RespError as error:
            failed = str(error)
            break
    assert failed, "2 MiB took 8 MB"
    says(failed, "OOM", "--memory")
    done = daemon.cachee("set", "one-more", value)
    assert done.returncode != 0
    says(done.stderr, "memory")
    assert daemon.cachee_ok("get", "k0").strip() == value


def test_value_larger_than_allowed(make_daemon):
    daemon = make_daemon(options=("--max-value", "64KiB"))
    done = daemon.cachee("set", "k", "x" * 70000)
    assert done.returncode != 0
    says(done.stderr, "value", "--max-value")


def small_shm():
    """A prefix that runs a command with a /dev/shm of 8 MiB, or why there is none."""
    if not shutil.which("unshare"):
        return None, "unshare is not installed"
    prefix = ["unshare", "--mount", "sh", "-c",
              'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"', "small-shm"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    return (prefix, None) if probe.returncode == 0 else (None, f"no mount here: {probe.stderr.strip()}")


def test_dev_shm_too_small(idle):
    prefix, reason = small_shm()
    if prefix is None:
        pytest.skip(reason)
    text = start_fails(idle, "--memory", "64MiB", prefix=prefix)
    says(text, "/dev/shm", "64", "--memory")


# Settings and options

@pytest.mark.parametrize("option,value,words", [
    ("--memory", "12XB", ["memory", "12XB", "MiB"]),
    ("--memory", "1KiB", ["memory", "1"]),
    ("--ring-events", "many", ["ring-events", "many"]),
    ("--executors", "0", ["executors", "0"]),
    ("--eviction", "guess", ["eviction", "guess"]),
    ("--idle", "sometimes", ["idle", "sometimes", "adaptive"]),
    ("--mode", "0999", ["mode", "0999"]),
    ("--log-level", "loud", ["log-level", "loud", "info"]),
    ("--listen", "0.0.0.0:7000", ["listen", "0.0.0.0", "loopback", "password"]),
])
def test_bad_option_is_named_with_its_value_and_what_was_expected(idle, option, value, words):
    says(start_fails(idle, option, value), *words)


@pytest.mark.parametrize("settings,words", [
    ("memory = '12XB'\n", ["memory", "12XB"]),
    ("memroy = '64MiB'\n", ["memroy"]),
    ("[log]\nrotate_age = '500us'\n", ["rotate_age", "500us", "whole milliseconds", "us, ms"]),
    ("memory = \n", ["cacheed.toml", "1"]),
])
def test_bad_settings_file(make_daemon, settings, words):
    idle = make_daemon(settings=settings, start=False)
    idle.options = []
    says(start_fails(idle), *words)


def test_missing_settings_file(idle):
    idle.config.unlink()
    says(start_fails(idle), idle.config)


def test_unknown_option_of_cacheed(idle):
    says(start_fails(idle, "--memorry", "1GiB"), "--memorry")


@pytest.mark.parametrize("words", [["set", "k", "v", "--ttl", "5parsecs"], ["expire", "k", "soon"]])
def test_bad_duration_on_the_command_line(daemon, words):
    done = daemon.cachee(*words)
    assert done.returncode == 2
    says(done.stderr, words[-1])


def test_unknown_command_of_cachee(daemon):
    done = daemon.cachee("gte", "k")
    assert done.returncode == 2
    says(done.stderr, "gte")


# The command language on the command line

def test_every_command_of_the_language_is_one_of_the_command_line(daemon):
    listed = {name for name in daemon.resp("COMMAND", "LIST") if "|" not in name}
    shown = set(subprocess.run([CACHEE, "--help"], capture_output=True, text=True, timeout=30).stdout.split())
    assert len(listed) > 60
    assert {name.upper() for name in listed} <= shown


def test_the_command_line_speaks_the_language(daemon):
    assert daemon.cachee_ok("setex", "a", "100", "1") == "OK\n"
    assert daemon.cachee_ok("MGET", "a", "none") == "1\n\n"
    assert daemon.cachee_ok("--json", "mget", "a", "none") == '["1",null]\n'
    assert daemon.cachee_ok("GET", "a") == daemon.cachee_ok("get", "a") == "1\n"
    assert daemon.cachee_ok("persist", "a") == "1\n"
    assert daemon.cachee_ok("ping") == "PONG\n"
    assert "uptime" in daemon.cachee_ok("info")
    assert daemon.cachee_ok("SET", "b", "1", "META", "user", "42", "DEPENDS_ON", "a") == "OK\n"
    assert daemon.cachee_ok("trigger", "dlq", "list") == ""
    for words, expected in [(["GET"], "ERR wrong number of arguments for 'get'"),
                            (["depends_on", "a", "a"], "ERR cycle detected: a -> a"),
                            (["trigger", "info", "none"], "none")]:
        done = daemon.cachee(*words)
        assert (done.returncode, done.stdout) == (1, "")
        says(done.stderr, "(error)", expected)


def test_a_key_cannot_depend_on_itself(daemon):
    done = daemon.cachee("set", "loop", "v", "--depends-on", "loop")
    assert done.returncode == 1
    says(done.stderr, "a key cannot depend on itself")
    assert daemon.resp("EXISTS", "loop") == 0


# Triggers

@pytest.mark.parametrize("words,expected", [
    (["k:*", "ON_WRITE", "if if"], ["1:", "if"]),
    (["k:*", "ON_WRITE", "\n\nlocal x = = 3"], ["3:"]),
    (["k:*", "ON_WRIT", "return"], ["ON_WRIT", "ON_WRITE"]),
    (["k:*", "ON_WRITE,ON_", "return"], ["ON_"]),
    (["k:*", "ON_WRITE", "RETRYS", "3", "return"], ["RETRYS"]),
    (["k:*", "ON_WRITE", "RETRY", "often", "return"], ["RETRY", "often"]),
    (["k:*", "ON_WRITE", "BACKOFF", "5parsecs", "1s", "return"], ["BACKOFF", "5parsecs"]),
    (["k:*", "ON_WRITE", "BACKOFF", "2s", "1s", "return"], ["BACKOFF"]),
    (["k:*", "ON_WRITE", "TIMEOUT", "-1", "return"], ["TIMEOUT", "-1"]),
    (["k:*", "ON_WRITE", "MEMORY", "lots", "return"], ["MEMORY", "lots"]),
    (["k:*", "ON_WRITE", "ON_FULL", "PANIC", "return"], ["ON_FULL", "PANIC", "BLOCK"]),
    (["k:*", "ON_WRITE", "SAMPLE", "0", "return"], ["SAMPLE", "0"]),
    (["k:*", "ON_WRITE", "\x1bLua bytecode"], ["text"]),
])
def test_bad_registration_is_refused_with_its_reason(daemon, words, expected):
    with pytest.raises(RespError) as refused:
        daemon.resp("TRIGGER", "REGISTER", *words)
    says(str(refused.value), *expected)
    assert daemon.resp("TRIGGER", "LIST") == []


def test_a_refused_registration_in_a_command_file_names_its_line(daemon):
    done = daemon.cachee(stdin="SET a 1\nTRIGGER REGISTER k:* ON_NEVER <<LUA\nreturn\nLUA\nSET b 2\n")
    assert done.returncode != 0
    says(done.stderr, "ON_NEVER", "2")


def test_unknown_trigger_is_named(daemon):
    with pytest.raises(RespError) as refused:
        daemon.resp("TRIGGER", "REMOVE", "nobody")
    says(str(refused.value), "nobody")
    for channel in ("a/b", ".hidden", "", "c" * 65):
        with pytest.raises(RespError) as refused:
            daemon.resp("LOG", "PATH", channel)
        says(str(refused.value), "A-Z a-z 0-9 _ . -", "dot in front", "64")
    assert daemon.resp("LOG", "PATH", "Up.per_1-").endswith("/Up.per_1-.jsonl")


def test_commands_are_refused_as_redis_does(daemon):
    for words, expected in [
            (["NOSUCH"], "ERR unknown command"), (["GET"], "ERR wrong number of arguments for 'get' command"),
            (["SET", "k", "v", "EX", "0"], "ERR invalid expire time in 'set' command"),
            (["SET", "k", "v", "EX", "x"], "ERR value is not an integer or out of range"),
            (["SET", "k", "v", "NX", "XX"], "ERR syntax error")]:
        with pytest.raises(RespError) as refused:
            daemon.resp(*words)
        assert str(refused.value).startswith(expected), words


def test_versions_and_help():
    for program in (CACHEED, CACHEE):
        for option in ("--version", "--help"):
            done = subprocess.run([program, option], capture_output=True, text=True, timeout=10)
            assert done.returncode == 0, (program, option, done.stderr)
            assert "cachee" in done.stdout
