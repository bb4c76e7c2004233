"""What a bundle's signature says: an in-toto Statement over every file, with SLSA provenance.

in-toto Statement v1 (in-toto.io/Statement/v1) and SLSA Provenance v1 (slsa.dev/provenance/v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_box.canonical import canonical_json

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:mlops-box:edge-bundle:2"


@dataclass(frozen=True)
class Provenance:
    """How a bundle came to be.

    Attributes:
        external: What a person asked for: model, number, target, kind.
        internal: What the training recorded: run_id, git_commit, seed.
        inputs: Name to SHA-256 of what it was made from.
        program: Which mlops-box built it.
    """

    external: Mapping[str, str | int]
    internal: Mapping[str, str | int | None]
    inputs: Mapping[str, str]
    program: str


def statement(digests: Mapping[str, str], provenance: Provenance) -> bytes:
    """The statement's canonical JSON.

    Args:
        digests: Every other member of the bundle and its SHA-256.
    """
    return canonical_json(
        {
            "_type": STATEMENT,
            "subject": [
                {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())
            ],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": provenance.external,
                    "internalParameters": provenance.internal,
                    "resolvedDependencies": [
                        {"name": name, "digest": {"sha256": digest}}
                        for name, digest in sorted(provenance.inputs.items())
                    ],
                },
                "runDetails": {"builder": {"id": f"pkg:pypi/{provenance.program}"}},
            },
        }
    ).encode()
