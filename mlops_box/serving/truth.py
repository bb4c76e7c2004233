"""Ground truth as it comes in: checked against what the model can answer, in one spelling."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mlops_box.errors import UsageError
from mlops_box.models.encode import category_text
from mlops_box.models.signature import Signature
from mlops_box.serving.door import parse_object
from mlops_box.serving.problems import ContractViolation
from mlops_box.serving.records import Truth, is_prediction_id


class TruthReader:
    """Reads ground truth for models of one signature.

    Classes are recognised by their text, so a CSV's ``true`` or ``3`` means the class ``True`` or ``3``; a truth that is none
    of the classes is refused, as a typing error would otherwise count as a wrong prediction.
    """

    def __init__(self, signature: Signature):
        self._texts = {category_text(value) for value in signature.classes or ()}
        self._is_regression = signature.classes is None
        self._target = signature.target

    def read(self, id_: object, value: object) -> Truth:
        """Raises :class:`UsageError` when the id is no prediction id or the value cannot be this model's truth."""
        if not is_prediction_id(id_):
            raise UsageError(f"{str(id_)[:60]!r} is no prediction id", hint="take it from `ids` of an answer")
        return self._regression(str(id_), value) if self._is_regression else self._class(str(id_), value)

    def read_all(self, items: Iterable[tuple[object, object]]) -> list[Truth]:
        """All or nothing.

        Raises:
            ContractViolation: Names the items that are wrong.
        """
        truths, problems = [], []
        for index, (id_, value) in enumerate(items):
            try:
                truths.append(self.read(id_, value))
            except UsageError as error:
                column = "value" if is_prediction_id(id_) else "id"
                problem = {
                    "row": index,
                    "column": column,
                    "rule": f"truth.{column}",
                    "message": error.message,
                }
                problems.append({**problem, "hint": error.hint})
        if problems:
            raise ContractViolation(problems)
        return truths

    def _regression(self, id_: str, value: object) -> Truth:
        number = _number(value)
        if number is None or not math.isfinite(number):
            raise UsageError(f"{value!r} is no truth for {self._target}", hint="send a number")
        return Truth(id_, category_text(number), number)

    def _class(self, id_: str, value: object) -> Truth:
        for text in _spellings(value):
            if text in self._texts:
                return Truth(id_, text, _number(value))
        raise UsageError(
            f"{value!r} is no class of {self._target}", hint=f"one of {', '.join(sorted(self._texts)[:20])}"
        )


def truth_items(body: bytes) -> list[tuple[object, object]]:
    """(id, value) of each truth in ``{"truth": [{"id", "value"}]}``.

    Raises:
        MalformedBody: No JSON.
        UsageError: It has another form.
        ContractViolation: A truth has other keys.
    """
    items = parse_object(body, allowed=("truth",))["truth"]
    if not isinstance(items, list) or not items:
        raise UsageError("`truth` is no list of truths", hint='send {"truth": [{"id": "...", "value": ...}]}')
    for index, item in enumerate(items):
        if not isinstance(item, dict) or set(item) != {"id", "value"}:
            message = "a truth has exactly the keys id and value"
            raise ContractViolation(
                [{"row": index, "column": None, "rule": "truth.form", "message": message}]
            )
    return [(item["id"], item["value"]) for item in items]


def _spellings(value: object) -> list[str]:
    """The texts that a class may have been written as, the likeliest first."""
    if isinstance(value, str):
        number = _number(value)
        return [
            value,
            value.strip(),
            value.strip().lower(),
            *(_spellings(number) if number is not None else ()),
        ]
    if isinstance(value, bool):
        return ["true" if value else "false", str(int(value))]
    if isinstance(value, int | float):
        text = category_text(value)
        return [text, {"0": "false", "1": "true"}.get(text, text)]
    return []


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        value = value.strip()
        if value.lower() in ("true", "false"):
            return float(value.lower() == "true")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
