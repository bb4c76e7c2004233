"""What an Arrow stream says of itself, looked at before anything of it is unpacked.

Arrow's reader checks what it reads, but it believes sizes: a packed buffer names the size it wants to have. So messages are
walked first, and packed ones refused. Format: https://arrow.apache.org/docs/format/Columnar.html (``Message.fbs``).
"""

from __future__ import annotations

import struct

_CONTINUATION = 0xFFFFFFFF
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
# Fields by their place in Message.fbs: Message, then RecordBatch and DictionaryBatch.
_MESSAGE_TYPE, _MESSAGE_HEADER, _MESSAGE_BODY = 1, 2, 3
_BATCH_COMPRESSION, _DICTIONARY_DATA = 3, 1


class NoArrow(Exception):
    """The bytes are no Arrow stream."""


def is_compressed(stream: bytes) -> bool:
    """Whether a batch of the stream has packed buffers.

    Raises:
        NoArrow: It is no stream, or ends within a message.
    """
    start = 0
    try:
        while start < len(stream):
            (first,) = struct.unpack_from("<I", stream, start)
            head = start + 8 if first == _CONTINUATION else start + 4
            (size,) = struct.unpack_from("<i", stream, head - 4)
            if size == 0:
                return False
            if size < 0 or head + size > len(stream):
                raise NoArrow("it ends within a message")
            table = _Table.root(stream[head : head + size])
            if table.is_compressed():
                return True
            body = table.number("<q", _MESSAGE_BODY)
            if body < 0 or body > len(stream):
                raise NoArrow("it ends within a message")
            start = head + size + body
    except struct.error:
        raise NoArrow("it is damaged") from None
    return False


class _Table:
    """A flatbuffers table: a place in a buffer, whose vtable says where its fields are."""

    def __init__(self, data: bytes, at: int):
        self._data = data
        self._at = at
        (back,) = struct.unpack_from("<i", data, at)
        self._vtable = at - back
        if self._vtable < 0:
            raise NoArrow("it is damaged")
        (self._vtable_size,) = struct.unpack_from("<H", data, self._vtable)

    @staticmethod
    def root(data: bytes) -> _Table:
        (at,) = struct.unpack_from("<I", data, 0)
        return _Table(data, at)

    def is_compressed(self) -> bool:
        """For a Message."""
        kind = self.number("<B", _MESSAGE_TYPE)
        if kind not in (_RECORD_BATCH, _DICTIONARY_BATCH):
            return False
        batch = self._child(_MESSAGE_HEADER)
        if batch is not None and kind == _DICTIONARY_BATCH:
            batch = batch._child(_DICTIONARY_DATA)
        return batch is not None and batch._field(_BATCH_COMPRESSION) is not None

    def number(self, form: str, field: int) -> int:
        at = self._field(field)
        return int(struct.unpack_from(form, self._data, at)[0]) if at is not None else 0

    def _child(self, field: int) -> _Table | None:
        at = self._field(field)
        if at is None:
            return None
        (offset,) = struct.unpack_from("<I", self._data, at)
        return _Table(self._data, at + offset)

    def _field(self, field: int) -> int | None:
        place = 4 + 2 * field
        if place + 2 > self._vtable_size:
            return None
        (offset,) = struct.unpack_from("<H", self._data, self._vtable + place)
        return self._at + offset if offset else None
