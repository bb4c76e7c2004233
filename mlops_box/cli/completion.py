"""``mlops-box completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mlops_box.cli.common import emit, json_option

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print the shell completion script.")
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the shell completion script.

    \b
    bash  mlops-box completion bash >> ~/.bashrc
    zsh   mlops-box completion zsh >> ~/.zshrc
    fish  mlops-box completion fish > ~/.config/fish/completions/mlops-box.fish
    """
    from mlops_box.cli.main import command as root

    kind = get_completion_class(shell)
    assert kind is not None
    # Not `source()`: for bash that first starts a bash to look at its version.
    completion = kind(root, {}, "mlops-box", "_MLOPS_BOX_COMPLETE")
    script = completion.source_template % completion.source_vars()
    emit({"shell": shell, "script": script}, as_json=as_json, text=script)
