"""How values become bytes: ``Cache("orders", serializer=cachee.serializers.json)``.

``raw`` takes and gives bytes (the default of a :class:`cachee.Cache`), ``json`` what :mod:`json`
knows and other languages read, ``pickle`` nearly any Python object. Reading a pickle can run any
code: use it only where everybody who may write the segment is trusted like this program.

Anything with ``dumps`` and ``loads`` of the same shape will do.
"""

from __future__ import annotations

import json as _json
import pickle as _pickle
from typing import Any, Protocol, TypeVar

__all__ = [
    "JsonSerializer", "PickleSerializer", "RawSerializer", "Serializer", "json", "pickle", "raw",
]

V = TypeVar("V")


class Serializer(Protocol[V]):
    """Turns values into bytes and back."""

    def dumps(self, value: V, /) -> bytes: ...

    def loads(self, data: bytes, /) -> V: ...


class RawSerializer:
    """Bytes as they are."""

    def dumps(self, value: bytes, /) -> bytes:
        return value

    def loads(self, data: bytes, /) -> bytes:
        return data


class JsonSerializer:
    """Compact JSON in UTF-8."""

    def dumps(self, value: Any, /) -> bytes:
        return _json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def loads(self, data: bytes, /) -> Any:
        return _json.loads(data)


class PickleSerializer:
    """Pickle, in the newest protocol that every supported Python reads."""

    PROTOCOL = 5

    def dumps(self, value: Any, /) -> bytes:
        return _pickle.dumps(value, protocol=self.PROTOCOL)

    def loads(self, data: bytes, /) -> Any:
        return _pickle.loads(data)


raw = RawSerializer()
json = JsonSerializer()
pickle = PickleSerializer()
