"""The one error of the agent that people see."""

from __future__ import annotations


class Refused(Exception):
    """What was asked for is not done, and nothing was changed.

    Args:
        message: What is wrong, and where.
        hint: What to do next.
        rule: A stable name of the rule that was broken, such as ``signature.foreign-key``.
    """

    def __init__(self, message: str, hint: str = "", rule: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.rule = rule
