"""What a worker is told on its command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Membership:
    """Which worker this is and how it reaches its doorkeeper.

    Attributes:
        number: From 1; a successor takes the number of the worker it replaces.
        control: Descriptor of the line for messages.
        door: Descriptor that connections come through.
        parent: The doorkeeper's process.
    """

    number: int
    control: int
    door: int
    parent: int

    def to_text(self) -> str:
        return f"{self.number}:{self.control}:{self.door}:{self.parent}"

    @staticmethod
    def parse(text: str) -> Membership:
        return Membership(*map(int, text.split(":")))
