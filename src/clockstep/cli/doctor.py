"""`clockstep doctor`."""

import subprocess
from typing import Any

import click

from clockstep.cli.options import examples, looking, nodes, shared, ways

EXAMPLES = examples("doctor", "doctor 'node-*'", "doctor --cluster prod --json")
HERE_S = 10


@click.command("doctor", epilog=EXAMPLES)
@nodes
@looking("10 s")
@ways
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """Show every reason found why a clock is wrong, or will be after the next revert, worst first.

    Where nothing names nodes it looks at everything that runs, and at this machine. Nothing is changed.
    """
    from clockstep.cli.session import asked, code_of, opened, policy_of, printed, selected
    from clockstep.flows.doctor import doctor
    from clockstep.host.timex import read_host_tai
    from clockstep.render.output import Story
    from clockstep.render.text import doctor_page

    with Story() as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=False)
        together = bool(wanted.names or wanted.cluster or wanted.project)
        report = doctor(world, guests, policy_of(context, wanted), _run_here, read_host_tai(), together=together)
    printed(context, report, doctor_page)
    found = [*report.general, *(finding for one in report.nodes for finding in one.findings)]
    return code_of({finding.verdict for finding in found})


def _run_here(script: str) -> Any:
    from clockstep.ports import Output

    try:
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, timeout=HERE_S)
    except (OSError, subprocess.TimeoutExpired):
        return Output(1, "", "")
    return Output(done.returncode, done.stdout, done.stderr)
