"""Tensors that name entities in place of the features that are looked up for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_box.errors import UsageError
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door, Row
from mlops_box.serving.protocols.interface import Interface, TensorInfo, datatype_of
from mlops_box.serving.protocols.tensors import Tensor

if TYPE_CHECKING:
    from mlops_box.serving.entity_rows import EntityDoor


def read_tensors(
    tensors: Sequence[Tensor], interface: Interface, door: Door, entities: EntityDoor | None
) -> list[Row] | Columns:
    """The rows of a request, past the door, and completed where it names entities.

    Args:
        entities: Looks features up; ``None``: the model has none of that kind.

    Raises:
        UsageError: See :meth:`Interface.read`; an input is missing that is not looked up.
        ContractViolation: See :meth:`EntityDoor.parse`.
    """
    if entities is None:
        return interface.read(tensors, door)
    if not entities.is_asked([tensor.name for tensor in tensors]):
        try:
            return interface.read(tensors, door)
        except UsageError as error:
            raise _hinted(error, entities) from None
    values = interface.columns(tensors)
    wanted = [info.name for info in interface.inputs if info.name not in entities.looked_up]
    missing = [name for name in dict.fromkeys((*wanted, *entities.keys)) if name not in values]
    # With a name that is none of ours the input may be there, misspelt: the door says so.
    if missing and values.keys() <= {*wanted, *entities.keys}:
        raise interface.lacks(missing)
    rows = entities.of_columns(values, len(tensors[0].values))
    if missing:
        raise interface.lacks(missing)
    return rows


def input_infos(
    inputs: Iterable[TensorInfo], keys: Mapping[str, str], looked_up: Iterable[str]
) -> list[TensorInfo]:
    """A model's inputs, with what may be left out: what is looked up, where the keys of the entity are sent, or those.

    Args:
        keys: The columns that name an entity, with their types.
        looked_up: The inputs that are looked up.
    """
    by, found = {"optional": "true", "looked_up_by": ",".join(keys)}, frozenset(looked_up)
    told = [replace(info, parameters=by) if info.name in found else info for info in inputs]
    there = {info.name for info in told}
    entity = {"optional": "true", "entity": "true"}
    return told + [
        TensorInfo(name, datatype_of(type_), (-1, 1), entity)
        for name, type_ in keys.items()
        if name not in there
    ]


def _hinted(error: UsageError, entities: EntityDoor) -> UsageError:
    """With the other way to send a request that lacks what could be looked up."""
    missing = error.details.get("missing")
    lacked = [name for name in missing if name in entities.looked_up] if isinstance(missing, list) else []
    if not lacked:
        return error
    hint = f"send every input; or send {', '.join(entities.keys)} and none of what is looked up: {', '.join(lacked[:10])}"
    return UsageError(error.message, hint=hint, details=error.details)
