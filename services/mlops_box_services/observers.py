"""What is switched on: the access log by an option, traces by OpenTelemetry's own variables."""

from __future__ import annotations

from collections.abc import Mapping

from mlops_box.clock import Clock
from mlops_box.home import Home
from mlops_box_services.access_log import AccessLog
from mlops_box_services.observing import Observers
from mlops_box_services.tracing import open_tracer


def open_observers(
    home: Home, clock: Clock, *, access_log: bool, environ: Mapping[str, str]
) -> Observers | None:
    """The running observers; ``None`` when nothing is switched on."""
    tracer = open_tracer(environ)
    journal = AccessLog(home.logs) if access_log else None
    if tracer is None and journal is None:
        return None
    observers = Observers(clock, tracer=tracer, journal=journal)
    observers.start()
    return observers
