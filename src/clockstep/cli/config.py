"""`clockstep config`."""

from typing import Any

import click

from clockstep.cli.context import option
from clockstep.cli.options import between, examples, shared


@click.group("config")
@between
def command(**_options: Any) -> None:
    """Show the configuration."""


@command.command("show", epilog=examples("config show", "config show -o json", "config show -C /srv/shop"))
@shared
@click.pass_context
def show(context: click.Context, /, **_options: Any) -> int:
    """Show which configuration file is used, why, and what it says.

    The first of these counts: --config, CLOCKSTEP_CONFIG, clockstep.toml in the current folder or the nearest folder
    above it, the Vagrant project's, ~/.config/clockstep/config.toml, /etc/clockstep/config.toml.
    """
    from clockstep import config
    from clockstep.cli.session import current_project, printed, searched
    from clockstep.render.text import config_page

    printed(context, config.show(searched(context, current_project()), option(context, "cluster")), config_page)
    return 0
