"""`clockstep lab`: everything after it is the lab's own command line, which is a program of its own."""

import os
import sys

import click

from clockstep.host.zipped import refuse_zip


@click.command(
    "lab", add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run real VMs on this host, to try clockstep with."""
    refuse_zip("the lab")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "clockstep_lab", *arguments])
