"""``mlops-edge token NAME``: a caller from another machine needs one."""

from __future__ import annotations

import argparse
import json

from ..place import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="Whose it is.")


def main(place: Place, options: argparse.Namespace) -> int:
    from ..server.tokens import FileTokens

    text = FileTokens(place.require().tokens).add(options.name)
    print(json.dumps({"name": options.name, "token": text}) if options.json else text)
    return 0
