"""Goal: cacheed starts, stops, restarts and reloads as interface.md says, and a restart keeps keys,
triggers and events.

Method: signals to a real cacheed, its exit codes and log, and what clients see before and after.
"""
import json
import os
import signal
import subprocess
import time

import pytest

from support import RespError, wait_until


def triggers(daemon):
    listed = json.loads(daemon.cachee_ok("--json", "trigger", "list"))
    return sorted(row["name"] for row in listed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_end_with_exit_0(daemon, number):
    daemon.resp("SET", "k", "v")
    daemon.signal(number)
    assert daemon.process.wait(10) == 0, daemon.log()


def test_restart_keeps_keys_deadlines_triggers_and_events(daemon, make_load, await_lines):
    daemon.register("e:*", "ON_WRITE", 'cachee.log("e", {key = event.key, v = event.version})', "NAME", "e",
                    "PRIORITY", 3)
    daemon.register("off:*", "ON_WRITE", "error('never')", "NAME", "off", "DISABLED")
    daemon.cachee_ok("set", "plain", "value", "--cost", "7", "--meta", "user=ada")
    daemon.cachee_ok("set", "mortal", "value", "--ttl", "1h")
    assert daemon.terminate() == 0

    # The clients need no supervisor, and what they do meanwhile is told later.
    assert daemon.cachee_ok("get", "plain").strip() == "value"
    load = make_load(daemon, "e:", keys=5, count=100)
    load.finish()
    assert not load.errors()

    daemon.start()
    assert triggers(daemon) == ["e", "off"]
    assert daemon.cachee_ok("get", "plain").strip() == "value"
    assert 3500 < daemon.resp("TTL", "mortal") <= 3600
    lines = await_lines(daemon, "e", 100)
    assert sorted((line["key"], line["v"]) for line in lines) == sorted(load.done())


def test_fresh_discards_the_segment(daemon):
    daemon.resp("SET", "k", "v")
    assert daemon.terminate() == 0
    daemon.start("--fresh")
    assert daemon.resp("GET", "k") is None


def test_restart_with_other_sizes_keeps_those_of_the_segment_and_says_so(make_daemon):
    daemon = make_daemon(options=("--ring-events", "2048", "--max-clients", "64", "--max-value", "1MiB"), memory="16MiB")
    real = {"memory": "16MiB", "ring-events": "2048", "max-clients": "64", "max-value": "1MiB"}
    shown = lambda: {name: daemon.resp("CONFIG", "GET", name)[1] for name in real}  # noqa: E731
    assert shown() == real
    assert "WARN" not in daemon.log().upper(), daemon.log()
    daemon.resp("SET", "k", "v")
    assert daemon.terminate() == 0

    daemon.options = ["--memory", "24MiB", "--ring-events", "4096", "--max-clients", "100", "--max-value", "2MiB"]
    daemon.start()
    log = daemon.log()
    for words in ("memory is 16MiB, not 24MiB", "ring-events is 2048, not 4096", "max-clients is 64, not 100",
                  "max-value is 1MiB, not 2MiB", "--fresh", f"re-attached, {16 << 20} bytes"):
        assert words in log, (words, log)
    assert shown() == real
    assert daemon.resp("GET", "k") == "v"
    with pytest.raises(RespError, match="life of the segment.*--fresh"):
        daemon.resp("CONFIG", "SET", "memory", "24MiB")

    # A fresh segment has what was asked for.
    assert daemon.terminate() == 0
    daemon.start("--fresh")
    assert "not 24MiB" not in daemon.log()
    assert shown() == {"memory": "24MiB", "ring-events": "4096", "max-clients": "100", "max-value": "2MiB"}


def test_second_supervisor_is_refused_and_names_the_first(daemon, make_daemon):
    second = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=15,
                            env=daemon.environment())
    assert second.returncode not in (0, None)
    assert str(daemon.process.pid) in second.stderr, second.stderr
    assert daemon.name in second.stderr
    assert daemon.resp("PING") == "PONG"


def test_segments_of_two_names_know_nothing_of_each_other(make_daemon):
    one, two = make_daemon(), make_daemon()
    one.resp("SET", "k", "one")
    two.resp("SET", "k", "two")
    assert (one.resp("GET", "k"), two.resp("GET", "k")) == ("one", "two")
    assert one.resp("FLUSHALL") == "OK"
    assert two.resp("DBSIZE") == 1


def test_dead_executor_is_replaced(daemon, await_lines):
    daemon.register("e:*", "ON_WRITE", 'cachee.log("e", {key = event.key})', "NAME", "e")
    [executor] = wait_until(daemon.executors, "an executor")
    os.kill(executor, signal.SIGKILL)
    wait_until(lambda: daemon.executors() not in ([], [executor]), "another executor")
    daemon.resp("SET", "e:1", "v")
    await_lines(daemon, "e", 1)


def test_hup_reloads_the_scripts_beside_the_settings(make_daemon, await_lines):
    daemon = make_daemon(start=False)
    folder = daemon.folder / "triggers.d"
    folder.mkdir()
    (folder / "one.lua").write_text(SCRIPT.format(name="one"))
    daemon.start()
    assert triggers(daemon) == ["one"]
    (folder / "two.lua").write_text(SCRIPT.format(name="two"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: triggers(daemon) == ["one", "two"], "the second trigger")
    daemon.resp("SET", "k:1", "v")
    assert {line["by"] for line in await_lines(daemon, "reload", 2)} == {"one", "two"}

    # A broken file is named and changes nothing.
    (folder / "three.lua").write_text("-- trigger: k:* ON_WRITE NAME three\nif if\n")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "three.lua" in daemon.log(), "the name of the broken file in the log")
    assert triggers(daemon) == ["one", "two"]
    assert daemon.alive()


SCRIPT = """-- trigger: k:* ON_WRITE NAME {name}
cachee.log("reload", {{by = "{name}"}})
"""


def test_mass_expiry_is_prompt_and_complete(daemon, make_load, await_lines):
    source = 'cachee.log("ends", {key = event.key, lag = event.lag_ms})'
    daemon.register("m:*", "ON_EXPIRE", source, "NAME", "ends")
    load = make_load(daemon, "m:", keys=3000, count=3000, ttl_ms=400, patience_ms=5000)
    load.finish()
    time.sleep(0.45)
    assert daemon.cachee("get", "m:1").returncode == 1, "an expired key was read"
    lines = await_lines(daemon, "ends", 3000)
    assert len({line["key"] for line in lines}) == 3000
    # Far above what it takes, 24 ms at the latest of a million (libshm/doc/expiry-eviction.md): the machine may be busy.
    lags = sorted(line["lag"] for line in lines)
    assert lags[0] >= 0 and lags[int(0.99 * len(lags))] < 500 and lags[-1] < 2000, lags[-40:]
