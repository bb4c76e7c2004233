"""``mlops-box edge``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table
from mlops_box.cli.edge_devices import devices_group, import_command, pull_command

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
    from mlops_box.cli.edge_text import export_text
    from mlops_box.edge.targets import find_target
    from mlops_box.operations.edge.export import ExportRequest, export_bundle
    from mlops_box.progress import TerminalProgress

    request = ExportRequest(find_target(target), model_only=model_only, int8=int8, slim=slim)
    with open_box(home) as box, TerminalProgress() as progress:
        report = export_bundle(box, ref, request, out=out, progress=progress)
    emit(report.to_dict(), as_json=as_json, text=lambda: export_text(report))


@command.command("inspect", short_help="What a bundle says of itself.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", "keys", multiple=True, help=_KEY_HELP)
@home_option
@json_option
def inspect(file: Path, keys: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """What a bundle says of itself, and whether that is verified; nothing is extracted or run."""
    from mlops_box.cli.edge_text import facts_text
    from mlops_box.operations.edge.bundle import inspect_bundle

    facts = inspect_bundle(file, trusted=_trusted(keys, home))
    emit(facts.to_dict(), as_json=as_json, text=lambda: facts_text(facts))


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
    from mlops_box.cli.edge_text import simulation_text
    from mlops_box.operations.edge.simulate import simulate_bundle
    from mlops_box.progress import TerminalProgress

    trusted = _trusted(keys, home)
    with TerminalProgress() as progress:
        done = simulate_bundle(file, trusted=trusted, base=base, progress=progress)
    emit(done.to_dict(), as_json=as_json, text=lambda: simulation_text(done))
    if not done.is_good:
        raise click.exceptions.Exit(1)


@command.group("keys", short_help="The keys that bundles are signed with.")
def keys_group() -> None:
    """The keys that bundles are signed with."""


@keys_group.command("show", short_help="The public keys.")
@home_option
@json_option
def show_keys_command(home: Path | None, as_json: bool) -> None:
    """The public key, for those who verify bundles; the old ones that still sign along; those revoked."""
    from mlops_box.cli.edge_text import keys_text
    from mlops_box.operations.edge.keys import show_keys

    with open_box(home) as box:
        facts = show_keys(box)
    emit(facts.to_dict(), as_json=as_json, text=lambda: keys_text(facts))


@keys_group.command("rotate", short_help="Sign with a new key.")
@home_option
@json_option
def rotate(home: Path | None, as_json: bool) -> None:
    """Sign with a new key; the old one signs along, so that devices which trust it take over the new one.

    Once every device has had a bundle since, revoke the old key.
    """
    from mlops_box.cli.edge_text import keys_text
    from mlops_box.operations.edge.keys import rotate_key

    with open_box(home) as box:
        facts = rotate_key(box)
    emit(facts.to_dict(), as_json=as_json, text=lambda: keys_text(facts))


@keys_group.command("revoke", short_help="Trust a key no more.")
@click.argument("key_id")
@click.option("--reason", required=True, help="Why; it is written to the ledger.")
@home_option
@json_option
def revoke(key_id: str, reason: str, home: Path | None, as_json: bool) -> None:
    """Tell devices, in every later bundle, to trust a key no more; its private half is deleted.

    A device that trusts no other key must be given the new one by hand: mlops-edge keys.
    """
    from mlops_box.cli.edge_text import keys_text
    from mlops_box.operations.edge.keys import revoke_key

    with open_box(home) as box:
        facts = revoke_key(box, key_id, reason=reason)
    emit(facts.to_dict(), as_json=as_json, text=lambda: keys_text(facts))


for _found in (devices_group, import_command, pull_command):
    command.add_command(_found)
