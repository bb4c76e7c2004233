"""``mlops-edge serve``."""

from __future__ import annotations

import argparse
import sys

from ..child import Address
from ..health import Patience
from ..place import Place
from ..supervise import serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    usual = Patience()
    parser.add_argument("--host", default="127.0.0.1", help="Where to listen (default 127.0.0.1).")
    parser.add_argument(
        "--port", type=int, default=8080, help="Port (default 8080; 0 lets the system choose)."
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="A name that clients call it by; beyond 127.0.0.1 a token is asked for: mlops-edge token.",
    )  # fmt: skip
    parser.add_argument(
        "--steady", type=float, default=usual.steady_s, metavar="SECONDS",
        help=f"A new version must be ready so long without a crash (default {usual.steady_s:g}).",
    )  # fmt: skip
    parser.add_argument(
        "--probation", type=float, default=usual.probation_s, metavar="SECONDS",
        help=f"With fewer than 200 predictions it is judged after so long (default {usual.probation_s:g}).",
    )  # fmt: skip


def main(place: Place, options: argparse.Namespace) -> int:
    patience = Patience(steady_s=options.steady, probation_s=options.probation)
    return serve(place, Address(options.host, options.port, tuple(options.allow_host)), patience, _tell)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
