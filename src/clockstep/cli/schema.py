"""`clockstep schema`."""

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of everything that -o json prints."""
    from clockstep.render.schema import schema

    click.echo(schema())
