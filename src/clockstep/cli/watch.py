"""`clockstep watch`."""

import os
import signal
import sys
import threading
from contextlib import suppress
from hashlib import sha256
from typing import Any

import click

from clockstep.cli.options import Duration, examples, nodes, option, policy, shared, ways

EXAMPLES = examples("watch --all", "watch 'web-*' db --every 5s", "watch --cluster prod --json")


@click.command("watch", epilog=EXAMPLES)
@nodes
@click.option(
    "--every",
    type=Duration(),
    metavar="TIME",
    default="10s",
    show_default=True,
    help="How often all clocks are looked at.",
)
@policy
@ways
@shared
@click.pass_context
def command(context: click.Context, /, names: tuple[str, ...], *, everything: bool, every: int, **_options: Any) -> int:
    """Bring clocks right as soon as somebody reverts, resumes or restores a node, until interrupted.

    It listens to libvirt, and looks at every clock now and then for what no event told of. Nodes that are not chosen
    are looked at too, and never changed. What it does is printed, a line each; with --json an Episode a line.
    """
    from clockstep.cli.session import asked, opened, policy_of, said, selected
    from clockstep.core.selection import addresses, is_chosen
    from clockstep.flows.watch import Watcher
    from clockstep.kernel.timex import read_host_clock
    from clockstep.model import Episode, Guest
    from clockstep.render.output import print_json_line
    from clockstep.render.text import episode_line

    def tell(node: str, text: str) -> None:
        with suppress(OSError):
            if not node:
                print(text, file=sys.stderr, flush=True)  # noqa: T201

    def told(episode: Episode) -> None:
        with suppress(OSError):  # a disk that is full for a while must not end the watch
            if option(context, "json"):
                print_json_line(episode)
            else:
                print(episode_line(episode), flush=True)  # noqa: T201

    wanted = asked(context, names, everything=everything)
    world = opened(context, wanted, tell)
    selected(world, wanted, changing=True)  # a typing error is told now
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: over.set())
    watched = repr((os.getuid(), addresses(wanted), wanted.names, wanted.cluster and wanted.cluster.nodes))
    watch = Guest("the same machines", f"watch/{sha256(watched.encode()).hexdigest()[:32]}", "")
    with world.locks.hold([watch], 0):
        watcher = Watcher(world, lambda guest: is_chosen(guest, wanted), policy_of(context, wanted), told)
        watcher.trusts = lambda: not said(context, wanted, "require_synced_host") or read_host_clock().synchronised
        watcher.run(every, over)
    return 0
