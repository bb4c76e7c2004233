"""A slot: one model version, loaded, proven and ready to answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from mlops_box.errors import GateError, IntegrityError
from mlops_box.models.devices import Device, Wanted, open_model
from mlops_box.models.encode import RowEncoder, concatenate
from mlops_box.models.golden import Golden, check_golden
from mlops_box.models.runtime import Leash, OnnxModel
from mlops_box.models.store import ModelStore
from mlops_box.models.values import GOLDEN_FILE, PACKED_FILE, ModelVersion
from mlops_box.project import RegisteredProject
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door, Row
from mlops_box.serving.door_rules import door_rules
from mlops_box.serving.entity_rows import EntityDoor
from mlops_box.serving.log_view import LogView
from mlops_box.serving.records import ParsedRows
from mlops_box.serving.row_model import RowModel

if TYPE_CHECKING:
    from mlops_box.features.lookup import FeatureLookup
    from mlops_box.serving.batcher import Batcher

log = logging.getLogger(__name__)

# A call that holds the event loop longer than this goes to a thread; the hop itself costs about 0.1 ms.
SLOW_S = 0.0003
_TIMING_ROUNDS = 5
_MAX_QUEUED_ROWS = 8192
LookupFor = Callable[[ModelVersion], "FeatureLookup | None"]


class Slot:
    """Everything that one version needs to answer. It never changes; a swap replaces it whole.

    Attributes:
        device: Where the model runs, and why not elsewhere.
        log_view: What of its requests is logged; ``None``: everything.
        entities: Completes rows from the feature store; ``None``: the version pins no feature definitions.
        lane: The batcher that feeds it, made by the predictor when the first request comes.
    """

    def __init__(
        self,
        version: ModelVersion,
        model: OnnxModel,
        project: RegisteredProject | None,
        cost: tuple[float, float],
        device: Device,
        lookup: FeatureLookup | None = None,
    ):
        self.version = version
        self.model = model
        self.ref = version.ref
        self.number_header = str(version.number).encode()
        self.project_digest = project.digest if project else ""
        also = (*lookup.entity, *lookup.columns) if lookup is not None else ()
        rules = door_rules(project.declaration, also=also) if project else None
        self.door = Door(version.signature, rules)
        self._lookup = lookup
        self.entities = EntityDoor(self.door, lookup) if lookup is not None else None
        self.log_required = project is None or project.declaration.serve.log == "required"
        self.log_view = self._log_view(project)
        self.cost = cost
        self.device = device
        self.max_batch = self._batch_cap(project)
        self.max_queued = self._queue_cap(project)
        self.lane: Batcher[Any, Any, Any] | None = None
        self._rows = RowModel(version.ref, model)

    def run(self, rows: Sequence[Row] | Columns, leash: Leash | None = None) -> Answers:
        """The answers for rows that passed the door, in order.

        Args:
            leash: Lets another thread end the call.

        Raises:
            ContractViolation: A value is of a type the model cannot read, in a column without a rule.
            IntegrityError: The model gave another number of rows.
        """
        return self._rows.run(rows, leash)

    def run_all(
        self, requests: Sequence[Sequence[Row] | Columns], leash: Leash | None = None
    ) -> list[Answers]:
        """One call of the model for the rows of several requests; one :class:`Answers` each, in order.

        Raises:
            ContractViolation: See :meth:`run`; nothing was computed for any of them.
            IntegrityError: See :meth:`run`.
        """
        if len(requests) == 1:
            return [self.run(requests[0], leash)]
        # All rows are encoded at once, which costs hardly more than encoding one.
        by_row = [(index, rows) for index, rows in enumerate(requests) if not _is_block(rows)]
        by_column = [(index, rows) for index, rows in enumerate(requests) if _is_block(rows)]
        parts = [self._rows.tensors(columns) for _, columns in by_column]
        if by_row:
            one_by_one = cast(Iterable[Sequence[Row]], [rows for _, rows in by_row])
            parts.insert(0, self._rows.tensors(list(chain.from_iterable(one_by_one))))
        answers = self._rows.answers(concatenate(parts), leash)
        found: dict[int, Answers] = {}
        start = 0
        for index, rows in by_row + by_column:
            found[index] = answers.part(start, start + len(rows))
            start += len(rows)
        return [found[index] for index in range(len(requests))]

    def is_slow(self, rows: int) -> bool:
        base_s, per_row_s = self.cost
        return base_s + rows * per_row_s > SLOW_S

    def with_project(self, project: RegisteredProject | None) -> Slot:
        """The same loaded model behind another declaration that it :meth:`suits`."""
        return Slot(self.version, self.model, project, self.cost, self.device, self._lookup)

    def suits(self, project: RegisteredProject | None) -> bool:
        """Whether the model is loaded as ``project`` declares: on a device that it asks for."""
        return self.device.wanted == _wanted_device(project)

    def _batch_cap(self, project: RegisteredProject | None) -> int:
        """Rows in one call: what one request may carry, less where `[serve] latency` asks for it."""
        latency = project.declaration.serve.latency if project else None
        if latency is None:
            return self.door.max_rows
        base_s, per_row_s = self.cost
        # A request may have to wait for the batch before its own: each gets half of the time.
        affordable = (latency.total_seconds() / 2 - base_s) / max(per_row_s, 1e-9)
        return max(1, min(self.door.max_rows, int(affordable)))

    def _log_view(self, project: RegisteredProject | None) -> LogView | None:
        if project is None:
            return None
        serve = project.declaration.serve
        view = LogView(
            self.version.signature,
            redact=serve.redact,
            share=serve.log_sample,
            time_column=self.door.time_column,
        )
        return None if view.is_plain else view

    def _queue_cap(self, project: RegisteredProject | None) -> int:
        """Rows that may wait: as declared, else a few full requests."""
        declared = project.declaration.serve.max_queued if project else None
        return declared or max(_MAX_QUEUED_ROWS, 4 * self.door.max_rows)


def _is_block(rows: Sequence[Row] | Columns) -> bool:
    """Whether they are arrays already."""
    return isinstance(rows, Columns) or (isinstance(rows, ParsedRows) and rows.matrix is not None)


def load_slot(
    models: ModelStore,
    version: ModelVersion,
    project: RegisteredProject | None,
    *,
    lookup_for: LookupFor = lambda _: None,
    timer: Callable[[], float] = time.perf_counter,
) -> Slot:
    """Load a version and prove it on its golden rows, which also warms it up.

    Args:
        lookup_for: Gives the lookup of the features that a version pins.

    Raises:
        GateError: The version was rejected by its gates.
        IntegrityError: Its files are damaged or its golden rows come out wrong.
        NotFoundError: It has no packed model or no golden rows.
    """
    if version.state == "rejected":
        raise GateError(
            f"{version.ref} was rejected by its gates and is not served", hint=f"mlops-box why {version.ref}"
        )
    golden = Golden.from_json(models.file(version, GOLDEN_FILE))
    if not golden.rows:
        raise IntegrityError(f"{version.ref} has no golden rows to prove itself on", hint="train it again")
    packed = models.file(version, PACKED_FILE)
    model, device = open_model(packed, version.signature, golden, _wanted_device(project))
    if device.fell_back:
        log.warning("%s is declared for the GPU and runs on the CPU: %s", version.ref, device.note)
    elif device.used == "cuda":
        log.info("%s runs on the GPU", version.ref)
    problems = check_golden(model, golden)
    if problems:
        raise IntegrityError(
            f"{version.ref} fails its golden rows: {problems[0]}",
            hint="the model's file or the runtime differs from what was trained; train it again",
            details={"problems": problems},
        )
    return Slot(version, model, project, _cost(model, golden, version, timer), device, lookup_for(version))


def _wanted_device(project: RegisteredProject | None) -> Wanted:
    return project.declaration.serve.device if project is not None else "auto"


def _cost(
    model: OnnxModel, golden: Golden, version: ModelVersion, timer: Callable[[], float]
) -> tuple[float, float]:
    """Seconds a call and a row take: the best of a few, since others may disturb."""
    encode = RowEncoder(version.signature)
    one, many = encode(golden.rows[:1]), encode(golden.rows)
    single_s = min(_timed(model, one, timer) for _ in range(_TIMING_ROUNDS))
    all_s = min(_timed(model, many, timer) for _ in range(_TIMING_ROUNDS))
    extra = len(golden.rows) - 1
    per_row_s = max(0.0, (all_s - single_s) / extra) if extra else single_s
    return max(0.0, single_s - per_row_s), per_row_s


def _timed(model: OnnxModel, tensors: Any, timer: Callable[[], float]) -> float:
    start = timer()
    model.predict(tensors)
    return timer() - start
