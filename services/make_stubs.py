"""Make the Python of ``mlops_box_services/stubs/*.proto``; ``just stubs`` runs it, a test holds the files current.

Usage: python services/make_stubs.py [--check]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
STUBS = Path("mlops_box_services/stubs")
# A pool of our own: an application may have other stubs of the same protocol in the same process (Triton's client
# brings some), and one pool knows a name only once.
SHARED_POOL = "_descriptor_pool.Default()"
OWN_POOL = "_descriptor_pool.DescriptorPool()"


def made() -> dict[Path, str]:
    """Every generated file, by its path under ``services/``."""
    with tempfile.TemporaryDirectory() as folder:
        protos = [str(path.relative_to(ROOT)) for path in sorted((ROOT / STUBS).glob("*.proto"))]
        outputs = [f"--{kind}={folder}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
        if protoc.main(["protoc", f"-I{ROOT}", *outputs, *protos]):
            sys.exit("protoc failed")
        found = {}
        for path in sorted((Path(folder) / STUBS).iterdir()):
            text = path.read_text(encoding="utf-8")
            if path.name.endswith("_pb2.py"):
                assert text.count(SHARED_POOL) == 1, path.name
                text = text.replace(SHARED_POOL, OWN_POOL)
            found[STUBS / path.name] = text
        return found


def main() -> None:
    stale = {
        path: text
        for path, text in made().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    }
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"not current: {', '.join(map(str, stale))}; run `just stubs`")
    for path, text in stale.items():
        (ROOT / path).write_text(text, encoding="utf-8")
        sys.stdout.write(f"services/{path}\n")


if __name__ == "__main__":
    main()
