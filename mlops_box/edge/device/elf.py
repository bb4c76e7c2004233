"""For which processor a shared library is: two bytes of its ELF header tell."""

from __future__ import annotations

HEAD_BYTES = 20
_MACHINES = {62: "x86_64", 183: "aarch64"}


def machine_of(head: bytes) -> str:
    """``x86_64`` or ``aarch64`` as ``uname -m`` says it, from a file's first 20 bytes; else what it is, in words.

    >>> machine_of(b"\\x7fELF\\x02\\x01\\x01" + bytes(9) + b"\\x03\\x00\\xb7\\x00")
    'aarch64'
    """
    if len(head) < HEAD_BYTES or head[:4] != b"\x7fELF":
        return "no processor: no ELF file"
    if head[4:6] != b"\x02\x01":
        return "a processor of 32 bits or of another byte order"
    machine = int.from_bytes(head[18:20], "little")
    return _MACHINES.get(machine, f"machine {machine}")
