"""What a device is offered by attackers, accidents and worn-out sticks, and what it takes: ``python benchmarks/edge/attacks.py``.

The same corpus and the same device as in ``tests/unit/test_edge_attacks.py``; here every bit is flipped, and the
signatures are verified by the device's own plain Python.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from benchmarks.machine import describe, table  # noqa: E402
from mlops_box.edge.device.admission import this_device  # noqa: E402
from mlops_box.edge.device.archive import ENVELOPE, open_verified  # noqa: E402
from mlops_box.edge.device.install import install  # noqa: E402
from mlops_box.edge.device.manifest import NAME as MANIFEST  # noqa: E402
from tests.edge_attacks import Target, attacks, bits_of, bits_taken, refusal, small, span  # noqa: E402
from tests.edge_case import TRUSTED, Packer, content, tree  # noqa: E402

RESULTS = Path(__file__).parent / "ATTACKS.md"
PAYLOAD_BYTES = 256 * 1024
BLOCK_BYTES = 512


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        changed: Paths outside of staging that it changed; ``None`` where only the reader was called, without a device.
    """

    what: str
    tried: int
    taken: int
    changed: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=10_000, help="Flipped bits of the payload.")
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine, started_s = describe(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        target = Target(Path(folder))
        lines = [_corpus(target), *_every_bit(Path(folder)), *_large(target, options.flips, options.seed)]
    minutes = (time.monotonic() - started_s) / 60
    options.output.write_text(_report(lines, machine, options.seed, minutes))
    if any(line.taken or line.changed for line in lines):
        raise SystemExit("something was taken, or changed outside of staging")


def _corpus(target: Target) -> Line:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        met = [(attack, target.meet(attack)) for attack in attacks()]
    taken = sum(outcome.rule not in attack.rules for attack, outcome in met)
    return Line("Corpus: each refused by the rule that is meant for it", len(met), taken, _sum(met))


def _sum(met: Iterable[tuple[object, object]]) -> int:
    return sum(len(outcome.changed) for _, outcome in met)


def _every_bit(folder: Path) -> list[Line]:
    """Of a bundle of two kilobytes, by the reader that ``install`` begins with."""
    bundle, file, lines = small(), folder / "small.mbx", []
    file.write_bytes(bundle)
    named = {"signature and statement": span(bundle, ENVELOPE), "manifest": span(bundle, MANIFEST)}
    rest = sorted({*range(len(bundle))} - {byte for part in named.values() for byte in part})

    def read() -> object:
        return open_verified(file, TRUSTED)

    for name, part in named.items():
        bits = bits_of(part)
        lines.append(
            Line(f"Every bit of the {name} flipped", len(bits), len(bits_taken(file, bits, read)), None)
        )
    bits = [byte * 8 + bit for byte in rest for bit in range(8)]
    lines.append(
        Line("Every bit of all the rest flipped", len(bits), len(bits_taken(file, bits, read)), None)
    )
    cut = folder / "cut.mbx"
    taken = 0
    for length in range(len(bundle)):
        cut.write_bytes(bundle[:length])
        taken += not refusal(lambda: open_verified(cut, TRUSTED))
    return [*lines, Line("Cut off after every byte", len(bundle), taken, None)]


def _large(target: Target, flips: int, seed: int) -> list[Line]:
    """Installed on a device that serves another version, with its folder compared before and after."""
    place, dice = target.fresh(), random.Random(seed)
    files = {**content(), "model/packed.onnx": dice.randbytes(PAYLOAD_BYTES)}
    bundle, file = Packer(number=2, files=files).pack(), place.root.with_suffix(".bent")
    file.write_bytes(bundle)
    before = tree(place.root)

    def take() -> object:
        return install(place, file, this_device())

    payload = bits_of(span(bundle, "model/packed.onnx"))
    taken = bits_taken(file, dice.sample(payload, flips), take)
    lines = [
        Line(
            "Random bits of the payload flipped, then installed",
            flips,
            len(taken),
            _differ(before, place.root),
        )
    ]
    cuts, taken_cuts = range(0, len(bundle), BLOCK_BYTES), 0
    for length in reversed(cuts):
        with file.open("r+b") as opened:
            opened.truncate(length)
        taken_cuts += not refusal(take)
    what = f"Cut off at every block of {BLOCK_BYTES} bytes, then installed"
    return [*lines, Line(what, len(cuts), taken_cuts, _differ(before, place.root))]


def _differ(before: dict[str, str], root: Path) -> int:
    after = tree(root)
    return sum(before.get(name) != after.get(name) for name in {*before, *after})


def _report(lines: list[Line], machine: str, seed: int, minutes: float) -> str:
    rows = [
        [
            line.what,
            f"{line.tried:,}",
            f"{line.tried - line.taken:,}",
            str(line.taken),
            "-" if line.changed is None else str(line.changed),
        ]
        for line in lines
    ]
    tried = sum(line.tried for line in lines)
    return (
        "# Attacks on a device\n\n"
        f"`python benchmarks/edge/attacks.py` (seed {seed}, {minutes:.1f} minutes). {machine}\n\n"
        + table(
            ["Offered to the device", "tried", "refused", "taken", "paths changed outside of staging"], rows
        )
        + f"\n\n{tried:,} files in all. *Taken* counts whatever was not refused, and in the corpus also what was refused by "
        "another rule than those that are meant for it. `-`: only the reader was called, which has no folder to write to. Signatures were verified by the device's own Ed25519 in plain "
        "Python. The corpus is in `tests/edge_attacks.py`: names that leave the folder, links, devices, duplicates, "
        "overlaps, bombs, other compressions, gaps, second directories, foreign and revoked keys, forged and malleable "
        "signatures, other kinds of documents under a trusted signature, statements and manifests that contradict the "
        "archive, the wrong processor, Python and glibc, unknown features, formats and agents from the future, old epochs, "
        "versions marked bad, and hostile wheels; most of them signed by the trusted key.\n"
    )


if __name__ == "__main__":
    main()
