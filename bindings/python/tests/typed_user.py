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

with raw.subscribe("session:*", events=["ON_EXPIRE"], group="auth", ack_deadline=5) as events:
    assert_type(events, cachee.Subscription[bytes])
    for event in events:
        assert_type(event, cachee.Event[bytes])
        assert_type(event.key, bytes)
        assert_type(event.value, bytes)
        assert_type(event.old_value, bytes | None)
        assert_type(event.metadata["user"], str)
        assert_type(event.origin, cachee.Origin)
        event.nack(delay=datetime.timedelta(seconds=1), error="no")
    assert_type(events.wait(1.5), list[cachee.Event[bytes]])
    events.ack(*events.poll(10), "an id")
for text_event in text_keys.subscribe(group="auth"):
    assert_type(text_event.key, str)


async def consume() -> None:
    async with cachee.aio.Cache("orders") as acache:
        assert_type(acache, cachee.aio.Cache[bytes, bytes])
        assert_type(await acache.get("k"), bytes | None)
        assert_type(await acache.get("k", 1), bytes | int)
        assert_type(await acache.incr("n"), int)
        assert_type(await acache.triggers.source("t"), str)
        async for key in acache:
            assert_type(key, bytes)
        async for event in acache.subscribe("session:*", events=["ON_EXPIRE"], group="auth"):
            assert_type(event, cachee.aio.Event[bytes])
            assert_type(await event.ack(), None)
    typed = cachee.aio.Cache("orders", decode_keys=True, serializer=serializers.json)
    async for text_event in typed.subscribe(group="auth"):
        assert_type(text_event.key, str)
