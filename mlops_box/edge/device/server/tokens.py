"""``tokens.json``: who may call a server that can be reached from elsewhere.

``{"format": 1, "tokens": [{"id", "name", "digest", "scopes"}]}``, mode 0600: what a token is, and that only its digest is
kept, is told in :mod:`mlops_box.serving.bearer`.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from mlops_box.errors import IntegrityError
from mlops_box.serving.bearer import SCOPES, Token, new_token, read_token

from ..atomic import write_whole
from ..errors import Refused

FORMAT = 1


class FileTokens:
    """The tokens of a file, which may change while the server runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list(self) -> list[Token]:
        """All of them; none where there is no file.

        Raises:
            IntegrityError: The file is damaged, or others may read it.
        """
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_mode & 0o077:
                    raise IntegrityError(
                        f"{self._path} may be read by others", hint=f"chmod 600 {self._path}"
                    )
                raw = json.loads(file.read())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{self._path} cannot be read: {error}") from error
        try:
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']!r}")
            since = datetime.fromtimestamp(self._path.stat().st_mtime, timezone.utc)
            return [
                Token(
                    str(item["id"]), str(item["name"]), str(item["digest"]),
                    tuple(scope for scope in SCOPES if scope in item["scopes"]), since, "device", None, None,
                )
                for item in raw["tokens"]
            ]  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{self._path} is damaged: {error!r}") from error

    def data_version(self) -> int:
        """Another number where the file was replaced."""
        try:
            found = self._path.stat()
        except OSError:
            return 0
        return hash((found.st_mtime_ns, found.st_ino, found.st_size))

    def add(self, name: str) -> str:
        """Make a token for everything, and return its text, which is not to be had again.

        Raises:
            Refused: The name is in use, or the file is damaged.
        """
        try:
            tokens = self.list()
        except IntegrityError as error:
            raise Refused(error.message, hint=error.hint or "", rule="token.damaged") from None
        if name in [token.name for token in tokens]:
            raise Refused(f"there is a token {name} already", hint="choose another name", rule="token.name")
        text = new_token()
        id_, digest = read_token(text.encode()) or ("", "")
        kept = [
            {"id": token.id, "name": token.name, "digest": token.digest, "scopes": list(token.scopes)}
            for token in tokens
        ]
        kept.append({"id": id_, "name": name, "digest": digest, "scopes": list(SCOPES)})
        content = json.dumps({"format": FORMAT, "tokens": kept}, indent=1)
        write_whole(self._path, content.encode(), private=True)
        return text
