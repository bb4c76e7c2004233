"""All checks, in the order a person would mend them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_box.clock import Clock
from mlops_box.home import Home
from mlops_box.operations.doctor import installation, place
from mlops_box.operations.doctor.checks import Check
from mlops_box.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Diagnosis:
    """Every finding."""

    checks: tuple[Check, ...]

    @property
    def is_fit(self) -> bool:
        """No check failed; warnings leave it fit."""
        return all(check.verdict != "failed" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {"fit": self.is_fit, "checks": [check.to_dict() for check in self.checks]}


def examine(
    home: Home, *, clock: Clock, environ: Mapping[str, str], progress: Progress | None = None
) -> Diagnosis:
    """Run every check; changes nothing."""
    shown = progress or SilentProgress()
    quick: list[Callable[[], Check]] = [
        lambda: place.check_home(home),
        lambda: place.check_space(home),
        lambda: place.check_ports(home),
        lambda: place.check_prefect(environ),
        lambda: place.check_telemetry(home),
        lambda: place.check_clock(home, clock),
        lambda: place.check_box(home, clock),
    ]
    found = [installation.check_python(), *installation.check_packages(), installation.check_sqlite()]
    found += [check() for check in quick]
    for what in installation.importable():
        shown.begin(f"loading {what}")
        found.append(installation.check_import(what))
        shown.end()
    shown.begin("loading torch")
    found.append(installation.check_torch())
    shown.end()
    found.append(installation.check_serving_gpu())
    return Diagnosis(tuple(found))
