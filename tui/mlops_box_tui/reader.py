"""All reading of the box happens in one thread, with one connection.

One connection, because ``PRAGMA data_version`` tells what *other* connections committed since this one last looked:
it has a meaning within one connection only. One thread, because a connection belongs to the thread that made it, and
because a slow query must hold up the next query, never a key press.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from mlops_box.box import Box
from mlops_box.errors import BoxError, IntegrityError

T = TypeVar("T")

# Whatever box.db says, ask again after this long: a run's owner may have died without a word.
MAX_AGE_S = 10.0


@dataclass(frozen=True)
class Seen:
    """What was answered last: to which question, at which state of the database, when."""

    question: Hashable
    version: int
    at_s: float


@dataclass(frozen=True)
class Fetched(Generic[T]):
    """A fresh answer."""

    value: T
    seen: Seen


class Reader:
    """Asks the box off the screen's thread."""

    def __init__(self, box: Box):
        self.box = box
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="box-reader")

    async def ask(self, question: Hashable, seen: Seen | None, read: Callable[[Box], T]) -> Fetched[T] | None:
        """Read, unless nothing was committed since the same question was answered; then ``None``.

        Raises:
            BoxError: As ``read`` does; :class:`IntegrityError` where what is stored cannot be read at all.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._ask, question, seen, read)

    def _ask(self, question: Hashable, seen: Seen | None, read: Callable[[Box], T]) -> Fetched[T] | None:
        now_s = self.box.clock.monotonic_s()
        # The version is read before the rows: a commit in between is then seen by the next poll, never missed.
        version = self.box.db.data_version()
        if (
            seen is not None
            and seen.question == question
            and seen.version == version
            and now_s - seen.at_s < MAX_AGE_S
        ):
            return None
        try:
            return Fetched(read(self.box), Seen(question, version, now_s))
        except BoxError:
            raise
        # A table that is gone, a value of another shape: whoever comes to see what is wrong must not lose the screen.
        except Exception as error:
            raise IntegrityError(
                f"what the box holds cannot be read: {type(error).__name__}: {error}", hint="mlops-box verify"
            ) from error

    def close(self) -> None:
        """Wait for the query under way, take no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
