"""What setting up writes, explained line by line, and as text for people who provision otherwise."""

from collections.abc import Sequence
from shlex import join, quote

from clockstep.core.setup import FileChange, SetupPlan

EXPLAINED = (
    (
        "makestep 1 -1",
        "step whenever the clock is more than a second off, for ever: the usual `makestep 1 3` is used up minutes "
        "after boot, and an hour would be slewed in twelve",
    ),
    (
        "refclock PHC DEVICE",
        "the hypervisor's own clock, read as a hardware clock: the one source that is correct after a revert. DEVICE "
        "is a link that goes by the clock's name, since /dev/ptp0 may be a network card's",
    ),
    ("poll 1", "take it into account every two seconds; network servers are asked every minute or less"),
    ("dpoll -1", "read it every half second"),
    ("filter 4", "and take the median of the last four, so that one delayed read does not count"),
    ("optional", "start even if the device is missing; chrony 4.9 and newer"),
    (
        "trust",
        "only with --trust: servers cannot outvote it, so a revert is noticed in seconds, but a host whose clock is "
        "off misleads the node. Without it chronyd trusts what servers said before, and they outvote it for minutes",
    ),
    ("prefer", "only if another source is preferred: chronyd never follows one that is not beside that"),
    (
        "tai",
        "only where the clock is about 37 s ahead of the node's: it counts TAI then, as vmclock's does from Linux 7.0 "
        "on. chronyd needs a table of leap seconds for that",
    ),
    (
        "leapseclist FILE, leapsectz right/UTC",
        "only with tai, if the configuration has no table of leap seconds yet",
    ),
    (
        "maxpoll 6",
        "only with --short-polls and if no clock can be followed, at the end of each server's line: poll it every "
        "64 s. The original line is kept above it",
    ),
    (
        "include FOLDER/zz-*.conf",
        "at the end of chrony.conf, only if its confdir comes before another makestep: the last one counts. With a "
        "pattern, since a file that is named and missing stops chronyd",
    ),
    (
        "ExecStartPre=-+/bin/sh -c '...'",
        "in a drop-in of chronyd's unit: waits up to five seconds for the device at boot. Before chrony 4.9 it also "
        "calls the file with the refclock .off while the device is missing, as on another hypervisor: chronyd would "
        "not start",
    ),
    (
        'SUBSYSTEM=="ptp", ATTR{clock_name}=="NAME", SYMLINK+="ptp_clockstep"',
        "a udev rule, only where systemd makes no link for this clock: /dev/ptp_clockstep by the clock's name",
    ),
    ("ptp_kvm", "in /etc/modules-load.d: the module that reads KVM's clock, loaded at every boot"),
)
"""Each line, or part of one, that may be written, and why it is."""

TALOS = (
    "talosctl read /sys/class/ptp/ptp0/clock_name    # go on only if it says: KVM virtual PTP",
    """talosctl patch machineconfig --patch '{"machine": {"time": {"servers": ["/dev/ptp0"]}}}'""",
)
FLATCAR = (
    "mkdir -p /etc/systemd/timesyncd.conf.d",
    r"printf '[Time]\nPollIntervalMinSec=16\nPollIntervalMaxSec=32\n' > /etc/systemd/timesyncd.conf.d/clockstep.conf",
    "systemctl restart systemd-timesyncd    # steps what a revert left, within half a minute",
)
INSTALL = {
    "zypper": "zypper install chrony",
    "pacman": "pacman -S chrony && systemctl disable --now systemd-timesyncd",
    "apk": "apk add chrony",
}
BY_SYSTEMD = "systemctl daemon-reload && systemctl enable chronyd && systemctl restart chronyd"
BY_OPENRC = "rc-update add chronyd && rc-service chronyd restart"
RULED = "udevadm control --reload && udevadm trigger --action=change --subsystem-match=ptp && udevadm settle"


def advice(plan: SetupPlan) -> tuple[str, ...]:
    """Return what to run by hand on a system that is left alone; nothing where none is known."""
    match plan.manager:
        case "zypper" | "pacman" | "ostree":
            return (*_by_hand(plan, "/etc/chrony.conf", plan.files), BY_SYSTEMD)
        case "apk":
            files = [_of_openrc(file) for file in plan.files]
            return (*_by_hand(plan, "/etc/chrony/chrony.conf", files), BY_OPENRC)
        case "flatcar":
            return FLATCAR
        case "talos":
            return TALOS
        case "vagrant":
            return plan.acts
    return ()


def _by_hand(plan: SetupPlan, conf: str, files: Sequence[FileChange]) -> tuple[str, ...]:
    """All that the plan would write, in its order: what names the clock comes after what brings and hides it."""
    paths = [file.path for file in files]
    install = () if plan.chrony or plan.manager not in INSTALL else (INSTALL[plan.manager],)
    module = ("modprobe ptp_kvm",) if any(path.startswith("/etc/modules-load.d/") for path in paths) else ()
    ruled = (RULED,) if any(path.startswith("/etc/udev/") for path in paths) else ()
    written = tuple(_written(file) for file in files)
    return (*install, *module, *written, *_include_of_new(plan, conf), *ruled)


def _include_of_new(plan: SetupPlan, conf: str) -> tuple[str, ...]:
    """What is to stand in a chrony.conf that comes only with its package."""
    folders = [file.path.rpartition("/")[0] for file in plan.files if file.path.endswith("/zz-clockstep.conf")]
    if plan.chrony or not folders or any(file.path == conf for file in plan.files):
        return ()
    return (_written(FileChange(conf, "", f"include {folders[0]}/zz-*.conf\n")),)


def _written(file: FileChange) -> str:
    """Return the command that makes a file what it is to be: what is only added to is not written anew."""
    if file.after is None:
        return f"rm -f {quote(file.path)}"
    if file.before is not None and file.after.startswith(file.before):
        added = file.after.removeprefix(file.before).splitlines()
        return f"printf '%s\\n' {join(['', *added])} >> {quote(file.path)}"
    folder = file.path.rpartition("/")[0]
    return f"mkdir -p {quote(folder)} && printf '%s\\n' {join(file.after.splitlines())} > {quote(file.path)}"


def _of_openrc(file: FileChange) -> FileChange:
    """OpenRC runs what stands in conf.d before it starts a service, where systemd has `ExecStartPre=`."""
    if file.after is None or not file.path.startswith("/etc/systemd/"):
        return file
    command = file.after.partition("ExecStartPre=")[2].partition("'")[2].rpartition("'")[0]
    return FileChange("/etc/conf.d/chronyd", "", f"({command})\n")


def cloud_init(script: str, path: str) -> str:
    """Return cloud-init's user data that writes the script to `path` and runs it once, at the first boot."""
    content = "".join(f"      {line}\n" if line else "\n" for line in script.splitlines())
    return (
        "#cloud-config\n"
        f"write_files:\n  - path: {path}\n    permissions: '0700'\n    content: |\n{content}"
        f"runcmd:\n  - [sh, {path}]\n"
    )
