"""The W3C's ``traceparent`` and ``tracestate``: which trace a request belongs to.

Source: Trace Context, Level 1, W3C Recommendation of 23 November 2021, section 3. It defines request headers only, so an
answer carries none. An invalid ``traceparent``, or more than one, counts as absent, and its ``tracestate`` with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# version - trace id - parent id - flags; a later version may go on after another dash.
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MAX_HEADER_BYTES = 512
_SAMPLED = 0x01


@dataclass(frozen=True)
class TraceParent:
    """The caller's span.

    Attributes:
        trace_id: 32 lower-case hex digits, not all zero.
        span_id: 16 of them.
        sampled: The caller may have recorded its span.
        state: ``tracestate`` as it came, for who can read it; empty when absent.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


def parse_traceparent(value: bytes) -> TraceParent | None:
    """The parent that ``value`` names; ``None`` when the standard says to ignore it."""
    found = _TRACEPARENT.fullmatch(value.strip(b" \t")) if len(value) <= _MAX_HEADER_BYTES else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceParent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED))


def trace_parent(headers: Iterable[tuple[bytes, bytes]]) -> TraceParent | None:
    """The parent that a request's headers (lower-case names) or a call's metadata name."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1:
        return None
    parent = parse_traceparent(parents[0])
    state = b",".join(states)
    if parent is None or not state or len(state) > _MAX_HEADER_BYTES:
        return parent
    return TraceParent(parent.trace_id, parent.span_id, parent.sampled, state.decode("latin-1"))
