"""``keys.json``: whose bundles this device takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .atomic import locked, write_whole
from .dsse import key_id
from .errors import Refused
from .manifest import KeyChanges
from .place import Place
from .strict_json import canonical_json, parse_object


@dataclass(frozen=True)
class Keys:
    """Pinned public keys by id, and the ids that are trusted no more (for ever: a revoked key cannot be added)."""

    trusted: Mapping[str, bytes]
    revoked: tuple[str, ...] = ()

    def changed(self, changes: KeyChanges) -> Keys:
        """After ``changes``.

        Raises:
            Refused: A revoked key would be trusted again, or no key would be left.
        """
        revoked = tuple(sorted({*self.revoked, *changes.revoke}))
        back = sorted(set(changes.add) & set(self.revoked))
        if back:
            raise Refused(f"key {back[0]} was revoked", hint="make a new one", rule="keys.revoked")
        trusted = {name: key for name, key in {**self.trusted, **changes.add}.items() if name not in revoked}
        if not trusted:
            raise Refused("no trusted key would be left", hint="add the new key first", rule="keys.none-left")
        return replace(self, trusted=trusted, revoked=revoked)


def parse_public(text: str) -> bytes:
    """32 public bytes from 64 hex digits.

    Raises:
        Refused: They are not that.
    """
    try:
        public = bytes.fromhex(text.strip())
    except ValueError:
        public = b""
    if len(public) != 32:
        raise Refused(f"{text!r} is no public key: 64 hex digits are one", rule="keys.malformed")
    return public


def load_keys(place: Place) -> Keys:
    """The device's keys.

    Raises:
        Refused: There are none, or the file is damaged.
    """
    place.require()
    raw = parse_object(place.keys.read_bytes(), place.keys.name)
    try:
        trusted = {name: parse_public(text) for name, text in raw["trusted"].items()}
        keys = Keys(trusted, tuple(str(name) for name in raw["revoked"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{place.keys} is damaged: {error!r}", rule="keys.damaged") from error
    if any(key_id(public) != name for name, public in trusted.items()):
        raise Refused(f"{place.keys} is damaged: a key has another id", rule="keys.damaged")
    return keys


def save_keys(place: Place, keys: Keys) -> None:
    """Replace ``keys.json`` in one rename."""
    raw = {"trusted": {name: key.hex() for name, key in keys.trusted.items()}, "revoked": list(keys.revoked)}
    write_whole(place.keys, canonical_json(raw), private=True)


def change_keys(place: Place, changes: KeyChanges) -> Keys:
    """Trust and revoke keys; doing it twice is doing it once.

    Raises:
        Refused: See :meth:`Keys.changed`.
    """
    with locked(place.state_lock):
        old = load_keys(place)
        new = old.changed(changes)
        if new != old:
            save_keys(place, new)
        return new
