"""`clockstep resume`."""

from typing import Any

import click

from clockstep.cli.options import examples, nodes, policy, shared, ways


@click.command("resume", epilog=examples("resume node-1", "resume --all", "resume --all --mixed"))
@nodes
@click.option("--mixed", is_flag=True, help="Also after a revert that did not put all of them back.")
@policy
@ways
@shared
@click.pass_context
def command(
    context: click.Context, /, names: tuple[str, ...], *, everything: bool, mixed: bool, **_options: Any
) -> int:
    """Resume nodes that clockstep has paused, at once, and bring their clocks right.

    --all means all that clockstep has paused. What others have paused is not touched.
    """
    from clockstep.cli.session import asked, code_of_set, held, kept, opened, policy_of, printed
    from clockstep.flows.pause import resume
    from clockstep.render.output import Story
    from clockstep.render.text import set_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        report = resume(world, held(world, wanted), policy_of(context, wanted), mixed=mixed)
    printed(context, report, set_page)
    kept("resume", report.episodes)
    return code_of_set(report)
