"""A Cache is a mutable mapping, as a dict is one."""

from __future__ import annotations

import collections.abc

import cachee
import pytest

from conftest import Holder

Bytes = cachee.Cache[bytes, bytes]


def test_it_is_a_mutable_mapping(cache: Bytes) -> None:
    assert isinstance(cache, collections.abc.MutableMapping)


def test_items_are_set_read_and_deleted(cache: Bytes) -> None:
    cache["k"] = b"v"
    assert cache["k"] == b"v"
    assert "k" in cache and b"k" in cache
    assert len(cache) == 1
    del cache["k"]
    assert "k" not in cache and len(cache) == 0


def test_a_missing_key_is_a_key_error_that_names_it(cache: Bytes) -> None:
    with pytest.raises(KeyError) as caught:
        cache["no such"]
    assert isinstance(caught.value, cachee.NotFound)
    assert caught.value.key == b"no such"
    assert str(caught.value) == f"no key 'no such' in segment '{cache.name}'"
    with pytest.raises(KeyError):
        del cache["no such"]


def test_get_of_a_missing_key_is_the_default(cache: Bytes) -> None:
    assert cache.get("k") is None
    assert cache.get("k", b"d") == b"d"
    cache["k"] = b""
    assert cache.get("k", b"d") == b""


def test_str_keys_are_utf8_and_bytes_keys_are_taken_as_they_are(cache: Bytes) -> None:
    cache["schlüssel"] = b"1"
    assert cache["schlüssel".encode()] == b"1"
    cache[b"\xff\x00"] = b"2"
    assert cache[memoryview(b"\xff\x00")] == b"2"
    assert set(cache) == {"schlüssel".encode(), b"\xff\x00"}


def test_an_empty_key_is_a_key(cache: Bytes) -> None:
    cache[""] = b"v"
    assert cache[b""] == b"v" and "" in cache


def test_what_cannot_be_a_key_is_a_type_error(cache: Bytes) -> None:
    with pytest.raises(TypeError, match="a key is str or bytes-like, not int"):
        cache[1]  # type: ignore[index]
    assert not cache.__contains__(1)


@pytest.mark.parametrize("value", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_any_buffer_is_a_value(cache: Bytes, value: bytes) -> None:
    cache["k"] = value
    assert cache["k"] == b"abc" and type(cache["k"]) is bytes


def test_a_value_that_is_no_buffer_is_a_type_error(cache: Bytes) -> None:
    with pytest.raises(TypeError, match="encode a str, or open the cache with a serializer"):
        cache["k"] = "text"  # type: ignore[assignment]
    assert "k" not in cache


def test_large_values_come_back_whole(cache: Bytes) -> None:
    value = bytes(range(256)) * 4096  # 1 MiB: copied without the GIL
    cache["k"] = value
    assert cache["k"] == value


def test_iteration_sees_every_key_once(cache: Bytes) -> None:
    wanted = {f"key:{i}".encode() for i in range(3000)}  # several steps of the scan
    cache.set_many({key: b"v" for key in wanted})
    seen = list(cache)
    assert len(seen) == len(wanted) and set(seen) == wanted
    assert set(cache.keys()) == wanted


def test_iteration_survives_changes(cache: Bytes) -> None:
    cache.set_many({f"key:{i}": b"v" for i in range(2500)})
    for key in cache:
        cache.delete(key)
    assert len(cache) == 0


def test_views_of_items_and_values(cache: Bytes) -> None:
    cache.update({"a": b"1", "b": b"2"})
    assert dict(cache.items()) == {b"a": b"1", b"b": b"2"}
    assert sorted(cache.values()) == [b"1", b"2"]
    assert (b"a", b"1") in cache.items() and b"2" in cache.values() and "a" in cache
    assert len(cache.items()) == 2
    assert cache.__eq__({b"a": b"1", b"b": b"2"})


def test_update_takes_what_a_dict_takes(cache: Bytes) -> None:
    cache.update({"a": b"1"}, b=b"2")
    cache.update([(b"c", b"3"), ("d", b"4")])
    cache.update(e=b"5")
    cache.update()
    assert dict(cache.items()) == {
        b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4", b"e": b"5",
    }


def test_items_leave_out_what_goes_meanwhile(cache: Bytes) -> None:
    cache.set_many({f"key:{i}": b"v" for i in range(2500)})
    items = iter(cache.items())
    next(items)
    cache.clear()
    assert len(list(items)) < 2500  # what was fetched before comes; nothing is raised


def test_keys_are_decoded_if_asked_for(holder: Holder) -> None:
    with cachee.Cache(holder.name, decode_keys=True) as cache:
        cache["ä"] = b"1"
        cache[b"\xff"] = b"2"
        keys = set(cache)
        assert keys == {"ä", "\udcff"}
        assert {cache[key] for key in keys} == {b"1", b"2"}  # all of them lead back
        assert set(cache.scan("ä*")) == {"ä"}


def test_pop_gives_and_removes(cache: Bytes) -> None:
    cache["k"] = b"v"
    assert cache.pop("k") == b"v"
    assert cache.pop("k", None) is None
    assert cache.pop("k", b"d") == b"d"
    with pytest.raises(KeyError):
        cache.pop("k")


def test_popitem_empties_the_cache(cache: Bytes) -> None:
    cache.update({"a": b"1", "b": b"2"})
    assert {cache.popitem(), cache.popitem()} == {(b"a", b"1"), (b"b", b"2")}
    with pytest.raises(KeyError):
        cache.popitem()


def test_setdefault_stores_once(cache: Bytes) -> None:
    assert cache.setdefault("k", b"1") == b"1"
    assert cache.setdefault("k", b"2") == b"1"
    assert cache["k"] == b"1"


def test_clear_removes_all(cache: Bytes) -> None:
    cache.update({str(i): b"v" for i in range(100)})
    cache.clear()
    assert len(cache) == 0 and list(cache) == []
