"""The keys that bundles are signed with: one signs, those before it sign along until they are revoked.

A device that trusts the old key accepts a bundle signed by both and learns the new key from its manifest, which the old
one signed. Once all devices had such a bundle, the old key is revoked: its file is gone, and every later bundle tells
devices to trust it no more.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from mlops_box.edge.signing import KEY_FILE, key_id, new_key, public_key, read_private, signing_key
from mlops_box.errors import StorageError, UsageError
from mlops_box.files import sync_folder, write_whole

_REVOKED_FILE = "revoked.json"
_OLD = "signing-{}.key"


@dataclass(frozen=True)
class KeyChange:
    """What a bundle tells a device about keys.

    Attributes:
        add: Key id to public key in hex: to be trusted from now on.
        revoke: Key ids that are trusted no more.
    """

    add: dict[str, str]
    revoke: tuple[str, ...]


class KeyRing:
    """The keys of one box; every file is 0600 in a folder of mode 0700."""

    def __init__(self, folder: Path):
        self._folder = folder

    def current(self) -> bytes:
        """The private key that signs; made when there is none."""
        return signing_key(self._folder)

    def old(self) -> list[bytes]:
        """The private keys before it that are not revoked, in the order of their ids."""
        mine = key_id(public_key(self.current()))
        files = sorted(self._folder.glob(_OLD.format("*")))
        return [read_private(file) for file in files if file.name != _OLD.format(mine)]

    def signers(self) -> list[bytes]:
        """All that sign a bundle, the current one first."""
        return [self.current(), *self.old()]

    def revoked(self) -> tuple[str, ...]:
        """Ids of revoked keys, oldest first.

        Raises:
            StorageError: The list is damaged. It is never taken for empty: a revoked key would come back.
        """
        file = self._folder / _REVOKED_FILE
        try:
            return tuple(str(item) for item in json.loads(file.read_bytes())["revoked"])
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{file} is damaged", hint="restore it from a backup") from error

    def change(self) -> KeyChange:
        """What the next bundle tells devices; nothing where there was never another key."""
        revoked, public = self.revoked(), public_key(self.current())
        known = {key_id(public): public.hex()} if revoked or self.old() else {}
        return KeyChange(known, revoked)

    def rotate(self) -> str:
        """Make a new key the current one, keep the old one beside it; returns the new key's id.

        A crash in between leaves the old key current, and a copy of it, which counts for nothing.
        """
        before = self.current()
        kept = self._folder / _OLD.format(key_id(public_key(before)))
        if not kept.exists():
            os.link(self._folder / KEY_FILE, kept)
            sync_folder(self._folder)
        made = new_key()
        write_whole(self._folder / KEY_FILE, made, private=True)
        return key_id(public_key(made))

    def revoke(self, wanted: str) -> None:
        """Trust a key no more; again, it changes nothing.

        Raises:
            UsageError: It is the current one, or no key id.
        """
        if wanted == key_id(public_key(self.current())):
            raise UsageError(
                f"{wanted} signs the bundles: without it there is none",
                hint="mlops-box edge keys rotate first",
            )
        if len(wanted) != 16 or set(wanted) - set("0123456789abcdef"):
            raise UsageError(f"{wanted!r} is no key id", hint="16 hex digits: mlops-box edge keys show")
        known = self.revoked()
        if wanted not in known:
            data = json.dumps({"format": 1, "revoked": [*known, wanted]}).encode()
            write_whole(self._folder / _REVOKED_FILE, data, private=True)
        (self._folder / _OLD.format(wanted)).unlink(missing_ok=True)
        sync_folder(self._folder)
