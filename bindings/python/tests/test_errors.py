"""Errors: a class per code of the library, with words that help."""

from __future__ import annotations

import pickle
import re

import cachee
import pytest
from cachee import _cachee, errors

from conftest import Holder

Bytes = cachee.Cache[bytes, bytes]


def test_codes_are_those_of_the_library() -> None:
    assert _cachee.error_codes() == {code.name: int(code) for code in cachee.Errc}


def test_every_code_has_its_class() -> None:
    for code in cachee.Errc:
        if code is cachee.Errc.ok:
            continue
        error = errors.from_native(code, 5, 6, "text", "orders", b"k")
        assert type(error) is not cachee.Error and isinstance(error, cachee.Error)
        assert error.code is code and error.errno == 5 and error.detail == 6
        assert "orders" in str(error) and error.segment == "orders" and error.key == b"k"
        assert "{" not in str(errors.from_native(code, 0, 0, "text", "orders", None))


def test_the_classes_are_named_after_the_codes() -> None:
    for code in cachee.Errc:
        if code is cachee.Errc.ok:
            continue
        name = "".join(word.capitalize() for word in code.name.split("_"))
        assert getattr(cachee, name).code is code
    assert cachee.Full is cachee.BackPressure


def test_errors_survive_pickle() -> None:
    error = errors.from_native(cachee.Errc.stale, 1, 2, "text", "orders", b"k")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cachee.Stale and str(again) == str(error)
    assert (again.errno, again.detail, again.segment, again.key) == (1, 2, "orders", b"k")


def test_a_missing_segment_is_named_with_what_to_do() -> None:
    with pytest.raises(cachee.NoSegment) as caught:
        cachee.Cache("test-no-such-segment")
    assert str(caught.value) == (
        "there is no segment 'test-no-such-segment': start `cacheed --name test-no-such-segment`, "
        "which creates it"
    )
    assert caught.value.code is cachee.Errc.no_segment


def test_a_bad_name_is_an_invalid_argument() -> None:
    for name in ("No/Such", ".", "..", "a.locks"):
        with pytest.raises(cachee.InvalidArgument, match=re.escape(name)) as caught:
            cachee.Cache(name)
        assert "not ending in .locks" in str(caught.value)


def test_back_pressure_names_segment_and_key_and_applies_nothing(
    holder: Holder, cache: Bytes
) -> None:
    holder.ask("trigger loud:* 2 20")
    i = holder.fill_ring(cache, "loud:*")
    with pytest.raises(cachee.BackPressure) as caught:
        cache.set(f"loud:{i}", b"v")
    assert caught.value.key == f"loud:{i}".encode()
    assert holder.name in str(caught.value) and f"loud:{i}" in str(caught.value)
    assert f"loud:{i}" not in cache
    cache["quiet"] = b"v"  # concerns no trigger
    holder.ask("acknowledge")
    cache.set(f"loud:{i}", b"v")


def test_a_value_without_room_is_no_space(cache: Bytes) -> None:
    with pytest.raises((cachee.NoSpace, cachee.InvalidArgument)) as caught:
        cache["k"] = bytes(40 << 20)  # larger than the segment
    assert cache.name in str(caught.value) and caught.value.segment == cache.name
    assert "k" not in cache
    cache["k"] = b"v"


def test_a_key_that_is_too_long_is_shown_short(cache: Bytes) -> None:
    with pytest.raises(cachee.InvalidArgument) as caught:
        cache["x" * 100000] = b"v"
    assert len(str(caught.value)) < 400
    assert "a key has at most 65536 bytes" in str(caught.value)


def test_a_value_that_is_too_large_is_told_the_limit(cache: Bytes) -> None:
    limit = cache.info()["value_bytes_max"]
    with pytest.raises(cachee.InvalidArgument, match=f"at most {limit} bytes"):
        cache["k"] = bytes(limit + 1)
    cache["k"] = bytes(limit // 2)


def test_a_trigger_call_without_supervisor_says_so(holder: Holder, cache: Bytes) -> None:
    with pytest.raises(cachee.NoSupervisor, match=f"cacheed --name {holder.name}"):
        cache.triggers.list()
