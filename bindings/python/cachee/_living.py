"""Objects that are to be found as long as somebody has them."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

T = TypeVar("T")


class Living(Generic[T]):
    """What was added and is still there. A ``WeakSet`` that threads may add to while others look:
    its own iteration fails then."""

    def __init__(self) -> None:
        self._refs: dict[int, weakref.ref[T]] = {}

    def add(self, item: T) -> None:
        key, refs = id(item), self._refs
        refs[key] = weakref.ref(item, lambda _: refs.pop(key, None))

    def all(self) -> list[T]:
        # list() of a dict's values is one step of the interpreter.
        return [item for ref in list(self._refs.values()) if (item := ref()) is not None]
