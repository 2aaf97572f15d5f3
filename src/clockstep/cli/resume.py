"""`clockstep resume`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, policy, shared, ways


@click.command("resume", epilog=examples("resume node-1", "resume --all", "resume --all --mixed"))
@nodes
@click.option("--mixed", is_flag=True, help="Resume even after a revert that did not revert all of them.")
@policy
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, mixed: bool, **_options: Any
) -> int:
    """Resume nodes that clockstep has paused, all at once, and correct their clocks.

    --all selects all that clockstep has paused. What others have paused is left alone.
    """
    from clockstep.cli.exits import of_set
    from clockstep.cli.session import asked, held, kept, opened, policy_of, printed, progress
    from clockstep.flows.pause import resume
    from clockstep.render.text import set_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        report = resume(world, held(world, wanted), policy_of(context, wanted), mixed=mixed)
    printed(context, report, set_page)
    kept("resume", report.episodes, report.freezes)
    return of_set(report)
