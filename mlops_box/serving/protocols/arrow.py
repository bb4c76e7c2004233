"""Rows as an Arrow stream, and answers as one: the cheap road for many rows at a time.

Source: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format. Columns become what the same values would
be in JSON rows: texts, numbers, booleans, times; whatever else Arrow knows is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mlops_box.errors import UsageError
from mlops_box.models.encode import category_text
from mlops_box.models.values import Signature
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door
from mlops_box.serving.entity_rows import EntityDoor, EntityRows
from mlops_box.serving.guard import MAX_BODY_BYTES
from mlops_box.serving.problems import MalformedBody
from mlops_box.serving.protocols.arrow_limits import NoArrow, is_compressed
from mlops_box.serving.protocols.interface import Interface
from mlops_box.serving.protocols.tensors import objects

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
# Names that are no column are looked up for what was meant, which takes its time.
_MAX_STRANGERS = 64
_MAX_BATCHES = 1024
# What the texts of all columns may be together: a dictionary holds a text once, its rows as often as they please.
_MAX_TEXT_BYTES = MAX_BODY_BYTES


def read_stream(
    body: bytes, interface: Interface, door: Door, entities: EntityDoor | None = None
) -> Columns | EntityRows:
    """The rows of a stream, past the door.

    A column a feature, and perhaps others the door knows; or, where all features are numbers, one column of any other
    name whose values are lists of fixed size, one number a feature; or the keys of entities in place of the features that
    ``entities`` looks up.

    Raises:
        MalformedBody: It is no Arrow stream, or a damaged one.
        UsageError: A column of a type that is not read here, or packed buffers; what :class:`Door` raises.
        ContractViolation: See :meth:`Door.check_columns`.
    """
    table = _table(body, len(interface.inputs), door.max_rows)
    columns = _matrix(table, interface)
    if columns is None:
        _check_texts(table)
        values = {name: _values(name, table.column(name)) for name in table.column_names}
        if entities is not None and entities.is_asked(table.column_names):
            return entities.of_columns(values, table.num_rows)
        columns = Columns(table.num_rows, values)
    door.check_columns(columns)
    return columns


def write_stream(
    signature: Signature, ref: str, answers: Answers, ids: Sequence[str], *, features: str | None = None
) -> bytes:
    """The answers as a stream of one batch.

    Columns: ``prediction`` float for regression; ``label``, in the classes' type, and ``probability``, a fixed-size list
    of floats, otherwise; and ``id``. The schema's metadata names ``model`` and, as JSON, ``classes``, and ``features``
    where it is to be told what was looked up.
    """
    columns: dict[str, pa.Array] = {}
    metadata = {"model": ref}
    if signature.classes is None:
        columns["prediction"] = pa.array(answers.predictions, pa.float32())
    else:
        kinds = set(map(type, signature.classes))
        labels = answers.predictions if len(kinds) == 1 else list(map(category_text, answers.predictions))
        probabilities = np.array(answers.probabilities, dtype=np.float32).reshape(-1)
        columns["label"] = pa.array(labels)
        columns["probability"] = pa.FixedSizeListArray.from_arrays(
            pa.array(probabilities, from_pandas=True), len(signature.classes)
        )
        metadata["classes"] = orjson.dumps(list(signature.classes)).decode()
    if features is not None:
        metadata["features"] = features
    columns["id"] = pa.array(ids[:], pa.string())
    batch = pa.record_batch(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _table(body: bytes, features: int, max_rows: int) -> pa.Table:
    """All batches, each proven; no more rows than the door lets through, plus one for it to refuse."""
    try:
        if is_compressed(body):
            raise UsageError(
                "the Arrow stream has compressed buffers, which are not read here", hint="write it without"
            )
        with pa.ipc.open_stream(body) as reader:
            _check_schema(reader.schema, features)
            batches: list[pa.RecordBatch] = []
            rows = 0
            for batch in reader:
                batch.validate(full=True)
                batches.append(batch)
                if len(batches) > _MAX_BATCHES:
                    raise UsageError(
                        f"the Arrow stream has more than {_MAX_BATCHES} batches",
                        hint="put its rows into one",
                    )
                rows += batch.num_rows
                if rows > max_rows:
                    raise UsageError(
                        f"more than {max_rows} rows came, which is what one request may carry",
                        hint="send fewer at a time, score a file (mlops-box score), or raise max_rows under [serve]",
                    )
            return pa.Table.from_batches(batches, reader.schema)
    except NoArrow as error:
        raise MalformedBody(f"the body is no Arrow stream: {error}", hint=_HINT) from None
    except (pa.ArrowException, OSError, ValueError) as error:  # a name that is no UTF-8 is a ValueError
        reason = str(error).partition("\n")[0][:200]
        raise MalformedBody(f"the body is no Arrow stream: {reason}", hint=_HINT) from None


_HINT = "write it with pyarrow.ipc.new_stream (the stream format, not the file format)"


def _check_schema(schema: pa.Schema, features: int) -> None:
    names = schema.names
    if len(names) > features + _MAX_STRANGERS:
        raise UsageError(
            f"the Arrow stream has {len(names)} columns", hint=f"the model has {features} features"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"the Arrow stream has two columns {twice[:60]!r}")


def _matrix(table: pa.Table, interface: Interface) -> Columns | None:
    """The rows of the one column that holds all features, where there is one."""
    if table.num_columns != 1 or not pa.types.is_fixed_size_list(table.schema.field(0).type):
        return None
    (name,) = table.column_names
    kind = table.schema.field(0).type
    if not interface.all_numeric or kind.list_size != len(interface.inputs):
        raise UsageError(
            f"column {name[:60]!r} holds lists of {kind.list_size}; the model has {len(interface.inputs)} features"
            + ("" if interface.all_numeric else ", and not all of them are numbers"),
            hint="send a column a feature",
        )
    lists = table.column(0).combine_chunks()
    values = lists.flatten() if not lists.null_count else None
    if values is None or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise UsageError(
            f"column {name[:60]!r} holds {kind}, or a list that is missing", hint="send lists of float32"
        )
    return interface.from_matrix(_numbers(values).reshape(table.num_rows, kind.list_size))


def _values(name: str, column: pa.ChunkedArray) -> npt.NDArray[Any]:
    array = _decoded(column)
    kind = array.type
    if pa.types.is_null(kind):
        return objects([None] * len(array))
    if pa.types.is_boolean(kind):
        return objects(array.to_pylist()) if array.null_count else array.to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(array)
    if _is_text(kind):
        return objects(array.to_pylist())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _times(name, array)
    raise UsageError(
        f"column {name[:60]!r} is of Arrow's type {str(kind)[:60]}, which is not read here",
        hint="send numbers, booleans, strings (also as dictionary), timestamps or dates",
    )


def _decoded(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _check_texts(table: pa.Table) -> None:
    total = 0
    for column in table.columns:
        for chunk in column.chunks:
            if pa.types.is_dictionary(chunk.type) and _is_text(chunk.type.value_type):
                sizes = pc.binary_length(chunk.dictionary).take(chunk.indices)
                total += pc.sum(sizes.cast(pa.int64())).as_py() or 0
    if total > _MAX_TEXT_BYTES:
        raise UsageError(
            f"the texts of the dictionary columns are {total} bytes when they are written out",
            hint=f"send up to {_MAX_TEXT_BYTES} bytes at a time",
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _numbers(array: pa.Array) -> npt.NDArray[Any]:
    """A missing number is NaN, or ``None`` among integers, which stay whole."""
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if array.null_count and pa.types.is_integer(array.type):
        return objects(array.to_pylist())
    found: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found


def _times(name: str, array: pa.Array) -> npt.NDArray[Any]:
    """Microseconds in UTC, as times are read everywhere; a time without a zone is taken as UTC."""
    try:
        if pa.types.is_timestamp(array.type) and array.type.tz is not None:
            array = pc.local_timestamp(array.cast(pa.timestamp(array.type.unit, "UTC")))
        # Nanoseconds are cut off; what lies beyond microseconds' years is not.
        is_finer = pa.types.is_timestamp(array.type) and array.type.unit == "ns"
        array = array.cast(pa.timestamp("us"), safe=not is_finer)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0][:120]
        raise UsageError(f"column {name[:60]!r} holds a time that cannot be read: {reason}") from None
    found: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found
