"""``mlops-box models``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table

if TYPE_CHECKING:
    from mlops_box.models.values import ModelVersion
    from mlops_box.operations.calibration import Calibration


@click.group("models", short_help="Model versions, aliases, gates and cards.")
def command() -> None:
    """Model versions, aliases, gates and cards.

    A REF is a model's name (its champion), name@7, or name@alias.
    """


@command.command("list", short_help="Versions, newest first.")
@click.option("--model", help="Only versions of this model.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@home_option
@json_option
def list_command(model: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """Versions of one model or of all, newest first."""
    with open_box(home, read_only=True) as box:
        versions = box.models.list(model, limit=limit)
        aliases = {name: box.models.aliases(name) for name in {version.model for version in versions}}
    emit(
        [_facts(version, aliases[version.model]) for version in versions],
        as_json=as_json,
        text=lambda: table(
            ["VERSION", "STATE", "ALIASES", "METRIC", "GATES", "TRAINED", "BY", "RUN"],
            [_line(version, aliases[version.model]) for version in versions],
            empty="there is no version yet; mlops-box train makes one",
        ),
    )


@command.command("show", short_help="One version whole.")
@click.argument("ref")
@home_option
@json_option
def show(ref: str, home: Path | None, as_json: bool) -> None:
    """One version: metrics beside the champion's of its day, gates, calibration, features, lineage, files."""
    from mlops_box.operations.calibration import stored_calibration
    from mlops_box.operations.train_files import stored_comparison

    with open_box(home, read_only=True) as box:
        version = box.models.get(ref)
        aliases = box.models.aliases(version.model)
        compared = stored_comparison(box, version)
        calibration = stored_calibration(box, version.files)
    champion = asdict(compared) if compared else None
    emit(
        _facts(version, aliases) | {"compared_with": champion, "calibration": calibration.to_dict()},
        as_json=as_json,
        text=lambda: _show_text(version, aliases, champion, calibration),
    )


@command.command("card", short_help="Write the model card.")
@click.argument("ref")
@click.option("--out", type=click.Path(path_type=Path), help="The file [default: MODEL-N-card.html].")
@home_option
@json_option
def card(ref: str, out: Path | None, home: Path | None, as_json: bool) -> None:
    """Write the model card: one HTML file with metrics, plots, slices, data, lineage and gates."""
    from mlops_box.files import write_whole
    from mlops_box.models.values import CARD_FILE

    with open_box(home, read_only=True) as box:
        version = box.models.get(ref)
        data = box.models.file(version, CARD_FILE)
    target = (out or Path(f"{version.model}-{version.number}-card.html")).absolute()
    write_whole(target, data)
    emit(
        {"version": version.ref, "file": str(target), "size_bytes": len(data)},
        as_json=as_json,
        text=f"the card of {version.ref} is in {target}",
    )


@command.command("aliases", short_help="The aliases of a model.")
@click.argument("model")
@home_option
@json_option
def aliases_command(model: str, home: Path | None, as_json: bool) -> None:
    """The aliases of a model: champion is what serves, last_good what served before."""
    from mlops_box.errors import NotFoundError
    from mlops_box.ids import check_name

    check_name(model, what="model name")
    with open_box(home, read_only=True) as box:
        found = box.models.aliases(model)
        if not found and model not in box.models.models():
            raise NotFoundError(f"there is no model {model!r}", hint="mlops-box models list")
    emit(
        found,
        as_json=as_json,
        text=lambda: table(
            ["ALIAS", "VERSION"],
            [(alias, f"{model}@{number}") for alias, number in found.items()],
            empty=f"{model} has no alias yet: no version passed its gates",
        ),
    )


@command.command("promote", short_help="Make a version the champion.")
@click.argument("ref")
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@home_option
@json_option
def promote_command(ref: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Make an accepted version the champion; a running server answers with it within a second."""
    from mlops_box.operations.promote import promote

    with open_box(home) as box:
        outcome = promote(box, ref, reason=reason)
    instead = f", instead of {outcome.before}" if outcome.before not in (None, outcome.version.ref) else ""
    emit(
        outcome.to_dict(),
        as_json=as_json,
        text=f"{outcome.version.ref} is the champion now{instead}\n"
        f"to undo: mlops-box rollback {outcome.version.model} --reason ...",
    )


@command.command("approve", short_help="Say yes to a version that waits for it.")
@click.argument("ref")
@click.option("--reason", required=True, help="What was looked at; it stands in the ledger.")
@click.option("--break-glass", is_flag=True, help="Approve a version of one's own, in an emergency.")
@home_option
@json_option
def approve_command(ref: str, reason: str, break_glass: bool, home: Path | None, as_json: bool) -> None:
    """Say yes to a version whose project declares [gates] approval = "required"; it then goes on to serve.

    The approval is bound to the version's digest and to the report of its gates, and expires. Who trained it by hand
    cannot approve it.
    """
    from mlops_box.operations.approve import approve

    with open_box(home) as box:
        outcome = approve(box, ref, reason=reason, break_glass=break_glass)
    approval = outcome.approval
    followed = outcome.note or "it is the champion now"
    emit(
        outcome.to_dict(),
        as_json=as_json,
        text=f"{approval.ref} is approved by {approval.approved_by} ({approval.kind}): {followed}",
    )


@command.command("diff", short_help="What differs between two versions.")
@click.argument("a")
@click.argument("b")
@home_option
@json_option
def diff(a: str, b: str, home: Path | None, as_json: bool) -> None:
    """What differs between two versions: metrics, gates, slices, data, answers, features, environment, lineage."""
    from mlops_box.cli.version_text import diff_text
    from mlops_box.operations.compare_versions import compare_versions

    with open_box(home, read_only=True) as box:
        found = compare_versions(box, a, b)
    emit(found.to_dict(), as_json=as_json, text=lambda: diff_text(found))


@command.command("export", short_help="Write a version as plain files.")
@click.argument("ref")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A folder that does not exist yet."
)
@home_option
@json_option
def export(ref: str, out: Path, home: Path | None, as_json: bool) -> None:
    """Write a version as plain files: the ONNX model, its signature, golden rows, card, and an MLflow description."""
    from mlops_box.operations.export_model import export_model

    with open_box(home) as box:
        outcome = export_model(box, ref, folder=out)
    emit(
        outcome.to_dict(),
        as_json=as_json,
        text=f"{outcome.version.ref} is in {outcome.folder}: {', '.join(outcome.files)}",
    )


@command.command("delete", short_help="Delete a version that never did anything.")
@click.argument("ref")
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@click.option("--confirm", required=True, metavar="REF", help="The version again, as NAME@NUMBER.")
@home_option
@json_option
def delete_command(ref: str, reason: str, confirm: str, home: Path | None, as_json: bool) -> None:
    """Delete a version that never served, with the files that only it has; its ledger entries stay.

    What an alias, a rollout, a window, an approval or a device refers to stays, and so does a model's newest version.
    """
    from mlops_box.errors import UsageError
    from mlops_box.operations.delete_version import delete_version
    from mlops_box.units import format_size

    with open_box(home) as box:
        version = box.models.get(ref)
        if confirm != version.ref:
            raise UsageError(f"--confirm {confirm!r} is not {version.ref}", hint=f"--confirm {version.ref}")
        gone = delete_version(box, version.ref, reason=reason)
    emit(
        gone.to_dict(),
        as_json=as_json,
        text=f"{version.ref} is gone, and {format_size(gone.size_bytes)} that only it had",
    )


def _facts(version: ModelVersion, aliases: dict[str, int]) -> dict[str, Any]:
    from mlops_box.clock import isoformat

    return {
        "version": version.ref,
        "model": version.model,
        "number": version.number,
        "state": version.state,
        "aliases": _aliases_of(version, aliases),
        "task": version.task,
        "metrics": version.metrics,
        "gates": [asdict(gate) for gate in version.gates],
        "signature": asdict(version.signature),
        "snapshot_id": version.snapshot_id,
        "run_id": version.run_id,
        "created_at": isoformat(version.created_at),
        "created_by": version.created_by,
        "digest": version.digest,
        "files": version.files,
        "lineage": version.lineage,
    }


def _aliases_of(version: ModelVersion, aliases: dict[str, int]) -> list[str]:
    return [alias for alias, number in aliases.items() if number == version.number]


def _line(version: ModelVersion, aliases: dict[str, int]) -> tuple[object, ...]:
    from mlops_box.evaluation.metrics import METRICS

    name = next((name for name in METRICS[version.task] if name in version.metrics), None)
    judged = [gate for gate in version.gates if gate.passed is not None]
    return (
        version.ref,
        version.state,
        " ".join(_aliases_of(version, aliases)) or None,
        f"{name} {version.metrics[name]:.4g}" if name else None,
        f"{sum(gate.passed is True for gate in judged)}/{len(version.gates)}",
        version.created_at.strftime("%Y-%m-%d %H:%M:%S"),
        version.created_by,
        version.run_id,
    )


def _show_text(
    version: ModelVersion,
    aliases: dict[str, int],
    champion: dict[str, Any] | None,
    calibration: Calibration,
) -> str:
    from mlops_box.cli.version_text import calibration_text, gates_text, metrics_text

    names = _aliases_of(version, aliases)
    lineage = version.lineage
    git = lineage.get("git") or {}
    commit = f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}" if git else "none"
    return "\n\n".join(
        [
            click.style(f"{version.ref}: {version.state}", bold=True)
            + (f" ({', '.join(names)})" if names else ""),
            f"  predicts  {version.signature.target} ({version.task})\n"
            f"  trained   {version.created_at:%Y-%m-%d %H:%M:%S} UTC by {version.created_by}, run {version.run_id}\n"
            f"  data      snapshot {version.snapshot_id[:16]}, {lineage.get('rows_train')} rows to train, "
            f"{lineage.get('rows_test')} held out\n"
            f"  code      {lineage.get('train')}, git {commit}, seed {lineage.get('seed')}",
            metrics_text(version.metrics, champion),
            "gates\n" + gates_text([asdict(gate) for gate in version.gates]),
            "calibration\n" + calibration_text(calibration),
            table(
                ["FEATURE", "KIND", "TYPE"],
                [(feature.name, feature.kind, feature.type) for feature in version.signature.features],
                empty="no features",
            ),
            table(["FILE", "SHA-256"], sorted(version.files.items()), empty="no files"),
            f"next\n  mlops-box models card {version.ref}\n  mlops-box why {version.ref}",
        ]
    )
