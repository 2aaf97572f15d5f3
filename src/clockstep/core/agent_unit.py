"""The unit of a node's agent: what it needs there, and nothing else.

It runs as root without root's power: the memory of steps that it shares with a host's watcher, the devices of PHCs and
chronyd's socket are root's or chronyd's own, so no account of its own could use them. What makes root mighty is taken:
all capabilities but those named, writing outside /run, new privileges, and talking to systemd where no time daemon has
to be restarted by it. What else serves root by a socket in /run, as a container runtime, stays within its reach.
"""

from collections.abc import Sequence
from typing import NamedTuple

UNIT = "clockstep-agent.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/usr/local/sbin/clockstep-agent"
OPTIONS_FILE = "/etc/default/clockstep-agent"
MARK = "# Written by clockstep for the agent of this node"
CONTENT = "clockstep/agent/__main__.py"
"""What the agent's one file has in it, as a name in a zip file."""

TEXT = """\
{mark}; clockstep setup undo --agent removes it.
[Unit]
Description=Corrects this node's clock after reverts, pauses and restores
After=chrony.service chronyd.service systemd-timesyncd.service

[Service]
Type=notify
# Its options: OPTIONS="--metrics 9123"
Environment=OPTIONS=
EnvironmentFile=-{options}
ExecStart={python} -I -S {program} $OPTIONS
SyslogIdentifier=clockstep-agent
WatchdogSec=60s
Restart=always
RestartSec=5s
RestartPreventExitStatus=2
MemoryMax=128M
TasksMax=64
UMask=0077
# To step the clock{why}.
CapabilityBoundingSet={capabilities}
DevicePolicy=closed
{devices}
{logs}
{manager}
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
# The folders of chronyd's socket and of the memory of steps may come later.
ReadWritePaths=/run
ReadOnlyPaths=-/run/systemd -/run/udev
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=adjtimex clock_adjtime

[Install]
WantedBy=multi-user.target
"""
STEP, LOG, SOCKET = "CAP_SYS_TIME", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"
CLOSED = "InaccessiblePaths=-/run/systemd/private -/run/dbus"


class Needs(NamedTuple):
    """What the agent needs of a node beside its PHCs and the right to step.

    `forks` is whether the kernel's log tells of VM forks, `chronyd` whether chronyd has to be asked and made to measure
    again, and `restarts` whether another time daemon has to be restarted; `vmclocks` are devices.
    """

    python: str
    forks: bool = False
    chronyd: bool = False
    restarts: bool = False
    vmclocks: Sequence[str] = ()


def unit_text(needs: Needs) -> str:
    """Return the unit's text for a node."""
    more = {LOG: ("to read the kernel's log", needs.forks), SOCKET: ("to enter chronyd's socket", needs.chronyd)}
    also = {name: why for name, (why, needed) in more.items() if needed}
    devices = ["char-ptp r", *(f"{path} r" for path in needs.vmclocks), *(["/dev/kmsg r"] if needs.forks else [])]
    return TEXT.format(
        mark=MARK,
        options=OPTIONS_FILE,
        python=needs.python,
        program=PROGRAM,
        why="".join(f", {why}" for why in also.values()),
        capabilities=" ".join((STEP, *also)),
        devices="\n".join(f"DeviceAllow={device}" for device in devices),
        logs=f"ProtectKernelLogs={'no' if needs.forks else 'yes'}",
        manager="# It restarts this node's time daemon by systemd." if needs.restarts else CLOSED,
    )
