"""``mlops-box schema``."""

from __future__ import annotations

import json

import click

from mlops_box.cli.common import json_option


@click.command("schema", short_help="Print the JSON Schema of mlops.toml.")
@json_option
def command(as_json: bool) -> None:
    """Print the JSON Schema of mlops.toml, for editors and other programs.

    Made from the model that validates the file. For Taplo or VS Code, put `#:schema mlops.schema.json` on the first
    line of mlops.toml. With --json it is one line.
    """
    from mlops_box.project import json_schema

    click.echo(json.dumps(json_schema(), indent=None if as_json else 2, ensure_ascii=False))
