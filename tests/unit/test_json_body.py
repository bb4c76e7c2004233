"""A JSON body in which a key stands twice is found, however it is written."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_box.serving.door import parse_object
from mlops_box.serving.json_body import count_keys, load_json
from mlops_box.serving.problems import MalformedBody, problem_of

TWICE = [
    b'{"a":1,"a":1}',
    b'{"a":1,"a" :2}',
    b'{"a" : 1,"a"\n:2}',
    b'{"a":1,"\\u0061":2}',
    b'{"rows":[{"a":1,"b":2,"a":3}]}',
    b'{"rows":[{"a":1}],"rows":[{"a":2}]}',
    b'{"a":"x:y","a":"z"}',
    b'{"a":"2026-01-01T00:00:00","a" :1}',
    b'{"a":{"b":1,"b":2}}',
    b'[{"a":1},{"b":1,"b":2}]',
    b'[1,{"b":1,"b":2}]',
    b'{"x":"\\":","a":1,"a":2}',
    b'{"x":[[[{"b":1,"b":2}]]]}',
    b'{"":1,"":2}',
]
ONCE = [
    b'{"a":1,"b":2}',
    b'{"a":"x:y","b":"2026-01-01T00:00:00Z"}',
    b'{"a" :1,"b": {"a":1}}',
    b'{"a":"\\":","b":"\\" :"}',
    b'[{"a":1},{"a":2}]',
    b'[1,{"a":1},[2,{"a":":"}]]',
    b'":"',
    b'{"a":"A","A":1}',
]
NO_JSON = [
    b"", b"{", b"[NaN]", b"[Infinity]", b"[-Infinity]", b'{"a":01}', b"{'a':1}", b'{"a":1}x', b'{"a":1}{"a":1}',
    b"[" * 100_000, b'{"a":' * 100_000, b'["\xff"]', b'["\xed\xa0\x80"]', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"a":1,}',
    b'["\x00"]', b'{"a"}', b"nul", b"\x80",
]  # fmt: skip


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="twice"):
        load_json(body)


@pytest.mark.parametrize("body", ONCE)
def test_a_key_that_stands_once_passes(body: bytes) -> None:
    assert load_json(body) == json.loads(body)


@pytest.mark.parametrize("body", NO_JSON)
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(MalformedBody) as refused:
        load_json(body)
    assert problem_of(refused.value).status == 400


def test_as_deep_as_the_parser_goes_is_not_too_deep_for_the_second_look() -> None:
    told = set()
    for depth in (10, 500, 900, 990, 1000, 1020):
        body = b'{"x":":","a":' + b"[" * depth + b"]" * depth + b"}"
        with contextlib.suppress(MalformedBody):
            load_json(body)
            told.add(depth)
    assert 10 in told


def test_other_forms_of_object_are_named() -> None:
    with pytest.raises(MalformedBody):
        parse_object(b'{"rows":1,"rows":2}', allowed=("rows",))


keys = st.text(alphabet='ab":\\ \n', max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='ab":\\ {},\n', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(values, st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\n", "\t:\n")]))
def test_whatever_json_without_a_key_twice_passes(value: Any, separators: tuple[str, str]) -> None:
    body = json.dumps(value, separators=separators).encode()
    assert load_json(body) == value
    assert count_keys(value) <= body.count(b":")


@given(st.dictionaries(keys, values, min_size=1, max_size=3), values, st.data())
def test_whatever_key_is_added_a_second_time_is_found(
    value: dict[str, Any], other: Any, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    space = data.draw(st.sampled_from(["", " ", "\n"]))
    inner = orjson.dumps(value)[:-1] + f",{json.dumps(key)}{space}:{json.dumps(other)}}}".encode()
    wrapped = data.draw(st.sampled_from([b"%b", b'{"rows":[%b]}', b"[1,%b]", b'[{"a":1},[[%b]]]'])) % inner
    with pytest.raises(MalformedBody, match="twice"):
        load_json(wrapped)
