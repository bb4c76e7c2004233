"""Progress as a seam: operations report, faces decide how it looks."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol, Self


class Progress(Protocol):
    """Told what is being done; steps may lie within steps."""

    def begin(self, step: str, *, total: int | None = None) -> None:
        """A step starts; ``total`` is its amount of work, ``None`` when unknown."""
        ...

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """``amount`` more of the current step is done; ``note`` is shown beside the bar."""
        ...

    def end(self) -> None:
        """The current step is over."""
        ...


class SilentProgress:
    """Shows nothing."""

    def begin(self, step: str, *, total: int | None = None) -> None: ...

    def advance(self, amount: int = 1, *, note: str = "") -> None: ...

    def end(self) -> None: ...


class TerminalProgress:
    """Bars with elapsed time and ETA on standard error; plain lines where it is no terminal.

    A context manager: the bars are cleared when it exits.
    """

    def __init__(self) -> None:
        self._bars: Any = None
        # A step may have steps of its own: the innermost is the one that advances.
        self._tasks: list[Any] = []

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        if console.is_terminal:
            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description:<28}", markup=False),
                BarColumn(bar_width=28),
                TextColumn("{task.fields[note]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def begin(self, step: str, *, total: int | None = None) -> None:
        if self._bars is None:
            sys.stderr.write(f"… {step}\n")
            return
        self._tasks.append(self._bars.add_task(step, total=total, note=""))

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        if self._bars is not None and self._tasks:
            self._bars.update(self._tasks[-1], advance=amount, note=note)

    def end(self) -> None:
        if self._bars is not None and self._tasks:
            self._bars.remove_task(self._tasks.pop())
