"""`clockstep completion`."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_CLOCKSTEP_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, /, shell: str) -> None:
    """Print a script that makes a shell complete commands, options and node names.

    \b
    bash, in ~/.bashrc:  eval "$(clockstep completion bash)"
    zsh, in ~/.zshrc:    eval "$(clockstep completion zsh)"
    fish:                clockstep completion fish > ~/.config/fish/completions/clockstep.fish
    """
    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(context.find_root().command, {}, "clockstep", VARIABLE).source())
