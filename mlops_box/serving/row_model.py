"""A loaded model that takes rows and columns: encoded, computed, and read as answers."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_box.errors import IntegrityError, UsageError
from mlops_box.models.encode import RowEncoder, Tensors
from mlops_box.models.encode_columns import ColumnEncoder
from mlops_box.models.runtime import Leash, OnnxModel
from mlops_box.serving.answers import Answers, Reader
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Row
from mlops_box.serving.problems import ContractViolation
from mlops_box.serving.records import ParsedRows

Request = Sequence[Row] | Columns


class RowModel:
    """Answers rows that passed the door; safe to call from several threads.

    Args:
        ref: What the version is called in errors.
    """

    def __init__(self, ref: str, model: OnnxModel):
        self._ref = ref
        self._model = model
        self._encode = RowEncoder(model.signature)
        self._encode_columns = ColumnEncoder(model.signature)
        self._reader = Reader(model.signature)

    def run(self, rows: Request, leash: Leash | None = None) -> Answers:
        """The answers, in order.

        Args:
            leash: Lets another thread end the call.

        Raises:
            ContractViolation: A value is of a type the model cannot read, in a column without a rule.
            IntegrityError: The model gave another number of rows.
        """
        return self.answers(self.tensors(rows), leash)

    def tensors(self, rows: Request) -> Tensors:
        """The rows as the model reads them.

        Raises:
            ContractViolation: See :meth:`run`.
        """
        try:
            if isinstance(rows, ParsedRows) and rows.matrix is not None:
                return Tensors(rows.matrix, None)
            if not isinstance(rows, Columns):
                return self._encode(rows)
            if rows.matrix is not None:
                return Tensors(rows.matrix, None)
            return self._encode_columns(rows.values, rows.rows)
        except UsageError as error:
            if "row" not in error.details:
                raise
            column = error.details["column"]
            problem = {
                "row": error.details["row"],
                "column": column,
                "rule": f"{column}.type",
                "message": error.message,
            }
            raise ContractViolation([problem]) from None

    def answers(self, tensors: Tensors, leash: Leash | None = None) -> Answers:
        """The model's answers.

        Raises:
            IntegrityError: It gave another number of rows.
        """
        answers = self._reader.read(self._model.predict(tensors, leash))
        if len(answers.predictions) != tensors.rows:
            raise IntegrityError(f"{self._ref} answered {len(answers.predictions)} rows for {tensors.rows}")
        return answers
