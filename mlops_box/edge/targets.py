"""The devices that a bundle can be made for, with the exact wheels that it carries.

Wheels are pinned by SHA-256: what a device runs was chosen here, whatever an index offers later. A platform tag alone is
not enough (pip then takes an old pair of versions without a word), so the whole ladder of tags is named.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from mlops_box.errors import UsageError

NUMPY = "2.4.6"
ONNXRUNTIME = "1.32.0"
GLIBC_MIN = "2.28"
_LADDER = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28")
_ARCHES = {"x86_64": "x86_64", "arm64": "aarch64"}
# (arch, python): SHA-256 and size in bytes of the wheels of numpy and onnxruntime.
_PINS: dict[tuple[str, str], tuple[tuple[str, int], tuple[str, int]]] = {
    ("aarch64", "3.11"): (
        ("0ab0a9c4ffb1a6d95ef519fe4247dba8eb6b18ad93999f76b7f657039acabd47", 15_966_692),
        ("2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c", 23_195_070),
    ),
    ("aarch64", "3.12"): (
        ("5f9fb9157b4ce2971008323afe46053787b526ef624fea915b261468a8421a0f", 15_671_012),
        ("e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054", 23_196_724),
    ),
    ("aarch64", "3.13"): (
        ("72fbe16c6fac95aedf5937fa873445cec2110be35d8a4e9433d7501fd98dae6b", 15_669_392),
        ("54d02baff2df38777b4c3cc7af326406fe8b8a48f54720f4c446d2d327920a79", 23_195_811),
    ),
    ("x86_64", "3.11"): (
        ("89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93", 16_918_164),
        ("5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d", 27_773_237),
    ),
    ("x86_64", "3.12"): (
        ("90f9849678c75fe7afa2d348ac842c168b0a4d3d61919687216dfc547976d853", 16_645_538),
        ("99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8", 27_780_211),
    ),
    ("x86_64", "3.13"): (
        ("a7830bab239b79cda9c08c2da014761cafb48da6150e1da17ac06283f43b6089", 16_633_220),
        ("02ea12a28c069ea8510093d95a7f6ff8126bfd9fc5c0d3381c03b80fb2b424ba", 27_780_404),
    ),
}


@dataclass(frozen=True)
class Wheel:
    """One pinned wheel."""

    name: str
    version: str
    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Target:
    """A kind of device.

    Attributes:
        name: ``linux-arm64-cp311``.
        arch: As ``uname -m`` says it: ``aarch64`` or ``x86_64``.
        python: ``3.11``.
        glibc_min: The oldest glibc that the wheels run on; musl (Alpine) has no wheels.
    """

    name: str
    arch: str
    python: str
    glibc_min: str
    wheels: tuple[Wheel, ...]

    @property
    def abi(self) -> str:
        """``cp311``."""
        return "cp" + self.python.replace(".", "")

    @property
    def platforms(self) -> tuple[str, ...]:
        """The wheel tags that such a device can use, oldest first."""
        return tuple(f"{step}_{self.arch}" for step in _LADDER)


def _target(name: str, arch: str, python: str) -> Target:
    numpy, runtime = _PINS[arch, python]
    abi = "cp" + python.replace(".", "")
    return Target(
        f"linux-{name}-{abi}", arch, python, GLIBC_MIN,
        (
            Wheel("numpy", NUMPY, f"numpy-{NUMPY}-{abi}-{abi}-manylinux_2_27_{arch}.manylinux_2_28_{arch}.whl", *numpy),
            Wheel("onnxruntime", ONNXRUNTIME, f"onnxruntime-{ONNXRUNTIME}-{abi}-{abi}-manylinux_2_28_{arch}.whl", *runtime),
        ),
    )  # fmt: skip


TARGETS: tuple[Target, ...] = tuple(
    _target(name, arch, python) for name, arch in _ARCHES.items() for python in ("3.11", "3.12", "3.13")
)


def find_target(name: str) -> Target:
    """Raises :class:`UsageError` when no target has this name."""
    for target in TARGETS:
        if target.name == name:
            return target
    near = difflib.get_close_matches(name, [target.name for target in TARGETS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "mlops-box edge targets lists them"
    raise UsageError(f"there is no target {name!r}", hint=hint)
