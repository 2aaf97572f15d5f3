"""`clockstep lab`: real guests on any Linux machine, in a few seconds, that disturb nothing else on it."""

import os
import shlex
import signal
import sys
import time
from types import FrameType

import click

from . import lab as labs
from .errors import LabError
from .kubernetes import builds
from .kubernetes.node import NAME as KUBERNETES
from .moments import BOOTED
from .places import cache_dir
from .prune import prune as empty_cache
from .run import find

NODES, CLUSTER_NODES = 3, 2
NAME = click.option(
    "--name", default="lab", show_default=True, metavar="LAB", help="Name of the lab; several can be up at once."
)


def say(text: str) -> None:
    """Progress, for people: on stderr, with the seconds since the start."""
    click.echo(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", err=True)


_BEGAN = time.monotonic()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """Real guests under a private libvirt, for trying and testing clockstep.

    Nothing on this host is changed: no service, no time daemon, no domain of yours.
    """


@lab.command()
@NAME
@click.option(
    "--nodes",
    type=click.IntRange(1, 99),
    help=f"Minimum number of guests.  [default: {NODES}; with --kubernetes {CLUSTER_NODES}]",
)
@click.option("--image", metavar="IMAGE", help="minimal (the default), debian-12 or debian-13.")
@click.option(
    "--kubernetes", is_flag=True, help="Run a Kubernetes cluster: a control plane here, a kubelet in each guest."
)
@click.option("--cold", is_flag=True, help="Boot the guests instead of restoring their saved state.")
def up(name: str, nodes: int | None, image: str | None, kubernetes: bool, cold: bool) -> None:
    """Bring a lab up and wait until its guests answer.

    The first time an image is used its guests boot, and that moment is kept; later ones are restored from it.
    """
    if kubernetes and image:
        raise click.UsageError("--image and --kubernetes cannot be combined: nodes have an image of their own")
    image = KUBERNETES if kubernetes else image
    count = nodes or (CLUSTER_NODES if image == KUBERNETES else NODES)
    found = labs.up(name, count, image, say, state=None if cold else BOOTED)
    kind = "KVM" if found.kvm else "TCG, QEMU's own emulation"
    click.echo(f"lab {name}: {len(found.machines)} {found.image} guests under {kind}", err=True)


@lab.command()
@NAME
def down(name: str) -> None:
    """End a lab: its guests, its daemons, its folder."""
    if not labs.down(name, say):
        click.echo(f"lab {name} was not up", err=True)


@lab.command("list")
def list_() -> None:
    """List the labs of this account."""
    for found in labs.all_labs():
        names = " ".join(machine.name for machine in found.machines)
        click.echo(f"{found.name}\t{found.image}\t{names}\t{_start_of(found)}")


def _start_of(found: labs.Lab) -> str:
    warm = [machine.name for machine in found.machines if machine.warm]
    if len(warm) in {0, len(found.machines)}:
        return "restored" if warm else "booted"
    return f"{' '.join(warm)} restored, the others booted"


@lab.command(context_settings={"ignore_unknown_options": True})
@NAME
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(name: str, arguments: tuple[str, ...]) -> None:
    """Run kubectl on a lab's cluster, as its administrator: clockstep lab kubectl -- get nodes."""
    plane = labs.control_plane(name, say)
    program = str(builds.kubernetes(say) / "kubectl")
    os.execv(program, [program, "--kubeconfig", str(plane.kubeconfig), *arguments])


@lab.command()
@NAME
def kubeconfig(name: str) -> None:
    """Print the path of the kubeconfig of a lab's cluster."""
    click.echo(labs.control_plane(name, say).kubeconfig)


@lab.command()
def prune() -> None:
    """Empty the cache of images and kept guests, but for what a running lab uses."""
    freed = empty_cache(say)
    click.echo(f"freed {freed / 2**20:.0f} MiB in {cache_dir()}", err=True)


@lab.command()
@NAME
def uri(name: str) -> None:
    """Print a lab's libvirt URI, for virsh -c or clockstep --connect."""
    click.echo(labs.find(name).uri)


@lab.command(context_settings={"ignore_unknown_options": True})
@NAME
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run a command in a guest: clockstep lab exec node-1 -- chronyc sources."""
    _ssh(name, node, list(command))


@lab.command()
@NAME
@click.argument("node")
def ssh(name: str, node: str) -> None:
    """Log in to a guest."""
    _ssh(name, node, [])


@lab.command("ssh-config")
@NAME
def ssh_config(name: str) -> None:
    """Print an ssh_config(5) for a lab's guests."""
    click.echo((labs.find(name).folder / "ssh_config").read_text(), nl=False)


def _ssh(name: str, node: str, command: list[str]) -> None:
    found = labs.find(name)
    found.machine(node)
    ssh = find("ssh")
    if not ssh:
        raise LabError("ssh is not installed", "install the package openssh-client")
    remote = [shlex.join(command)] if command else []
    os.execv(ssh, ["ssh", "-F", str(found.folder / "ssh_config"), node, *remote])


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run `clockstep lab`."""
    run_command(lab, "clockstep lab")


def run_command(command: click.Command, called: str) -> None:
    """Run a command line and exit; a LabError becomes one line with a hint and exit code 1."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    try:
        command(prog_name=called, standalone_mode=False)
    except LabError as error:
        click.echo(f"{called}: {error.message}", err=True)
        if error.hint:
            click.echo(f"  hint: {error.hint}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"{called}: interrupted; everything this command started was stopped", err=True)
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug, and it ends here
        click.echo(f"{called}: internal error: {type(error).__name__}: {error}", err=True)
        sys.exit(4)
