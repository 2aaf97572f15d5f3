"""The `clockstep` command itself: its commands are imported when they are called."""

import importlib

import click

from clockstep import __version__
from clockstep.cli.options import shared

COMMANDS = {
    "nodes": "clockstep.cli.nodes",
    "status": "clockstep.cli.status",
    "step": "clockstep.cli.step",
    "wait": "clockstep.cli.wait",
    "doctor": "clockstep.cli.doctor",
    "aftermath": "clockstep.cli.aftermath",
    "setup": "clockstep.cli.setup",
    "domain": "clockstep.cli.domain",
    "snapshot": "clockstep.cli.snapshot",
    "revert": "clockstep.cli.revert",
    "watch": "clockstep.cli.watch",
    "agent": "clockstep.cli.agent",
    "history": "clockstep.cli.history",
    "service": "clockstep.cli.service",
    "kubernetes": "clockstep.cli.kubernetes",
    "pause": "clockstep.cli.pause",
    "resume": "clockstep.cli.resume",
    "thaw": "clockstep.cli.thaw",
    "config": "clockstep.cli.config",
    "lab": "clockstep.cli.lab",
    "schema": "clockstep.cli.schema",
    "completion": "clockstep.cli.completion",
}


class Root(click.Group):
    """A group that reads its commands from the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command; each module names it `command`."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="clockstep", message="%(prog)s %(version)s")
@shared
def root(**_options: object) -> None:
    """Correct the clocks of a group of VMs and verify the result.

    Commands that change a VM need an explicit target: node names, a cluster in clockstep.toml, the current Vagrant
    project, or --all.
    """
