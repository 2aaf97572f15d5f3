"""`clockstep doctor`."""

import subprocess
from typing import Any

import click

from clockstep.cli.options import examples, looking, nodes, shared, ways

EXAMPLES = examples("doctor", "doctor 'node-*'", "doctor --cluster prod -o json")
HERE_S = 10


@click.command("doctor", epilog=EXAMPLES)
@nodes
@looking("10s")
@ways
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, **_options: Any) -> int:
    """List known causes of clock errors, present or after the next revert, worst first.

    Without NODE and without a configuration it examines every running node, and this host. Nothing is changed.
    """
    from clockstep.cli.exits import of_doctor
    from clockstep.cli.session import asked, opened, policy_of, printed, progress, selected
    from clockstep.flows.doctor import doctor
    from clockstep.host.timex import read_host_tai
    from clockstep.render.text import doctor_page

    with progress(context) as story:
        wanted = asked(context, names, everything=everything)
        world = opened(context, wanted, story.tell)
        guests = selected(world, wanted, changing=False)
        together = bool(wanted.names or wanted.cluster or wanted.project)
        report = doctor(world, guests, policy_of(context, wanted), _run_here, read_host_tai(), together=together)
    printed(context, report, doctor_page)
    return of_doctor(report)


def _run_here(script: str) -> Any:
    from clockstep.ports import Output

    try:
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False, timeout=HERE_S)
    except (OSError, subprocess.TimeoutExpired):
        return Output(1, "", "")
    return Output(done.returncode, done.stdout, done.stderr)
