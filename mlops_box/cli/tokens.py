"""``mlops-box tokens``."""

from __future__ import annotations

from pathlib import Path

import click

from mlops_box.cli.common import emit, home_option, json_option, open_box, table

_SCOPES = ["predict", "feedback", "admin"]


@click.group("tokens", short_help="Who may call the server from elsewhere.")
def command() -> None:
    """Who may call the server from elsewhere.

    On the loopback interface no token is needed (unless with `up --require-token`); a server that listens wider asks
    for one on every path but /livez and /readyz. Changes count within a second, without a restart.
    """


@command.command("create", short_help="Make a token; its secret is shown once.")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(_SCOPES),
    help="What it allows; give several. None implies another.",
)  # fmt: skip
@click.option("--expires", metavar="DURATION", help="How long it is good: 90d [default: until revoked].")
@home_option
@json_option
def create(name: str, scopes: tuple[str, ...], expires: str | None, home: Path | None, as_json: bool) -> None:
    """Make a token; its secret is shown once.

    The box keeps only a hash of it. Whoever calls sends it as a header: Authorization: Bearer TOKEN.
    """
    from mlops_box.operations.tokens import create_token

    with open_box(home) as box:
        made = create_token(box, name, scopes, expires=expires)
        facts = made.token.to_dict(box.clock.now())
    until = f"until {facts['expires_at']}" if facts["expires_at"] else "until it is revoked"
    emit(
        facts | {"token": made.text},
        as_json=as_json,
        text=f"{made.text}\n\ntoken {name} ({', '.join(made.token.scopes)}), good {until}. "
        "It is shown only now: keep it where secrets are kept.",
    )


@command.command("list", short_help="All tokens, without their secrets.")
@home_option
@json_option
def list_command(home: Path | None, as_json: bool) -> None:
    """All tokens, newest first, without their secrets."""
    from mlops_box.operations.tokens import token_list

    with open_box(home, read_only=True) as box:
        found = token_list(box)
    emit(
        found,
        as_json=as_json,
        text=lambda: table(
            ["NAME", "ID", "STATE", "SCOPES", "CREATED", "BY", "EXPIRES"],
            [
                (t["name"], t["id"], t["state"], ", ".join(t["scopes"]), t["created_at"], t["created_by"], t["expires_at"])
                for t in found
            ],
            empty="no token; mlops-box tokens create makes one",
        ),
    )  # fmt: skip


@command.command("revoke", short_help="End a token.")
@click.argument("name")
@home_option
@json_option
def revoke(name: str, home: Path | None, as_json: bool) -> None:
    """End a token, named by its name or id; running servers know it within a second."""
    from mlops_box.operations.tokens import revoke_token

    with open_box(home) as box:
        token = revoke_token(box, name)
        facts = token.to_dict(box.clock.now())
    emit(facts, as_json=as_json, text=f"token {token.name} ({token.id}) is revoked")
