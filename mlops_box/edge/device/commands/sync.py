"""``mlops-edge sync``: see ``sync.py`` of the agent."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

from ..place import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _sync().add_arguments(parser)


def main(place: Place, options: argparse.Namespace) -> int:
    return int(_sync().main(place.require(), options))


def _sync() -> ModuleType:
    return importlib.import_module("..sync", __package__)
