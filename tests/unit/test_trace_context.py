"""Which ``traceparent`` is adopted, by the W3C's Recommendation."""

from __future__ import annotations

import pytest

from mlops_box.serving.trace_context import TraceParent, parse_traceparent, trace_parent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (GOOD, True),
        (f"00-{TRACE}-{SPAN}-00".encode(), False),
        (f"00-{TRACE}-{SPAN}-ff".encode(), True),
        (f"cc-{TRACE}-{SPAN}-01".encode(), True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like".encode(), True),
        (b"  " + GOOD + b" ", True),
    ],
)
def test_a_valid_parent_is_adopted(value: bytes, sampled: bool) -> None:
    assert parse_traceparent(value) == TraceParent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"-",
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"00-{TRACE}-{SPAN}-01-".encode(),
        f"cc-{TRACE}-{SPAN}-01.what".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE[:-1]}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}".encode(),
        f"0x-{TRACE}-{SPAN}-01".encode(),
        GOOD + b"\n",
        b"cc-" + GOOD[3:] + b"-" + b"x" * 1000,
        b"\xff" * 55,
    ],
)
def test_an_invalid_parent_is_ignored(value: bytes) -> None:
    assert parse_traceparent(value) is None


def test_two_parents_are_none_and_a_state_belongs_to_its_parent() -> None:
    assert trace_parent([(b"traceparent", GOOD), (b"traceparent", GOOD)]) is None
    assert trace_parent([(b"tracestate", b"a=1")]) is None
    found = trace_parent([(b"tracestate", b"a=1"), (b"traceparent", GOOD), (b"tracestate", b"b=2")])
    assert found == TraceParent(TRACE, SPAN, True, "a=1,b=2")
    assert trace_parent([(b"traceparent", GOOD), (b"tracestate", b"x" * 5000)]) == TraceParent(
        TRACE, SPAN, True
    )
