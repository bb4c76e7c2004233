"""Who answers a request: the same key always gets the same version, and stays with the candidate as its share grows."""

from __future__ import annotations

from hashlib import blake2b

_SPAN = 2**64


class Assignment:
    """Assigns keys to the candidate with a probability of ``percent``.

    A key's place between 0 and 1 is a hash of key and salt (BLAKE2b), so it is uniform whatever the keys look like, does not
    depend on the process, and differs from rollout to rollout: nobody is always the first to get what is new.

    >>> five, quarter = Assignment("rollout-1", 5), Assignment("rollout-1", 25)
    >>> keys = [b"customer-%d" % number for number in range(10_000)]
    >>> chosen = [key for key in keys if five.is_candidate(key)]
    >>> 400 < len(chosen) < 600, all(quarter.is_candidate(key) for key in chosen)
    (True, True)
    """

    __slots__ = ("_limit", "_salt")

    def __init__(self, salt: str, percent: int):
        self._salt = blake2b(salt.encode(), digest_size=16).digest()
        self._limit = _SPAN * percent // 100

    def is_candidate(self, key: bytes) -> bool:
        digest = blake2b(key, digest_size=8, salt=self._salt).digest()
        return int.from_bytes(digest, "big") < self._limit
