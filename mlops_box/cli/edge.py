"""``mlops-box edge``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box


@click.group(short_help="Signed bundles that carry a model to a device.")
def command() -> None:
    """Signed bundles that carry a model to a device."""


@command.command()
@click.argument("ref")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file [default: MODEL-N.mbx]."
)
@home_option
@json_option
def export(ref: str, out: Path | None, home: Path | None, as_json: bool) -> None:
    """Write a signed bundle of a model version (name, name@7, name@champion)."""
    from mlops_box.operations.edge.bundle import export_bundle
    from mlops_box.units import format_size

    with open_box(home) as box:
        version = box.models.get(ref)
        report = export_bundle(
            box, ref, target=(out or Path(f"{version.model}-{version.number}.mbx")).absolute()
        )
    text = f"{report.path.name}: {version.ref}, {len(report.manifest.files)} files, {format_size(report.size_bytes)}, signed by {report.key}"
    emit(report.to_dict(), as_json=as_json, text=text)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", help="The trusted public key, 64 hex digits [default: this box's own].")
@home_option
@json_option
def verify(file: Path, key: str | None, home: Path | None, as_json: bool) -> None:
    """Check a bundle's signature and files, and let its model answer the golden rows."""
    from mlops_box.operations.edge.bundle import box_public_key, read_key, verify_bundle

    if key is not None:
        trusted = read_key(key)
    else:
        with open_box(home) as box:
            trusted = box_public_key(box)
    report = verify_bundle(file, trusted=trusted)
    emit(
        report.to_dict(),
        as_json=as_json,
        text=f"{file.name}: whole, signed by {report.key}, its model answers its golden rows",
    )


@command.command()
@home_option
@json_option
def key(home: Path | None, as_json: bool) -> None:
    """Print this box's public key, for those who verify its bundles."""
    from mlops_box.operations.edge.bundle import box_public_key

    with open_box(home) as box:
        public = box_public_key(box).hex()
    emit({"public_key": public}, as_json=as_json, text=public)
