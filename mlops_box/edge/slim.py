"""Smaller wheels for small disks: without what a device never runs.

Members are copied as they are, compressed bytes and all, since what deflate makes depends on the zlib at hand; RECORD is
written anew and the wheel gets a build tag, so that it is a proper wheel and not mistaken for the original.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass

BUILD_TAG = "1slim"
# libonnxruntime.so is for C programs: the Python extension links the same code statically.
UNUSED = re.compile(
    r"^onnxruntime/(transformers|tools|quantization|datasets|backend)/"
    r"|^onnxruntime/capi/libonnxruntime\.so"
    r"|^numpy/(.+/)?tests/"
    r"|^numpy/(f2py|_core/include|_core/lib)/"
    r"|\.pyi$"
)
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DATE_1980 = 33
_ATTRIBUTES = 0o100644 << 16


@dataclass(frozen=True)
class _Member:
    name: str
    method: int
    crc: int
    size_bytes: int
    packed: bytes


def slim_wheel(name: str, data: bytes) -> tuple[str, bytes]:
    """(file name, bytes) of the wheel without what a device never runs; the same bytes on every machine."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kept = [
            _member(data, item)
            for item in sorted(archive.infolist(), key=lambda item: item.filename)
            if not UNUSED.search(item.filename) and not item.is_dir()
        ]
        record = next(item for item in kept if item.name.endswith(".dist-info/RECORD"))
        lines = archive.read(record.name).decode().splitlines()
    names = {item.name for item in kept}
    text = "".join(f"{line}\n" for line in lines if _recorded(line) in names).encode()
    written = _Member(record.name, zipfile.ZIP_STORED, zlib.crc32(text), len(text), text)
    package, version, rest = name.split("-", 2)
    return f"{package}-{version}-{BUILD_TAG}-{rest}", _zip([*(m for m in kept if m is not record), written])


def _recorded(line: str) -> str:
    """The path in a line of RECORD (``path,hash,size``; none of these wheels quotes a path)."""
    return line.rsplit(",", 2)[0]


def _member(data: bytes, item: zipfile.ZipInfo) -> _Member:
    """A member with its bytes as they lie in the archive."""
    name_bytes, extra_bytes = _LOCAL.unpack_from(data, item.header_offset)[9:11]
    at = item.header_offset + _LOCAL.size + name_bytes + extra_bytes
    return _Member(
        item.filename, item.compress_type, item.CRC, item.file_size, data[at : at + item.compress_size]
    )


def _zip(members: list[_Member]) -> bytes:
    out, directory = bytearray(), bytearray()
    for member in members:
        at, name = len(out), member.name.encode()
        sizes = (member.crc, len(member.packed), member.size_bytes, len(name))
        out += (
            _LOCAL.pack(b"PK\x03\x04", 20, 0, member.method, 0, _DATE_1980, *sizes, 0) + name + member.packed
        )
        head = (b"PK\x01\x02", 3 << 8 | 20, 20, 0, member.method, 0, _DATE_1980, *sizes)
        directory += _CENTRAL.pack(*head, 0, 0, 0, 0, _ATTRIBUTES, at) + name
    count = len(members)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), len(out), 0)
    return bytes(out + directory + end)
