"""A home on a disk that is really full, or really read-only: a small file system in a namespace of its own."""

from __future__ import annotations

from pathlib import Path

from disk_case import on_a_disk_of

CLI = "import sys; from mlops_box.cli.main import main; main()"
FILL = """
import sys
from pathlib import Path
from mlops_box.box import Box
from mlops_box.errors import StorageError
from mlops_box.operations.verify import verify

with Box.open(Path(sys.argv[1]) / "home", actor="tester") as box:
    kept = [box.objects.put_bytes(b"kept", kind="test")]
    for number in range(10_000):
        try:
            kept.append(box.objects.put_bytes(str(number).encode() * 100_000, kind="test"))
        except StorageError as error:
            print("objects:", error.hint)
            break
    for number in range(10_000):
        try:
            box.ledger.record("test.act", f"thing:{number}", {"text": "z" * 2000})
        except StorageError as error:
            print("ledger:", error.hint, number == box.ledger.head()[0])
            break
    print("problems:", verify(box).problems, "temporary:", list(box.home.objects.rglob(".tmp-*")))
    box.objects.path(kept[-1]).unlink()
    for number in range(3):
        box.ledger.record("test.act", "after", {})
    print("recovered:", box.ledger.first_broken())
"""


def test_a_full_disk_refuses_clearly_keeps_what_was_and_recovers_with_space(tmp_path: Path) -> None:
    filled, verified, backed_up = on_a_disk_of(
        "3m", tmp_path,
        [FILL, str(tmp_path)],
        [CLI, "verify", "--home", str(tmp_path / "home")],
        [CLI, "backup", str(tmp_path / "copy"), "--home", str(tmp_path / "home")],
    )  # fmt: skip
    assert filled.returncode == 0, filled.stderr
    assert filled.stdout.splitlines() == [
        "objects: free some space",
        "ledger: free some space True",
        "problems: () temporary: []",
        "recovered: None",
    ]
    assert verified.returncode == 7, "the object that made room is missed"
    assert backed_up.returncode in (7, 8)
    assert "Traceback" not in verified.stderr + backed_up.stderr


def test_a_read_only_home_can_be_looked_at_and_refuses_to_be_changed(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    make = (
        "import sys; from pathlib import Path; from mlops_box.box import Box\n"
        "with Box.open(Path(sys.argv[1]), actor='tester') as box: box.ledger.record('test.act', 'x')\n"
    )
    made, looked, verified, refused, elsewhere = on_a_disk_of(
        "8m", tmp_path,
        [make, str(tmp_path / "home")],
        ["ro"],
        [CLI, "ledger", "list", *home],
        [CLI, "verify", *home],
        [CLI, "backup", str(tmp_path / "copy"), *home],
        [make, str(tmp_path / "new")],
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert (looked.returncode, verified.returncode) == (0, 0), looked.stderr + verified.stderr
    assert "test.act" in looked.stdout
    assert refused.returncode == 8
    assert refused.stderr.startswith("error: the box's home ")
    assert "MLOPS_BOX_HOME" in refused.stderr
    assert "StorageError" in elsewhere.stderr
