"""@cache.memoize: results of functions, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

import cachee
import pytest
from cachee import serializers

from conftest import Holder

Bytes = cachee.Cache[bytes, bytes]
calls = 0


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    global calls
    calls = 0


def double(x: object, *, unit: str = "EUR") -> tuple[object, str]:
    """Doubles."""
    global calls
    calls += 1
    return x, unit


def slow() -> None:
    time.sleep(0.03)


@dataclass
class Point:
    x: int
    y: int

    def size(self, scale: int) -> int:
        global calls
        calls += 1
        return (self.x + self.y) * scale


def test_a_result_is_computed_once(cache: Bytes) -> None:
    function = cache.memoize(ttl=60)(double)
    assert function(1) == (1, "EUR") == function(1)
    assert calls == 1
    assert function(2) == (2, "EUR") and calls == 2
    assert function.__name__ == "double" and function.__doc__ == "Doubles."


def test_arguments_are_the_same_however_they_are_passed(cache: Bytes) -> None:
    function = cache.memoize()(double)
    function(1)
    function(x=1)
    function(1, unit="EUR")
    assert calls == 1
    function(1, unit="USD")
    assert calls == 2


def test_arguments_are_told_apart_by_value_and_type(cache: Bytes) -> None:
    function = cache.memoize()(double)
    arguments: list[object] = [
        1, 1.0, True, "1", b"1", None, (1,), [1], ((1,),), (1, 1), ("a", "b"), ("ab",), {"a": 1},
        {"a": 2}, {1}, frozenset({1}), Point(1, 2), Point(2, 1), -0.0, 0.0,
    ]
    for argument in arguments:
        function(argument)
    assert calls == len(arguments)
    for argument in arguments:
        assert function(argument)[0] == argument
    assert calls == len(arguments)


def test_keys_are_the_same_in_every_process(cache: Bytes) -> None:
    program = (
        "import sys, cachee\n"
        "def f(x): return x\n"
        "f.__module__ = 'm'\n"
        "cache = cachee.Cache(sys.argv[1])\n"
        "key = cache.memoize()(f).key\n"
        "print(key({'b', 'a', 'c', ('x', 'x')}))\n"
        "print(key(['same'] * 2), key([''.join(['sa', 'me']), 'same']))\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program, cache.name], check=True, capture_output=True,
            text=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(answers) == 1
    first, second = answers.pop().splitlines()[1].split()
    assert first == second and first.startswith("memoize:m.f:")


def test_the_cost_is_measured(cache: Bytes) -> None:
    function = cache.memoize()(slow)
    function()
    entry = cache.inspect(function.key())
    assert 25 <= entry.cost < 2000  # milliseconds


def test_options_go_with_the_result(cache: Bytes) -> None:
    function = cache.memoize(ttl=60, metadata={"kind": "price"}, depends_on=["list"])(double)
    function(1)
    entry = cache.inspect(function.key(1))
    assert entry.ttl is not None and entry.metadata == {"kind": "price"}
    assert entry.depends_on == [b"list"]


def test_a_result_is_forgotten(cache: Bytes) -> None:
    function = cache.memoize()(double)
    function(1)
    assert function.invalidate(1) and not function.invalidate(1)
    function(1)
    assert calls == 2


def test_none_is_a_result(cache: Bytes) -> None:
    counted: list[int] = []

    def nothing(into: str) -> None:
        counted.append(1)

    function = cache.memoize(prefix="nothing")(nothing)
    assert function("a") is None and function("a") is None
    assert len(counted) == 1


def test_an_error_is_not_kept(cache: Bytes) -> None:
    def fail() -> None:
        global calls
        calls += 1
        raise LookupError("no")

    function = cache.memoize(prefix="fail")(fail)
    for _ in range(2):
        with pytest.raises(LookupError):
            function()
    assert calls == 2 and len(cache) == 0


def test_methods_have_their_instance_in_the_key(cache: Bytes) -> None:
    class Sized(Point):
        pass

    Sized.size = cache.memoize(prefix="size")(Point.size)  # type: ignore[assignment]
    Sized.__qualname__, Sized.__module__ = "Sized", __name__
    globals()["Sized"] = Sized  # so that instances pickle
    assert Sized(1, 2).size(10) == 30 and Sized(1, 2).size(10) == 30
    assert calls == 1
    assert Sized(2, 2).size(10) == 40 and calls == 2


def test_a_result_without_room_is_still_returned(holder: Holder, cache: Bytes) -> None:
    holder.ask("trigger full:* 2 1")
    function = cache.memoize(prefix="full")(double)
    holder.fill_ring(cache, "full:*")
    for _ in range(2):
        assert function(1) == (1, "EUR")
    assert calls == 2


def test_another_serializer(cache: Bytes) -> None:
    function = cache.memoize(serializer=serializers.json)(double)
    function(1)
    assert cache[function.key(1)] == b'[1,"EUR"]'


def test_what_cannot_be_told_apart_is_refused(cache: Bytes) -> None:
    with pytest.raises(ValueError, match="prefix"):
        cache.memoize()(lambda: 1)
    rate = 3

    def scaled(x: int) -> int:
        return x * rate

    with pytest.raises(ValueError, match="rate"):
        cache.memoize()(scaled)
    assert cache.memoize(prefix="scaled:3")(scaled)(2) == 6

    async def later() -> None:
        pass

    with pytest.raises(TypeError, match="later"):
        cache.memoize()(later)
    with pytest.raises(TypeError, match="parentheses"):
        cache.memoize(double)  # type: ignore[arg-type]
