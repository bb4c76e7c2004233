"""Compare the vectors that were served with those that the events give, row by row."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.errors import NotFoundError
from mlops_box.ids import parse_ref
from mlops_box.project.features import FeatureParity

if TYPE_CHECKING:
    from mlops_box.features.parity import Mismatch
    from mlops_box.operations.features.parity_log import LoggedView

ROTATION_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class ColumnParity:
    """One feature over all rows that were compared.

    Attributes:
        column: The model's, ``view__feature``.
        max_difference: Between numbers; ``None`` where no numbers differ.
        causes: How many mismatches each cause explains.
    """

    column: str
    rows: int
    mismatches: int
    max_difference: float | None
    causes: dict[str, int]

    @property
    def share(self) -> float:
        return self.mismatches / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share}


@dataclass(frozen=True)
class ParityOutcome:
    """What a comparison found.

    Attributes:
        predictions: With features that were looked up, from ``since`` to before ``until``.
        rows: Of these, that were compared.
        redacted: Of these, whose entity is not logged: they cannot be recomputed, and are no mismatch.
        hidden: Features whose values are not logged, and so not compared.
        definitions: The digests that the compared versions pin, by ``view@version``.
        broken: The features that differ in more than ``tolerance`` of their rows.
    """

    model: str
    since: datetime | None
    until: datetime | None
    predictions: int
    rows: int
    tolerance: float
    definitions: dict[str, str]
    columns: tuple[ColumnParity, ...]
    mismatches: tuple[Mismatch, ...]
    redacted: int = 0
    hidden: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[str, ...]:
        return tuple(column.column for column in self.columns if column.share > self.tolerance)

    @property
    def outcome(self) -> Literal["fine", "broken", "cannot_tell"]:
        if not self.rows or not self.columns:
            return "cannot_tell"
        return "broken" if self.broken else "fine"

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "outcome": self.outcome, "since": isoformat(self.since) if self.since else None,
            "until": isoformat(self.until) if self.until else None, "predictions": self.predictions,
            "rows": self.rows, "redacted": self.redacted, "hidden": list(self.hidden), "tolerance": self.tolerance, "broken": list(self.broken),
            "definitions": self.definitions, "columns": [column.to_dict() for column in self.columns],
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
        }  # fmt: skip


def declared_parity(box: Box, model: str) -> FeatureParity:
    """``[features] parity`` of the model's project, or what holds without."""
    registered = box.projects.for_model(model)
    return registered.declaration.features.parity if registered else FeatureParity.model_validate({})


def check_parity(
    box: Box,
    ref: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sample: float | None = None,
    is_sealed: bool = False,
) -> ParityOutcome:
    """Recompute the looked-up features of logged predictions, from the events as they are now.

    Each vector is computed by the definition that the version pins, for the moment that the row is about, with what was
    known when it was looked up.

    Args:
        ref: A model, or one version of it: predictions of all its versions are compared, shadows' too.
        since: Predictions about this time or a later one; all when ``None``.
        until: About an earlier one; all when ``None``.
        sample: The share of them that is compared, chosen by a hash of their ids; as declared when ``None``.
        is_sealed: The log was sealed just now.

    Raises:
        NotFoundError: There is no such model, or a definition or its project is not in this box.
        SourceError: The events cannot be read.
        StorageError: Memory or scratch space are not enough.
    """
    from mlops_box.operations.features.parity_log import read_logged

    named = parse_ref(ref)
    version = box.models.get(ref) if "@" in ref else None
    if named.name not in box.models.models():
        raise NotFoundError(f"there is no model {named.name!r}", hint="mlops-box models list")
    if not is_sealed:
        box.predictions.request_rotation(ROTATION_TIMEOUT_S)
        box.predictions.seal()
    declared = declared_parity(box, named.name)
    number = version.number if version is not None else None
    log = read_logged(
        box, named.name, number, (since, until), sample if sample is not None else declared.sample
    )
    mismatches: list[Mismatch] = []
    for view in log.views:
        mismatches += _compare(box, view, declared.precision)
    definitions = {view.definition.ref: view.definition.digest for view in log.views}
    return ParityOutcome(
        named.name, since, until, log.predictions, log.rows, declared.tolerance, definitions,
        _columns(log.views, mismatches), tuple(sorted(mismatches, key=lambda one: (one.id, one.column))),
        log.redacted, log.hidden,
    )  # fmt: skip


def _compare(box: Box, view: LoggedView, precision: float) -> list[Mismatch]:
    from mlops_box.features.parity import differences

    scratch = Path(tempfile.mkdtemp(prefix="parity-", dir=box.home.scratch))
    try:
        events, recomputed = _recompute(box, view, scratch)
        found = list(differences(view.vectors, recomputed, precision=precision))
        if not found:
            return []
        return _explain(box, view, found, (events, recomputed), precision, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _recompute(box: Box, view: LoggedView, scratch: Path, *, version: Any = None) -> tuple[Any, Any]:
    """The events of the view's logged entities, and what its definition (or another one) makes of them."""
    from mlops_box.features.compute import observations
    from mlops_box.features.parity import Recomputed
    from mlops_box.operations.features.events import events_of

    definition = version or view.definition
    work = scratch / definition.digest[:12]
    work.mkdir(mode=0o700)
    events = events_of(box, definition, view.entities, scratch=work)
    return events, Recomputed(definition, observations(definition, events, scratch=work), view.as_logged)


def _explain(
    box: Box,
    view: LoggedView,
    found: Sequence[Any],
    computed: tuple[Any, Any],
    precision: float,
    scratch: Path,
) -> list[Mismatch]:
    from mlops_box.features.parity_causes import Diagnosis
    from mlops_box.features.parity_window import WindowEdges

    events, recomputed = computed
    others: list[Any] = []

    def other_definitions() -> list[Any]:
        if not others:
            others.extend(
                _recompute(box, view, scratch, version=other)[1]
                for other in box.features.list(name=view.definition.name, every=True)
                if other.digest != view.definition.digest and other.entity == view.definition.entity
            )
        return others

    edges = WindowEdges(recomputed, events, scratch)
    diagnosis = Diagnosis(recomputed, other_definitions, edges, precision)
    return [mismatch for difference in found for mismatch in diagnosis.explain(difference)]


def _columns(views: Sequence[LoggedView], mismatches: Sequence[Mismatch]) -> tuple[ColumnParity, ...]:
    rows: Counter[str] = Counter()
    for view in views:
        for name in view.features:
            rows[view.definition.in_model(name)] += len(view.vectors)
    by_column: Mapping[str, list[Mismatch]] = {column: [] for column in rows}
    for mismatch in mismatches:
        by_column[mismatch.column].append(mismatch)
    return tuple(_column(column, rows[column], found) for column, found in by_column.items())


def _column(column: str, rows: int, found: Sequence[Mismatch]) -> ColumnParity:
    apart = [
        abs(one.logged - one.recomputed)
        for one in found
        if isinstance(one.logged, float) and isinstance(one.recomputed, float)
    ]
    causes: Counter[str] = Counter(one.cause for one in found)
    return ColumnParity(column, rows, len(found), max(apart, default=None), dict(causes.most_common()))
