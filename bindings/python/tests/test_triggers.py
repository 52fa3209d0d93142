"""Triggers through a running cacheed."""

from __future__ import annotations

import datetime

import cachee
import pytest

from conftest import Supervisor, wait_until

COUNT = 'cachee.incr("count:" .. event.type, 1)'


def test_a_registered_trigger_fires(supervisor: Supervisor) -> None:
    with cachee.Cache(supervisor.name) as cache:
        cache.triggers.register("session:*", ["ON_EXPIRE", "ON_DELETE"], COUNT, name="count")
        cache.set("session:1", b"v", ttl=0.05)
        cache.set("session:2", b"v")
        del cache["session:2"]
        cache["other"] = b"v"
        del cache["other"]
        wait_until(
            lambda: cache.get_many(["count:expire", "count:delete"])
            == {"count:expire": b"1", "count:delete": b"1"},
            "the trigger has counted",
        )


def test_options_arrive(supervisor: Supervisor) -> None:
    triggers = cachee.Triggers(supervisor.name)
    triggers.register(
        "a:*", "ON_WRITE", "return", name="n", priority=7, block=0.25, retry=2,
        backoff=(0.1, datetime.timedelta(seconds=2)), timeout=0.2, memory="8MiB", steps=5000,
        max_depth=2, disabled=True,
    )
    info = triggers.info("n")
    assert info["name"] == "n" and info["pattern"] == "a:*"
    assert int(info["priority"]) == 7
    assert triggers.source("n") == "return"
    triggers.register("r:*", "ON_READ", "return", sample=10)
    names = [item["name"] for item in triggers.list()]
    assert names == ["n", "r:*@ON_READ"]  # by priority


def test_enable_disable_pause_resume_remove(supervisor: Supervisor) -> None:
    with cachee.Cache(supervisor.name) as cache:
        triggers = cache.triggers
        triggers.register("k:*", "ON_WRITE", COUNT, name="n")
        triggers.disable("n")
        cache["k:1"] = b"v"
        triggers.enable("n")
        cache["k:2"] = b"v"
        wait_until(lambda: cache.get("count:write") == b"1", "one write has counted")
        triggers.pause("n")
        cache["k:3"] = b"v"
        triggers.resume("n")
        wait_until(lambda: cache.get("count:write") == b"2", "the paused write has counted")
        assert triggers.stats("n")
        triggers.remove("n")
        assert triggers.list() == []
        for operation in (
            triggers.remove, triggers.info, triggers.source, triggers.stats, triggers.enable,
        ):
            with pytest.raises(cachee.NotFound, match="n"):
                operation("n")


def test_test_runs_without_effects(supervisor: Supervisor) -> None:
    with cachee.Cache(supervisor.name) as cache:
        cache.triggers.register("k:*", "ON_WRITE", 'cachee.set("out", event.value)', name="n")
        result = cache.triggers.test("n", {"key": "k:1", "value": "hello"})
        assert result["ok"] and len(result["effects"]) == 1
        assert not cache.triggers.test('error("no")', {"key": "k"})["ok"]
        assert "out" not in cache


def test_a_script_that_does_not_compile_is_refused_with_its_line(supervisor: Supervisor) -> None:
    triggers = cachee.Triggers(supervisor.name)
    with pytest.raises(cachee.InvalidArgument, match="2"):
        triggers.register("*", "ON_WRITE", "\nif then", name="broken")
    with pytest.raises(cachee.InvalidArgument, match="ON_NOTHING"):
        triggers.register("*", "ON_NOTHING", "return")
    with pytest.raises(ValueError, match="block and shed"):
        triggers.register("*", "ON_WRITE", "return", block=1, shed=True)
    assert triggers.list() == []
