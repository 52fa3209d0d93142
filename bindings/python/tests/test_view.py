"""Views: values in place, unchanged while they are held."""

from __future__ import annotations

import threading

import cachee
import pytest
from cachee._cachee import Pin

from conftest import Holder

Bytes = cachee.Cache[bytes, bytes]


def pin(view: memoryview) -> Pin:
    assert isinstance(view.obj, Pin)
    return view.obj


def churn(cache: Bytes) -> None:
    """Retires and uses again all memory of small values that is not held."""
    for i in range(3000):
        cache["churn"] = b"%06d" % i


def test_a_view_is_a_read_only_memoryview(cache: Bytes) -> None:
    cache["k"] = b"value"
    view = cache.view("k")
    assert type(view) is memoryview and view.readonly and view.format == "B" and view.ndim == 1
    assert view == b"value" and bytes(view[1:3]) == b"al" and len(view) == 5
    with pytest.raises(TypeError):
        view[0] = 1
    assert pin(view).version == cache.inspect("k").version and pin(view).in_place


def test_a_view_stays_as_it_is(cache: Bytes) -> None:
    cache["k"] = b"before"
    with cache.view("k") as view:
        cache["k"] = b"after."
        assert view == b"before" and cache["k"] == b"after."
        del cache["k"]
        churn(cache)
        assert view == b"before"


def test_a_released_view_cannot_be_read(cache: Bytes) -> None:
    cache["k"] = b"v"
    view = cache.view("k")
    view.release()
    with pytest.raises(ValueError):
        view[0]


def test_a_view_of_nothing_is_a_key_error(cache: Bytes) -> None:
    with pytest.raises(KeyError):
        cache.view("none")


def test_an_empty_value_has_a_view(cache: Bytes) -> None:
    cache["k"] = b""
    assert bytes(cache.view("k")) == b""


def test_more_views_than_a_thread_may_pin_are_copies(cache: Bytes) -> None:
    cache.set_many({str(i): str(i).encode() for i in range(20)})
    views = [cache.view(str(i)) for i in range(20)]
    assert [bytes(view) for view in views] == [str(i).encode() for i in range(20)]
    in_place = sum(pin(view).in_place for view in views)
    assert in_place == 8
    views.clear()  # the garbage collector releases them
    view = cache.view("1")
    assert pin(view).in_place


def test_a_view_outlives_its_cache(holder: Holder) -> None:
    cache = cachee.Cache(holder.name)
    cache["k"] = b"v"
    view = cache.view("k")
    cache.close()
    del cache
    assert view == b"v"


def test_a_view_may_be_released_by_another_thread_than_took_it(cache: Bytes) -> None:
    cache["k"] = b"before"
    taken: list[memoryview] = []
    for _ in range(20):
        thread = threading.Thread(target=lambda: taken.append(cache.view("k")))
        thread.start()
        thread.join()
    # The threads are gone, what they took is not.
    cache["k"] = b"after."
    churn(cache)
    assert all(view == b"before" for view in taken)
    taken.clear()
    assert cache.view("k") == b"after."


def test_releasing_the_view_of_a_thread_that_ended_frees_no_other_s(cache: Bytes) -> None:
    cache["old"] = b"old..."
    cache["new"] = b"before"
    taken: list[memoryview] = []
    thread = threading.Thread(target=lambda: taken.append(cache.view("old")))
    thread.start()
    thread.join()
    release = threading.Event()
    taken_again = threading.Event()
    seen: list[bytes] = []

    def hold() -> None:  # perhaps in the place of the thread that ended
        with cache.view("new") as view:
            taken_again.set()
            release.wait(20)
            seen.append(bytes(view))

    holder = threading.Thread(target=hold)
    holder.start()
    taken_again.wait(20)
    taken.clear()
    cache["new"] = b"after."
    churn(cache)
    release.set()
    holder.join(20)
    assert seen == [b"before"]
