"""Values other than bytes."""

from __future__ import annotations

import datetime
from typing import Any

import cachee
import pytest
from cachee import serializers

from conftest import Holder


def test_raw_is_bytes_as_they_are() -> None:
    assert serializers.raw.dumps(b"\x00\xff") == b"\x00\xff" == serializers.raw.loads(b"\x00\xff")


@pytest.mark.parametrize("value", [None, 1, "ä", [1, {"a": None}], {"k": [True, 1.5]}])
def test_json_round_trip(value: Any) -> None:
    assert serializers.json.loads(serializers.json.dumps(value)) == value


def test_json_is_compact_utf8() -> None:
    assert serializers.json.dumps({"ä": [1, 2]}) == '{"ä":[1,2]}'.encode()


def test_pickle_round_trip() -> None:
    value = {("k", 1): datetime.date(2024, 2, 29), "s": {1, 2}}
    assert serializers.pickle.loads(serializers.pickle.dumps(value)) == value


def test_a_cache_with_a_serializer_stores_values(holder: Holder) -> None:
    with cachee.Cache(holder.name, serializer=serializers.json) as cache:
        cache["k"] = {"user": 42}
        assert cache["k"] == {"user": 42} == cache.get("k")
        assert cache.get_many(["k"]) == {"k": {"user": 42}}
        assert cache.inspect("k").value == {"user": 42}
        assert list(cache.items()) == [(b"k", {"user": 42})]
        assert bytes(cache.view("k")) == b'{"user":42}'
        assert cache.setdefault("k", 1) == {"user": 42}
        assert cache.pop("k") == {"user": 42}
        cache["none"] = None  # a value, and not a missing key
        assert cache["none"] is None and cache.get("none", 1) is None and "none" in cache
        cache["n"] = 41
        assert cache.incr("n") == 42 and cache["n"] == 42
        cache.set_many({"a": [1], "b": "x"})
        assert cache["a"] == [1] and cache["b"] == "x"


def test_any_object_with_dumps_and_loads_is_a_serializer(holder: Holder) -> None:
    class Upper:
        def dumps(self, value: str, /) -> bytes:
            return value.upper().encode()

        def loads(self, data: bytes, /) -> str:
            return data.decode()

    with cachee.Cache(holder.name, serializer=Upper()) as cache:
        cache["k"] = "text"
        assert cache["k"] == "TEXT"
