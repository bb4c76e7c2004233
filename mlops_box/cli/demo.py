"""``mlops-box demo``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import json_option


@click.command(short_help="See the whole loop in a throw-away box.")
@click.option("--keep", is_flag=True, help="Keep the box and the project, and say where they are.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put them [default: a temporary folder].",
)
@json_option
def command(keep: bool, home: Path | None, as_json: bool) -> None:
    """See the whole loop in a throw-away box: real data, real processes, real HTTP.

    A dirty file is refused, a clean one becomes a snapshot, a model is trained, gated and served; traffic shifts, an
    alert opens, the policy retrains, the new champion answers. Everything shown is a command you can type yourself.
    """
    import tempfile

    from mlops_box.cli.demo_story import tell

    if home is not None:
        tell(home.absolute(), keep=True, as_json=as_json)
    elif keep:
        tell(Path(tempfile.mkdtemp(prefix="mlops-box-demo-")), keep=True, as_json=as_json)
    else:
        with tempfile.TemporaryDirectory(prefix="mlops-box-demo-") as folder:
            tell(Path(folder), keep=False, as_json=as_json)
