"""The BentoML service: ``bentoml serve mlops_box_services.service:service`` and ``bentoml build`` take it from here.

``mlops-box up`` runs the same app without BentoML's supervisor, see :mod:`mlops_box_services.__main__`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import bentoml
from _bentoml_sdk import Service

from mlops_box.home import home_from
from mlops_box.serving.access import Access, access_from
from mlops_box_services.exchange import App
from mlops_box_services.front import Front
from mlops_box_services.runtime import Runtime


class BoxService(Service):  # type: ignore[misc]
    """A BentoML service whose app stands behind our guard and fast path.

    Attributes:
        open_runtime: Opens what serves; set before :meth:`to_asgi` to serve another home than the environment's.
        access: How the server may be reached; set before :meth:`to_asgi`, else the environment says it.
        runtime: What serves, once the server has started.
    """

    open_runtime: Callable[[], Runtime] | None = None
    access: Access | None = None
    runtime: Runtime | None = None

    def to_asgi(self, is_main: bool = True) -> App:
        access = self.access or access_from(os.environ)
        return Front(super().to_asgi(is_main=is_main), lambda: self._open(access), access=access)

    def pages(self) -> App:
        """BentoML's own app alone, for a server that has opened what serves itself: set :attr:`runtime` first."""
        app: App = super().to_asgi(is_main=True)
        return app

    def _open(self, access: Access) -> Runtime:
        opened = self.open_runtime() if self.open_runtime else Runtime(home_from(os.environ), access=access)
        self.runtime = opened
        return opened


@bentoml.service(name="mlops_box", service_class=BoxService, workers=1, traffic={"timeout": 30})
class Models:
    """Predicts with the champion of a model, or with a version named ``model@7``."""

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    async def predict(self, model: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Predict rows; over HTTP the front answers this route itself, in the same way."""
        from mlops_box.ids import parse_ref

        runtime: Runtime = self.bento_service.runtime  # type: ignore[attr-defined]
        ref = parse_ref(model)
        slot = runtime.router.loaded(ref) or runtime.router.load(ref)
        variant = "champion" if runtime.router.champion(ref.name) is slot else "direct"
        started_s = runtime.box.clock.monotonic_s()
        reply = await runtime.predictor.predict(slot, slot.door.checked(rows), variant, started_s)
        answer = {"model": slot.ref, "predictions": reply.answers.predictions, "ids": list(reply.ids)}
        if reply.answers.probabilities is not None:
            answer["probabilities"] = reply.answers.probabilities
            answer["classes"] = list(slot.version.signature.classes or ())
        return answer


service = cast(BoxService, Models)
