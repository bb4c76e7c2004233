"""One call of a procedure, and what there is to tell of it when it is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from mlops_box.serving.predictor import Reply
from mlops_box.serving.slot import Slot
from mlops_box_services.observing import Observed
from mlops_box_services.runtime import Runtime

SERVICE = "inference.GRPCInferenceService"
REQUEST_ID = "x-request-id"


@dataclass(slots=True)
class GrpcCall:
    """See :class:`mlops_box_services.asking.Call`.

    Attributes:
        outcome: ``ok`` or the code of the error.
    """

    runtime: Runtime
    started_s: float
    request_id: bytes
    slot: Slot | None = None
    variant: str | None = None
    reply: Reply | None = None
    outcome: str = "ok"


def given_id(context: Any) -> bytes | None:
    """The caller's ``x-request-id``."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str):
            return value.encode()
    return None


def observe(
    call: GrpcCall,
    method: str,
    request: Any,
    answer: Any,
    code: grpc.StatusCode,
    context: Any,
    ended_s: float,
) -> Observed:
    """What there is to tell of a call that is over."""
    slot, reply = call.slot, call.reply
    headers = [
        (key.encode(), value.encode())
        for key, value in context.invocation_metadata() or ()
        if isinstance(value, str)
    ]
    return Observed(
        call.started_s, ended_s, "grpc", method, f"{SERVICE}/{method}", code.value[0],
        reply.answers.outcome if reply is not None and call.outcome == "ok" else call.outcome,
        call.request_id, headers, _client(context.peer()), request.ByteSize(),
        answer.ByteSize() if answer is not None else 0,
        model=slot.version.model if slot is not None else None,
        version=slot.version.number if slot is not None else None,
        variant=call.variant,
        rows=len(reply.ids) if reply is not None else None,
        joined_s=reply.joined_s if reply is not None else None,
        call=reply.call if reply is not None else None,
    )  # fmt: skip


def _client(peer: str) -> str | None:
    """The address in ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
