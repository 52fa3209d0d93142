"""What a Cache can do beyond a mapping."""

from __future__ import annotations

import datetime
import math
import pickle

import cachee
import pytest

from conftest import Holder, wait_until

Bytes = cachee.Cache[bytes, bytes]


def test_set_gives_the_version(cache: Bytes) -> None:
    first = cache.set("k", b"1")
    second = cache.set("k", b"2")
    assert second > first > 0
    assert cache.inspect("k").version == second
    cache.delete("k")
    assert cache.set("k", b"3") > second  # a version does not come twice


def test_everything_stored_is_inspected(cache: Bytes) -> None:
    cache.set(
        "k", b"value", ttl=60, cost=12.5, metadata={"user": "42", "plan": "ä"},
        depends_on=["p:1", b"p:2"],
    )
    entry = cache.inspect("k")
    assert entry.value == b"value" and entry.version > 0 and entry.cost == 12.5
    assert entry.metadata == {"user": "42", "plan": "ä"}
    assert entry.depends_on == [b"p:1", b"p:2"]
    assert entry.ttl is not None and 0 < entry.ttl <= 60
    assert 0 <= entry.age < 20 and entry.memory_bytes >= 5


@pytest.mark.parametrize("ttl", [100, 100.0, datetime.timedelta(seconds=100)])
def test_ttl_is_seconds_or_timedelta(cache: Bytes, ttl: cachee.Duration) -> None:
    cache.set("k", b"v", ttl=ttl)
    left = cache.ttl("k")
    assert left is not None and 80 < left <= 100


def test_keys_expire(cache: Bytes) -> None:
    cache.set("k", b"v", ttl=0.05)
    assert cache.get("k") == b"v"
    wait_until(lambda: cache.get("k") is None, "the key expires")
    assert "k" not in cache


@pytest.mark.parametrize("ttl", [math.nan, math.inf, 1e12, datetime.timedelta.max])
def test_a_ttl_that_is_no_time_is_refused(cache: Bytes, ttl: cachee.Duration) -> None:
    with pytest.raises(ValueError, match="ttl"):
        cache.set("k", b"v", ttl=ttl)
    assert "k" not in cache


@pytest.mark.parametrize("ttl", ["5", b"5"])
def test_a_ttl_is_no_text(cache: Bytes, ttl: object) -> None:
    with pytest.raises(TypeError, match="ttl is a number of seconds or a timedelta, not"):
        cache.set("k", b"v", ttl=ttl)  # type: ignore[arg-type]


def test_ttl_touch_and_persist(cache: Bytes) -> None:
    cache["k"] = b"v"
    assert cache.ttl("k") is None
    assert cache.touch("k", ttl=50)
    assert cache.ttl("k") is not None
    assert cache.persist("k") and cache.ttl("k") is None
    assert not cache.persist("k")
    assert not cache.touch("none", ttl=50) and not cache.persist("none")
    with pytest.raises(cachee.NotFound):
        cache.ttl("none")
    with pytest.raises(TypeError):
        cache.touch("k", ttl=None)  # type: ignore[arg-type]


def test_conditions(cache: Bytes) -> None:
    first = cache.set("k", b"1", nx=True)
    with pytest.raises(cachee.Exists):
        cache.set("k", b"2", nx=True)
    with pytest.raises(cachee.NotFound):
        cache.set("none", b"2", xx=True)
    second = cache.set("k", b"2", xx=True)
    with pytest.raises(cachee.Stale):
        cache.set("k", b"3", if_version=first)
    assert cache.set("k", b"3", if_version=second) > second
    with pytest.raises(ValueError, match="nx and xx"):
        cache.set("k", b"4", nx=True, xx=True)
    assert cache["k"] == b"3"


def test_delete_and_exists(cache: Bytes) -> None:
    assert not cache.exists("k") and not cache.delete("k")
    cache["k"] = b"v"
    assert cache.exists("k") and cache.delete("k") and not cache.exists("k")


def test_incr(cache: Bytes) -> None:
    assert cache.incr("n") == 1
    assert cache.incr("n", 41) == 42
    assert cache.incr("n", -50) == -8
    assert cache.incr("m", initial=10) == 11
    assert cache["n"] == b"-8"
    with pytest.raises(cachee.Overflow):
        cache.incr("n", -(2**63))
    cache["t"] = b"text"
    with pytest.raises(cachee.NotANumber) as caught:
        cache.incr("t")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("delta", [2**63, -(2**63) - 1, 10**30])
def test_incr_by_what_does_not_fit_is_an_overflow(cache: Bytes, delta: int) -> None:
    with pytest.raises(cachee.Overflow, match="key 'n'") as caught:
        cache.incr("n", delta)
    assert isinstance(caught.value, OverflowError)
    with pytest.raises(cachee.Overflow):
        cache.incr("n", initial=delta)
    assert "n" not in cache
    assert cache.incr("n", -(2**63)) == -(2**63)


def test_incr_wants_an_int(cache: Bytes) -> None:
    for delta in ("1", 1.0, None):
        with pytest.raises(TypeError, match="delta is an int, not"):
            cache.incr("n", delta)  # type: ignore[arg-type]
    assert cache.incr("n", True) == 1  # an int as any other


def test_incr_keeps_ttl_cost_and_metadata(cache: Bytes) -> None:
    cache.set("n", b"1", ttl=60, cost=7, metadata={"limit": "10"})
    cache.incr("n")
    entry = cache.inspect("n")
    assert entry.value == b"2" and entry.cost == 7 and entry.metadata == {"limit": "10"}
    assert entry.ttl is not None


def test_append(cache: Bytes) -> None:
    assert cache.append("k", b"ab") == 2
    assert cache.append("k", bytearray(b"cd")) == 4
    assert cache["k"] == b"abcd"


def test_get_many_gives_what_is_there_under_the_keys_as_given(cache: Bytes) -> None:
    cache.update({"a": b"1", "b": b"2"})
    assert cache.get_many(["a", b"b", "none"]) == {"a": b"1", b"b": b"2"}
    assert cache.get_many([]) == {}
    assert cache.get_many(f"{c}" for c in "ab") == {"a": b"1", "b": b"2"}
    with pytest.raises(TypeError):
        cache.get_many(["a", 1])


def test_set_many(cache: Bytes) -> None:
    cache.set_many({"a": b"1", "b": b"2"}, ttl=60, cost=3, metadata={"m": "n"})
    cache.set_many([(b"c", b"3")])
    assert cache.get_many(["a", "b", "c"]) == {"a": b"1", "b": b"2", "c": b"3"}
    assert cache.ttl("b") is not None and cache.inspect("a").metadata == {"m": "n"}
    assert cache.ttl("c") is None


def test_set_many_stops_at_the_first_failure_and_names_it(cache: Bytes) -> None:
    too_long = "x" * 70000
    with pytest.raises(cachee.InvalidArgument) as caught:
        cache.set_many([("a", b"1"), (too_long, b"2"), ("c", b"3")])
    assert caught.value.key == too_long.encode()
    assert "a" in cache and "c" not in cache


def test_scan_matches_globs(cache: Bytes) -> None:
    cache.update({"session:1": b"", "session:2": b"", "user:1": b""})
    assert set(cache.scan("session:*")) == {b"session:1", b"session:2"}
    assert set(cache.scan("*:1")) == {b"session:1", b"user:1"}
    assert set(cache.scan("user:[0-9]")) == {b"user:1"}
    assert len(list(cache.scan())) == 3
    assert list(cache.scan("nothing*")) == []


def test_info_counts(cache: Bytes) -> None:
    cache["k"] = b"v"
    cache.get("k")
    cache.get("none")
    info = cache.info()
    assert info["name"] == cache.name and info["keys"] == 1
    assert info["totals"]["hits"] >= 1 and info["totals"]["misses"] >= 1
    assert info["supervisor_pid"] > 0 and cache.supervisor_alive


def test_cost_and_version_are_checked(cache: Bytes) -> None:
    for cost in ("x", b"1", [1]):
        with pytest.raises(TypeError, match=f"cost is a number, not {type(cost).__name__}"):
            cache.set("k", b"v", cost=cost)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="cost is a number"):
            cache.set_many({"k": b"v"}, cost=cost)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cost is a number that a float can hold"):
        cache.set("k", b"v", cost=10**400)
    for bad in (math.inf, math.nan, -math.inf, 0, -1):
        with pytest.raises(cachee.InvalidArgument, match="a cost is a positive, finite number"):
            cache.set("k", b"v", cost=bad)
        with pytest.raises(cachee.InvalidArgument, match="a cost is a positive, finite number"):
            cache.set_many({"k": b"v"}, cost=bad)
    for version in ("x", 1.5):
        with pytest.raises(TypeError, match="if_version is an int, not"):
            cache.set("k", b"v", if_version=version)  # type: ignore[arg-type]
    for version in (-1, 2**64):
        with pytest.raises(ValueError, match=r"if_version is from 0 to 2\*\*64-1"):
            cache.set("k", b"v", if_version=version)
    assert "k" not in cache
    cache.set("k", b"v", cost=3)
    with pytest.raises(cachee.Stale):
        cache.set("k", b"w", if_version=2**64 - 1)


def test_a_key_does_not_depend_on_itself(cache: Bytes) -> None:
    for parents in (["k"], [b"p", b"k"]):
        with pytest.raises(cachee.InvalidArgument, match="a key cannot depend on itself"):
            cache.set("k", b"v", depends_on=parents)
    assert "k" not in cache


def test_buffers_with_gaps_are_copied(cache: Bytes) -> None:
    memory = memoryview(bytes(range(200)))
    for gaps in (memory[::2], memory[::-1], memory[10:150:7]):
        cache.set("k", gaps)  # type: ignore[arg-type]
        assert cache["k"] == bytes(gaps)
        cache.append("a", gaps)
    assert cache["a"] == bytes(memory[::2]) + bytes(memory[::-1]) + bytes(memory[10:150:7])
    cache.set_many({"m": memory[1::3]})  # type: ignore[dict-item]
    assert cache["m"] == bytes(memory[1::3])
    assert cache.get(memoryview(b"k-")[::2]) == bytes(memory[10:150:7])  # type: ignore[call-overload]
    memory.release()
    with pytest.raises(ValueError, match="released"):
        cache.set("k", memory)  # type: ignore[arg-type]


def test_metadata_and_dependencies_are_checked(cache: Bytes) -> None:
    with pytest.raises(TypeError, match="metadata is str or bytes-like, not int"):
        cache.set("k", b"v", metadata={"limit": 5})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="a list of keys"):
        cache.set("k", b"v", depends_on="parent")
    with pytest.raises(cachee.InvalidArgument):
        cache.set("k", b"v", cost=-1)
    assert "k" not in cache


def test_a_closed_cache_says_so(holder: Holder) -> None:
    with cachee.Cache(holder.name) as cache:
        cache["k"] = b"v"
        assert not cache.closed
    assert cache.closed and repr(cache) == f"<cachee.Cache {holder.name!r} closed>"
    cache.close()
    for operation in (
        lambda: cache.get("k"), lambda: cache.set("k", b"v"), lambda: list(cache), cache.info,
        lambda: "k" in cache, cache.__enter__,
    ):
        with pytest.raises(cachee.Closed, match=holder.name):
            operation()


def test_a_reading_cache_refuses_writes(cache: Bytes) -> None:
    cache["k"] = b"v"
    with cachee.Cache(cache.name, read_only=True) as reader:
        assert reader["k"] == b"v" and list(reader) == [b"k"]
        for operation in (
            lambda: reader.set("k", b"w"), lambda: reader.delete("k"), lambda: reader.incr("n"),
            lambda: reader.touch("k", 1), reader.clear,
        ):
            with pytest.raises(cachee.ReadOnly):
                operation()
    assert cache["k"] == b"v"


def test_a_pickled_cache_opens_the_same_segment(cache: Bytes) -> None:
    cache["k"] = b"v"
    with pickle.loads(pickle.dumps(cache)) as other:
        assert other["k"] == b"v"


def test_two_caches_see_each_other(cache: Bytes) -> None:
    with cachee.Cache(cache.name) as other:
        other["k"] = b"v"
        assert cache["k"] == b"v"
        cache["k"] = b"w"
        assert other["k"] == b"w"
