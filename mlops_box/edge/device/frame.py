"""The frame of a bundle: a stored zip whose every byte outside the members follows from their names, sizes and CRCs.

Zip can say one thing in two places (local headers, central directory) and hide much between. A bundle's frame is the
one that a plain writer gives: members back to back from byte 0, no extra fields, no comments, no compression, date
1980-01-01, a regular file of mode 0644, the end record at the very end. It is rebuilt from what the central directory
says and compared byte by byte, so nothing else can be in it: no link, no overlap, no gap, no second directory.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from .errors import Refused
from .manifest import MAX_FILES, MAX_NAME, MEMBER

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION, _UNIX, _DATE_1980 = 20, 3, 33
_ATTRIBUTES = 0o100644 << 16
MAX_MEMBER_BYTES = 512 * 1024 * 1024
"""No member may be larger, whatever a manifest says."""


@dataclass(frozen=True)
class Entry:
    """A member as the archive describes it; ``offset`` is where its bytes begin, ``crc`` their CRC-32."""

    name: str
    size_bytes: int
    crc: int
    offset: int


def first_entry(file: BinaryIO) -> Entry:
    """The member that the archive begins with, by its local header alone.

    Raises:
        Refused: No such header.
    """
    file.seek(0)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise Refused("no bundle: the file does not begin with a stored member", rule="archive.frame")
    crc, _, size_bytes, name_bytes = _LOCAL.unpack(header)[6:10]
    name = _name(file.read(min(name_bytes, MAX_NAME + 1)))
    if _local(name, crc, size_bytes) != header + name.encode():
        raise Refused("the first member's header is not a plain one", rule="archive.frame")
    return Entry(name, size_bytes, crc, _LOCAL.size + name_bytes)


def read_entries(file: BinaryIO) -> list[Entry]:
    """Every member, in the order of the archive, after the whole frame was compared.

    Raises:
        Refused: The frame differs in any byte from the one form.
    """
    length = file.seek(0, os.SEEK_END)
    count, directory_bytes, directory_at = _end_record(file, length)
    file.seek(directory_at)
    directory = file.read(directory_bytes)
    if len(directory) != directory_bytes:
        raise Refused("the archive is cut off", rule="archive.frame")
    entries = _walk(directory, count)
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(f"the archive holds {twice!r} twice", rule="archive.duplicate")
    _compare_frame(file, entries, directory, directory_at)
    return entries


def _end_record(file: BinaryIO, length: int) -> tuple[int, int, int]:
    if length < _END.size:
        raise Refused("the archive is cut off", rule="archive.frame")
    file.seek(length - _END.size)
    magic, disk, first_disk, here, count, size, at, comment = _END.unpack(file.read(_END.size))
    plain = magic == b"PK\x05\x06" and not (disk or first_disk or comment) and here == count
    if not plain or at + size + _END.size != length:
        raise Refused("the archive does not end with its directory", rule="archive.frame")
    if not 0 < count <= MAX_FILES or size > count * (_CENTRAL.size + MAX_NAME):
        raise Refused("the archive lists too many members, or none", rule="archive.too-many")
    return count, size, at


def _walk(directory: bytes, count: int) -> list[Entry]:
    entries: list[Entry] = []
    at = offset = 0
    for _ in range(count):
        fields = directory[at : at + _CENTRAL.size]
        if len(fields) < _CENTRAL.size or fields[:4] != b"PK\x01\x02":
            raise Refused("the archive's directory is malformed", rule="archive.frame")
        flags, method = _CENTRAL.unpack(fields)[3:5]
        crc, packed_bytes, size_bytes, name_bytes = _CENTRAL.unpack(fields)[7:11]
        attributes, local_at = _CENTRAL.unpack(fields)[15:17]
        name = _name(directory[at + _CENTRAL.size : at + _CENTRAL.size + min(name_bytes, MAX_NAME + 1)])
        if method or packed_bytes != size_bytes:
            raise Refused(f"{name!r} is compressed", rule="archive.compressed")
        if flags or attributes != _ATTRIBUTES:
            raise Refused(f"{name!r} is no plain file", rule="archive.not-a-file")
        if size_bytes > MAX_MEMBER_BYTES:
            raise Refused(f"{name!r} is too large", rule="archive.too-large")
        if local_at != offset:
            raise Refused(f"{name!r} does not begin where its predecessor ends", rule="archive.overlap")
        offset += _LOCAL.size + name_bytes
        entries.append(Entry(name, size_bytes, crc, offset))
        offset += size_bytes
        at += _CENTRAL.size + name_bytes
    return entries


def _compare_frame(file: BinaryIO, entries: list[Entry], directory: bytes, directory_at: int) -> None:
    rebuilt = []
    for entry in entries:
        local = _local(entry.name, entry.crc, entry.size_bytes)
        at = entry.offset - len(local)
        file.seek(at)
        if file.read(len(local)) != local:
            raise Refused(f"{entry.name!r}: its header and the directory differ", rule="archive.frame")
        rebuilt.append(_central(entry.name, entry.crc, entry.size_bytes, at))
    last = entries[-1]
    if b"".join(rebuilt) != directory or last.offset + last.size_bytes != directory_at:
        raise Refused("the archive's directory is not a plain one", rule="archive.frame")


def _name(data: bytes) -> str:
    name = data.decode("latin-1")
    if len(data) > MAX_NAME or not MEMBER.fullmatch(name):
        raise Refused(f"{name[:MAX_NAME]!r} cannot be the name of a member", rule="archive.name")
    return name


def _local(name: str, crc: int, size: int) -> bytes:
    fixed = _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _DATE_1980, crc, size, size, len(name), 0)
    return fixed + name.encode()


def _central(name: str, crc: int, size: int, at: int) -> bytes:
    made_by = _UNIX << 8 | _VERSION
    head = (b"PK\x01\x02", made_by, _VERSION, 0, 0, 0, _DATE_1980, crc, size, size, len(name))
    return _CENTRAL.pack(*head, 0, 0, 0, 0, _ATTRIBUTES, at) + name.encode()
