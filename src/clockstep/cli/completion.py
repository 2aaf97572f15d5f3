"""`clockstep completion`, and what may stand where a node's name is typed."""

from contextlib import suppress

import click
from click.shell_completion import get_completion_class

VARIABLE = "_CLOCKSTEP_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, /, shell: str) -> None:
    """Print what makes a shell complete clockstep's commands, options and the names of nodes.

    \b
    bash, in ~/.bashrc:  eval "$(clockstep completion bash)"
    zsh, in ~/.zshrc:    eval "$(clockstep completion zsh)"
    fish:                clockstep completion fish > ~/.config/fish/completions/clockstep.fish
    """
    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(context.find_root().command, {}, "clockstep", VARIABLE).source())


def node_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the nodes that begin so; none where libvirt does not say."""
    from clockstep.cli.session import asked, opened
    from clockstep.errors import ClockstepError

    with suppress(ClockstepError):
        world = opened(context, asked(context), lambda _node, _text: None)
        names = [guest.names for guest in world.hypervisor.guests()]
        begin_so = [[name for name in known if name.startswith(incomplete)] for known in names]
        return [known[0] for known in begin_so if known]
    return []
