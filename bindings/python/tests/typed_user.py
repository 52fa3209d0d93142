"""A user's program; test_typing.py checks it with mypy --strict."""

from __future__ import annotations

import datetime
from typing import Any

import cachee
from cachee import serializers
from typing_extensions import assert_type

raw = cachee.Cache("orders")
assert_type(raw["k"], bytes)
assert_type(raw.get("k"), bytes | None)
assert_type(raw.get("k", 1), bytes | int)
assert_type(raw.pop(b"k"), bytes)
assert_type(raw.set("k", bytearray(b"v"), ttl=datetime.timedelta(1)), int)
assert_type(raw.inspect("k").value, bytes)
assert_type(raw.get_many(["a"]), dict[str, bytes])
for key in raw:
    assert_type(key, bytes)

text_keys = cachee.Cache("orders", decode_keys=True, serializer=serializers.json)
for text_key, value in text_keys.items():
    assert_type(text_key, str)
    assert_type(value, Any)


@raw.memoize(ttl=60)
def price(article: int, *, currency: str = "EUR") -> float:
    return article * 1.5


assert_type(price(7, currency="USD"), float)
assert_type(price.invalidate(7), bool)

with cachee.Cache() as cache, cache.view("k") as view:
    assert_type(view, memoryview)
try:
    raw.incr("n")
except cachee.NotANumber as error:
    assert_type(error.errno, int)
    assert_type(error.key, bytes | None)
