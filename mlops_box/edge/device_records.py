"""From the bodies of a device's records to what the prediction log holds. Whatever a device says is checked here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from mlops_box.clock import parse_time
from mlops_box.edge.device.batch import Record as Sent
from mlops_box.edge.device.errors import Refused
from mlops_box.edge.device.strict_json import parse_object
from mlops_box.errors import BoxError
from mlops_box.models.encode import category_text
from mlops_box.models.signature import Signature
from mlops_box.monitoring.counts import WindowCounts
from mlops_box.monitoring.device_windows import DeviceCounts, DeviceWindow, FiledBy, checked_counts
from mlops_box.serving.records import (
    DeviceOrigin,
    PredictionRecord,
    Record,
    TruthRecord,
    is_prediction_id,
    segment_of,
)
from mlops_box.serving.truth import TruthReader

VARIANT = "device"
# Beyond any calendar; what a device's clock may show at most.
_LAST_US = 253_402_300_799_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = "(event time)"  # no feature has this name: it is where a row's event time is kept for the log


@dataclass(frozen=True)
class Version:
    """What the box knows of a version that answered.

    Attributes:
        counts: Counts of no rows with its whole reference; ``None`` where it has none.
    """

    signature: Signature
    counts: WindowCounts | None


@dataclass
class Found:
    """What a batch held.

    Attributes:
        logged: Predictions and ground truth for the prediction log.
        prediction_ids: Of the predictions.
        counts: What the device counted.
        aside: Records that cannot be used: number, kind, body, and why.
    """

    logged: list[Record] = field(default_factory=list)
    prediction_ids: list[str] = field(default_factory=list)
    counts: list[DeviceCounts] = field(default_factory=list)
    aside: list[dict[str, Any]] = field(default_factory=list)


class RecordReader:
    """Reads the records of one boot of one device.

    Args:
        version: The version of that model and number; ``None`` where the box has none.
        model: The signature of any version of a model; ``None`` where there is no such model.
        happened_us: The box's time of a record.
        is_foreign: Whether prediction ids that begin so were given out by somebody else.
    """

    def __init__(
        self,
        device: str,
        boot: str,
        *,
        version: Callable[[str, int], Version | None],
        model: Callable[[str], Signature | None],
        happened_us: Callable[[Sent], int],
        is_foreign: Callable[[str], bool],
    ):
        self._device = device
        self._boot = boot
        self._version = version
        self._model = model
        self._happened_us = happened_us
        self._is_foreign = is_foreign

    def read_all(self, records: Iterable[Sent]) -> Found:
        """Every record, or why it cannot be used; one that is wrong holds up no other."""
        found = Found()
        for sent in records:
            try:
                self._read(sent, found)
            except (ValueError, KeyError, TypeError, OverflowError, Refused, BoxError) as error:
                why = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
                found.aside.append({"seq": sent.seq, "kind": sent.kind, "body": sent.body, "why": why})
        return found

    def _read(self, sent: Sent, found: Found) -> None:
        if sent.at_us > _LAST_US:
            raise ValueError("its time is beyond any calendar")
        body = parse_object(sent.body.encode(), "the record")
        if sent.kind == "prediction":
            record = self._prediction(sent, body)
            found.logged.append(record)
            found.prediction_ids.append(record.ids[0])
        elif sent.kind == "truth":
            found.logged.append(self._truth(sent, body))
        elif sent.kind == "window":
            found.counts.append(self._counts(sent, body))
        else:
            raise ValueError(f"there is no kind {sent.kind!r}")

    def _prediction(self, sent: Sent, body: dict[str, Any]) -> PredictionRecord:
        version, id_ = self._known(body), self._own_id(body["id"])
        number, label, probability = _answer(version.signature, body)
        row, time = body["row"], body["time"]
        if row is not None and not isinstance(row, dict):
            raise ValueError("its row is no object")
        values = {name: _scalar(value) for name, value in (row or {}).items()}
        values[_TIME] = None if time is None else parse_time(time)
        finite = number is not None if probability is None else None not in probability
        return PredictionRecord(
            body["model"], body["number"], VARIANT, self._happened_us(sent), [id_], [values],
            None if number is None and label is not None else [number],
            None if label is None else [label],
            None if probability is None else [probability],
            _number(body["latency_ms"]) or 0.0, "ok" if finite else "not_finite", _TIME, row is not None,
            device=DeviceOrigin(self._device, self._boot, sent.at_us if time is None else None),
        )  # fmt: skip

    def _truth(self, sent: Sent, body: dict[str, Any]) -> TruthRecord:
        signature = self._model(body["model"])
        if signature is None:
            raise ValueError(f"this box has no model {body['model']!r}")
        truth = TruthReader(signature).read(self._own_id(body["id"]), body["value"])
        return TruthRecord(body["model"], self._happened_us(sent), [truth])

    def _counts(self, sent: Sent, body: dict[str, Any]) -> DeviceCounts:
        version = self._known(body)
        if version.counts is None:
            raise ValueError(f"{body['model']}@{body['number']} has no reference")
        counts = checked_counts(body["counts"], version.counts)
        filed_by, starts_at, ends_at = body["by"], parse_time(body["starts_at"]), parse_time(body["ends_at"])
        if filed_by not in ("event", "clock") or not timedelta(0) < ends_at - starts_at <= timedelta(
            days=366
        ):
            raise ValueError("its window is none")
        off = timedelta(0)
        if filed_by == "clock":
            off = timedelta(microseconds=self._happened_us(sent) - sent.at_us)
        window = DeviceWindow(
            self._device, self._boot if filed_by == "clock" else "", body["model"], body["number"],
            cast(FiledBy, filed_by), starts_at, ends_at, starts_at + off, ends_at + off,
        )  # fmt: skip
        return DeviceCounts(window, self._boot, sent.seq, counts)

    def _known(self, body: dict[str, Any]) -> Version:
        model, number = body["model"], body["number"]
        version = self._version(model, number) if isinstance(model, str) and type(number) is int else None
        if version is None:
            raise ValueError(f"this box has no version {model!s:.80}@{number!s:.20}")
        return version

    def _own_id(self, id_: object) -> str:
        if not is_prediction_id(id_):
            raise ValueError(f"{id_!r:.80} is no prediction id")
        if self._is_foreign(segment_of(str(id_))):
            raise ValueError(f"{id_} was not given out by this device")
        return str(id_)


def _answer(
    signature: Signature, body: dict[str, Any]
) -> tuple[float | None, str | None, list[float | None] | None]:
    """Number, label and probabilities as :class:`PredictionRecord` has them."""
    if signature.classes is None:
        return _number(body["prediction"]), None, None
    label, stated = body["label"], body["probability"]
    if label not in {category_text(value) for value in signature.classes}:
        raise ValueError(f"{label!r:.80} is no class of {signature.target}")
    if stated is None:
        return None, label, None
    if not isinstance(stated, list) or len(stated) != len(signature.classes):
        raise ValueError("its probabilities are not those of the classes")
    probability = [_number(value) for value in stated]
    return probability[1] if signature.task == "binary" else None, label, probability


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r:.80} is no number")
    return float(value) if math.isfinite(value) else None


def _scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ValueError("a value of its row is neither text nor number")
    return value
