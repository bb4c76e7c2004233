"""Events in, and the features of an entity out."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from mlops_box.errors import UsageError
from mlops_box.features.pushed import EventsRefused, Push
from mlops_box.operations.features.lookup import look_up
from mlops_box.serving.json_body import load_json
from mlops_box.serving.problems import ContractViolation
from mlops_box_services.exchange import Answer, Exchange, json_answer, json_body
from mlops_box_services.routes import Route

_EXAMPLE = 'send {"events": [{...}]}, and where two events may be equal {"ids": ["..."]} beside it'


def routes() -> list[Route]:
    return [
        Route("POST", "/features/{view}", push, "feedback"),
        Route("GET", "/features/{view}", show, "predict"),
    ]


async def push(exchange: Exchange, view: str) -> Answer:
    """``{"events": [{...}], "ids": [...]}`` for a view or a source; ``ids`` may be absent."""
    body = load_json(await json_body(exchange))
    if not isinstance(body, dict) or not {"events"} <= body.keys() <= {"events", "ids"}:
        raise UsageError("the body is no object with `events`", hint=_EXAMPLE)
    ids = body.get("ids")
    if not isinstance(body["events"], list) or not (ids is None or isinstance(ids, list)):
        raise UsageError("`events` and `ids` must be lists", hint=_EXAMPLE)
    try:
        done = await exchange.runtime.pushes.push(Push(view, body["events"], ids), exchange.started_s)
    except EventsRefused as error:
        raise ContractViolation(_problems(error), hint=error.hint) from None
    return json_answer(done.to_dict())


async def show(exchange: Exchange, view: str) -> Answer:
    """The features of the entity that the query names, now: ``/features/card_activity?card_id=7``."""
    query = exchange.scope.get("query_string", b"").decode("latin-1")
    entity = dict(parse_qsl(query, keep_blank_values=True))
    # It reads two databases; predictions need not wait for that.
    found = await asyncio.to_thread(look_up, exchange.runtime.box, view, entity)
    return json_answer(found.to_dict())


def _problems(error: EventsRefused) -> list[dict[str, Any]]:
    problems: Any = error.details["problems"]
    return list(problems)
