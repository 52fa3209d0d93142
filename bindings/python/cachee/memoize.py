"""Results of functions in the cache; see :meth:`cachee.Cache.memoize`."""

from __future__ import annotations

import functools
import hashlib
import inspect
import pickle
import time
from typing import Any, Callable, Generic, ParamSpec, TypeVar

from ._cachee import NativeCache
from .errors import BackPressure, NoSpace
from .serializers import Serializer

__all__ = ["Memoized", "memoized"]

P = ParamSpec("P")
R = TypeVar("R")

Options = tuple[int | None, dict[Any, Any] | None, list[Any] | None]
"""What results are stored with: TTL in nanoseconds, metadata, dependencies."""

_COST_MIN = 1e-6  # a cost is positive, however fast the function was


class Memoized(Generic[P, R]):
    """A function whose results are kept. Called like the function itself."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, R]

    def __init__(
        self,
        function: Callable[P, R],
        native: NativeCache,
        serializer: Serializer[R],
        prefix: str,
        options: Options,
    ) -> None:
        functools.update_wrapper(self, function)
        self._signature = inspect.signature(function)
        self._native = native
        self._serializer = serializer
        self._prefix = prefix
        self._ttl_ns, self._metadata, self._depends_on = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        key = self.key(*args, **kwargs)
        data = self._native.get(key)
        if data is not None:
            return self._serializer.loads(data)
        start = time.perf_counter()
        result = self.__wrapped__(*args, **kwargs)
        cost = max((time.perf_counter() - start) * 1000, _COST_MIN)
        try:
            self._native.set(
                key, self._serializer.dumps(result), self._ttl_ns, cost, self._metadata,
                self._depends_on, False, False, None,
            )
        except (NoSpace, BackPressure):
            pass  # the caller wants the result; the next one computes it again
        return result

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        # As a method: the instance becomes the first argument, and part of the key.
        return self if instance is None else functools.partial(self, instance)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key that the result of these arguments has in the cache."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        digest = hashlib.blake2b(digest_size=16)
        digest.update(_canonical(tuple(bound.arguments.values())))
        return f"{self._prefix}:{digest.hexdigest()}"

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forgets the result of these arguments; False where there was none."""
        return self._native.erase(self.key(*args, **kwargs))


def memoized(
    function: Callable[P, R],
    native: NativeCache,
    serializer: Serializer[R],
    prefix: str | None,
    options: Options,
) -> Memoized[P, R]:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"{function.__qualname__} gives no result that could be kept")
    if prefix is None:
        prefix = _prefix(function)
    return Memoized(function, native, serializer, prefix, options)


def _prefix(function: Callable[..., Any]) -> str:
    """A name that no other function has; where there is none, the user has to give one."""
    code = getattr(function, "__code__", None)
    if code is None or function.__name__ == "<lambda>":
        raise ValueError(f"{function!r} has no name that would tell it apart: give a prefix")
    around = [name for name in code.co_freevars if name != "__class__"]
    if around:
        raise ValueError(
            f"{function.__qualname__} uses variables of the function around it "
            f"({', '.join(around)}), and its results may depend on them: give a prefix"
        )
    # Every program has its own __main__.
    module = code.co_filename if function.__module__ == "__main__" else function.__module__
    return f"memoize:{module}.{function.__qualname__}"


def _canonical(value: object) -> bytes:
    """Bytes that are equal exactly for equal values of equal types, in every process.

    Pickle alone is not: it writes shared objects once, and sets in the order of their hashes.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes):
        body = repr(value).encode(errors="surrogatepass")
    elif kind in (tuple, list):
        body = b"".join(map(_canonical, value))  # type: ignore[call-overload]
    elif kind in (set, frozenset):
        body = b"".join(sorted(map(_canonical, value)))  # type: ignore[call-overload]
    elif kind is dict:
        pairs = value.items()  # type: ignore[attr-defined]
        body = b"".join(sorted(_canonical(key) + _canonical(item) for key, item in pairs))
    else:
        body = pickle.dumps(value, protocol=5)
    # Length before content: two sequences never run into each other.
    return b"%s:%d:%s" % (f"{kind.__module__}.{kind.__qualname__}".encode(), len(body), body)
