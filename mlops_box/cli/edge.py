"""``mlops-box edge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table

if TYPE_CHECKING:
    from mlops_box.operations.edge.bundle import BundleFacts
    from mlops_box.operations.edge.export import ExportReport
    from mlops_box.operations.edge.keys import KeyFacts
    from mlops_box.operations.edge.simulate import Simulation


_KEY_HELP = "A trusted public key, 64 hex digits [default: this box's own]."


@click.group(short_help="Signed bundles that carry a model to a device.")
def command() -> None:
    """Signed bundles that carry a model to a device."""


@command.command("targets", short_help="The kinds of device there are bundles for.")
@home_option
@json_option
def targets_command(home: Path | None, as_json: bool) -> None:
    """The kinds of device there are bundles for, with the runtime each gets."""
    from mlops_box.operations.edge.targets import list_targets
    from mlops_box.units import format_size

    with open_box(home) as box:
        found = list_targets(box)
    emit(
        found,
        as_json=as_json,
        text=lambda: table(
            ["TARGET", "ARCH", "PYTHON", "GLIBC", "NUMPY", "ONNXRUNTIME", "WHEELS", "CACHED"],
            [
                (
                    item["target"], item["arch"], item["python"], f">= {item['glibc_min']}", item["wheels"]["numpy"],
                    item["wheels"]["onnxruntime"], format_size(item["size_bytes"]), "yes" if item["cached"] else "no",
                )
                for item in found
            ],
            empty="there is none",
        ),
    )  # fmt: skip


@command.command("export", short_help="Write a signed bundle of a version.")
@click.argument("ref")
@click.option("--target", required=True, help="The kind of device: mlops-box edge targets.")
@click.option("--model-only", is_flag=True, help="Without runtime and wheels: the device has them already.")
@click.option(
    "--int8", type=click.Choice(["auto", "off"]), default="off", show_default=True,
    help="auto: int8 where it is smaller, faster here and as good on the held-out rows.",
)  # fmt: skip
@click.option("--slim", is_flag=True, help="Wheels without what a device never runs.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file [default: MODEL-N-TARGET.mbx]."
)
@home_option
@json_option
def export(
    ref: str, target: str, model_only: bool, int8: Literal["auto", "off"], slim: bool, out: Path | None,
    home: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Write a signed bundle of a model version (name, name@7, name@champion).

    The same version, declaration and keys always give the same bytes. Wheels are fetched by pip once and kept; with them
    there, no network is needed.
    """
    from mlops_box.edge.targets import find_target
    from mlops_box.operations.edge.export import ExportRequest, export_bundle
    from mlops_box.progress import TerminalProgress

    request = ExportRequest(find_target(target), model_only=model_only, int8=int8, slim=slim)
    with open_box(home) as box, TerminalProgress() as progress:
        report = export_bundle(box, ref, request, out=out, progress=progress)
    emit(report.to_dict(), as_json=as_json, text=lambda: _export_text(report))


def _export_text(report: ExportReport) -> str:
    from mlops_box.units import format_size

    parts = [f"{name} {format_size(size)}" for name, size in report.sizes.items() if size and name != "whole"]
    parity = report.parity
    lines = [
        f"{report.path}: {report.version} for {report.request.target.name}, {report.request.kind}, "
        f"{format_size(report.sizes['whole'])} ({', '.join(parts)})",
        f"signed by {', '.join(report.key_ids)}; sha256 {report.sha256[:16]}",
        f"parity: largest difference {parity['max_abs_difference']:.2g} on {parity['rows']} rows",
    ]
    if report.int8 is not None:
        lines.append(f"{report.precision}: {report.int8.reason}")
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


@command.command("inspect", short_help="What a bundle says of itself.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "keys", multiple=True, help=_KEY_HELP)
@home_option
@json_option
def inspect(file: Path, keys: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """What a bundle says of itself, and whether that is verified; nothing is extracted or run."""
    from mlops_box.operations.edge.bundle import inspect_bundle

    facts = inspect_bundle(file, trusted=_trusted(keys, home))
    emit(facts.to_dict(), as_json=as_json, text=lambda: _facts_text(facts))


@command.command("verify", short_help="Check a bundle, down to its model's answers.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "keys", multiple=True, help=_KEY_HELP)
@home_option
@json_option
def verify(file: Path, keys: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Check a bundle's signature and every byte, and let its model answer the golden rows."""
    from mlops_box.operations.edge.bundle import verify_bundle

    facts = verify_bundle(file, trusted=_trusted(keys, home))
    emit(
        facts.to_dict(),
        as_json=as_json,
        text=f"{file.name}: {facts.version}, whole, signed by {facts.verified_by}, its model answers its golden rows",
    )


def _trusted(keys: tuple[str, ...], home: Path | None) -> dict[str, bytes]:
    from mlops_box.operations.edge.bundle import box_keys, given_keys

    if keys:
        return given_keys(keys)
    with open_box(home) as box:
        return box_keys(box)


def _facts_text(facts: BundleFacts) -> str:
    from mlops_box.units import format_size

    if facts.verified_by is not None:
        trust = f"verified: every byte is under the signature of {facts.verified_by}"
    else:
        trust = f"NOT VERIFIED: it says it is signed by {', '.join(facts.signers) or 'nobody'}, which is not trusted here"
    lines = [
        f"{facts.path.name}: {facts.version}, {facts.kind}, format {facts.format}, {format_size(facts.size_bytes)}",
        trust,
        f"  for       {facts.target or 'no device (an old format)'}",
        f"  task      {facts.task}, {facts.precision}",
        f"  version   {facts.version_digest[:16]}",
        f"  snapshot  {facts.snapshot_id[:16]}",
        f"  epoch     {facts.epoch}",
    ]
    if facts.onnx:
        lines.append("  runtime   " + ", ".join(f"{name} {value}" for name, value in facts.onnx.items()))
    lines += [f"  layer     {name} {digest[:16]}" for name, digest in (facts.layers or {}).items()]
    files = table(
        ["FILE", "SIZE"], [(name, format_size(size)) for name, size in facts.files.items()], empty=""
    )
    return "\n".join([*lines, "", files])


@command.command("simulate", short_help="Install and run a bundle in a clean place, and measure.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--base", type=click.Path(path_type=Path), help="For a model-only bundle: the full one before it."
)
@click.option("--key", "keys", multiple=True, help=_KEY_HELP)
@home_option
@json_option
def simulate(file: Path, base: Path | None, keys: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Install and run a bundle as a device would: a clean folder, an empty environment, no network.

    Prints its size, the time from start to first answer, memory and latency as measured here. Exit code 1: the device
    would not have taken it, for example because it answers its golden rows otherwise.
    """
    from mlops_box.operations.edge.simulate import simulate_bundle
    from mlops_box.progress import TerminalProgress

    trusted = _trusted(keys, home)
    with TerminalProgress() as progress:
        done = simulate_bundle(file, trusted=trusted, base=base, progress=progress)
    emit(done.to_dict(), as_json=as_json, text=lambda: _simulation_text(done))
    if not done.is_good:
        raise click.exceptions.Exit(1)


def _simulation_text(done: Simulation) -> str:
    from mlops_box.units import format_duration, format_size

    network = (
        "no network" if done.isolated else "network NOT cut off: this user may make no network namespace"
    )
    lines = [f"{done.version} on Python {done.python}, {network}"]
    shown: list[tuple[str, str | None]] = [
        ("bundle", format_size(done.bundle_bytes)),
        ("installed", done.installed_bytes and format_size(done.installed_bytes)),
        ("install", done.install_s and format_duration(done.install_s)),
        ("cold start", done.cold_start_s and f"{done.cold_start_s * 1000:.0f} ms from start to first answer"),
        ("memory", done.server_rss_bytes and f"{format_size(done.server_rss_bytes)} server RSS"),
        ("latency", done.p50_ms and f"p50 {done.p50_ms:.2f} ms, p99 {done.p99_ms:.2f} ms, {done.requests} requests"),
        ("confirmed", done.confirmed),
        ("update", done.updated_to and f"to {done.updated_to} in {format_duration(done.update_s or 0)}"
         f"{', without a restart' if done.in_place else ''}"),
        ("FAILED", done.failed),
    ]  # fmt: skip
    return "\n".join([*lines, *(f"  {name:<11}{value}" for name, value in shown if value)])


@command.group("keys", short_help="The keys that bundles are signed with.")
def keys_group() -> None:
    """The keys that bundles are signed with."""


@keys_group.command("show", short_help="The public keys.")
@home_option
@json_option
def show_keys_command(home: Path | None, as_json: bool) -> None:
    """The public key, for those who verify bundles; the old ones that still sign along; those revoked."""
    from mlops_box.operations.edge.keys import show_keys

    with open_box(home) as box:
        facts = show_keys(box)
    _emit_keys(facts, as_json=as_json)


@keys_group.command("rotate", short_help="Sign with a new key.")
@home_option
@json_option
def rotate(home: Path | None, as_json: bool) -> None:
    """Sign with a new key; the old one signs along, so that devices which trust it take over the new one.

    Once every device has had a bundle since, revoke the old key.
    """
    from mlops_box.operations.edge.keys import rotate_key

    with open_box(home) as box:
        facts = rotate_key(box)
    _emit_keys(facts, as_json=as_json)


@keys_group.command("revoke", short_help="Trust a key no more.")
@click.argument("key_id")
@click.option("--reason", required=True, help="Why; it is written to the ledger.")
@home_option
@json_option
def revoke(key_id: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Tell devices, in every later bundle, to trust a key no more; its private half is deleted.

    A device that trusts no other key must be given the new one by hand: mlops-edge keys.
    """
    from mlops_box.operations.edge.keys import revoke_key

    with open_box(home) as box:
        facts = revoke_key(box, key_id, reason=reason)
    _emit_keys(facts, as_json=as_json)


def _emit_keys(facts: KeyFacts, *, as_json: bool) -> None:
    def text() -> str:
        lines: list[tuple[str, Any]] = [
            ("key", facts.key_id), ("public", facts.public_key), ("ssh", facts.allowed_signer),
            *(("old", name) for name in facts.old), *(("revoked", name) for name in facts.revoked),
        ]  # fmt: skip
        return "\n".join(f"{name:<8}{value}" for name, value in lines)

    emit(facts.to_dict(), as_json=as_json, text=text)
