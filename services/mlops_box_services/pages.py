"""What the server says of itself over HTTP: health, metrics, models, its description."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlops_box.serving.router import Router
from mlops_box_services import describe
from mlops_box_services.asking import slot_of
from mlops_box_services.exchange import Answer, Exchange, json_answer
from mlops_box_services.metrics_page import metrics_page
from mlops_box_services.openapi import Example, openapi
from mlops_box_services.routes import Route


def routes(all_routes: Callable[[], Iterable[Route]]) -> list[Route]:
    """The pages.

    Args:
        all_routes: Every route there is, these included, to be described.
    """

    async def docs(exchange: Exchange) -> Answer:
        runtime = exchange.runtime
        needs_token = runtime.authorizer is not None
        return json_answer(openapi(all_routes(), needs_token=needs_token, example=_example(runtime.router)))

    return [
        Route("GET", "/livez", _live, "open"),
        Route("GET", "/readyz", _ready, "open"),
        Route("GET", "/metrics", _metrics, "admin"),
        Route("GET", "/docs.json", docs, "predict"),
        Route("GET", "/models", _models, "predict"),
        Route("GET", "/models/{name}", _model, "predict"),
    ]


def _example(router: Router) -> Example | None:
    slots = [slot for route in router.routes() if (slot := router.champion(route.model)) is not None]
    return Example(slots[0].version.model, slots[0].version.signature.features) if slots else None


async def _live(exchange: Exchange) -> Answer:
    return json_answer({"alive": True})


async def _ready(exchange: Exchange) -> Answer:
    family = exchange.runtime.family
    content = exchange.runtime.readiness() if family is None else await family.readiness()
    return json_answer(content, 200 if content["ready"] else 503)


async def _metrics(exchange: Exchange) -> Answer:
    accept = (exchange.header(b"accept") or b"").decode("latin-1")
    family = exchange.runtime.family
    snapshot = exchange.runtime.snapshot() if family is None else await family.snapshot()
    body, content_type = metrics_page(snapshot, accept, alone=family is None)
    return Answer(200, body, content_type)


async def _models(exchange: Exchange) -> Answer:
    return json_answer(describe.model_list(exchange.runtime.router))


async def _model(exchange: Exchange, name: str) -> Answer:
    router = exchange.runtime.router
    return json_answer(describe.model(await slot_of(exchange.runtime, name), router))
