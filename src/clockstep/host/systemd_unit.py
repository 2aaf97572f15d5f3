"""The watcher as a service of systemd: the unit, the account it runs under, and what polkit lets that account ask.

Everything written here begins with `MARK`, and only what does is ever replaced or removed.
"""

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from clockstep.errors import ClockstepError, UsageError
from clockstep.host.trust import objection
from clockstep.model import KubeAccess

UNIT = "clockstep-watch.service"
ACCOUNT = "clockstep"
MARK = "written by clockstep service install"

# A session daemon that libvirt started itself would be of this unit, with its machines, and end with it.
HEAD = """\
# {mark}
[Unit]
Description=Corrects the clocks of VMs after reverts, resumes and restores
After=libvirtd.service virtqemud.service network.target

[Service]
Type=notify
Environment=LIBVIRT_AUTOSTART=0
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
SyslogIdentifier=clockstep-watch
MemoryMax=1G
TasksMax=8192
WorkingDirectory={folder}
WatchdogSec=60s
Restart=on-failure
RestartSec=5s
UMask=0077
"""

# What seccomp(2) enforces needs no privilege. adjtimex(2) only reads here: there is no capability to set a clock with,
# and ProtectClock= would forbid the reading too, as @privileged does: so these two calls are allowed last.
CONFINED = """\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=adjtimex clock_adjtime
SystemCallErrorNumber=EPERM
"""

OF_SYSTEM = """\
User={account}
StateDirectory=clockstep-watch
CapabilityBoundingSet=
DevicePolicy=closed
KeyringMode=private
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectControlGroups=yes
ProtectHome={home}
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
"""

TAIL = """
[Install]
WantedBy={target}
"""

# systemd reads it as root, so that nobody else need be able to (systemd.exec(5), "Credentials").
CREDENTIAL = "LoadCredential=kubeconfig:{kubeconfig}\nSetCredential=kubeconfig:{{}}\n"
"""The second is what the service gets if the file is gone: it corrects clocks all the same (systemd.exec(5))."""
CREDENTIAL_FILE = "${CREDENTIALS_DIRECTORY}/kubeconfig"

# systemd passes over such a section (systemd.unit(5)): it is for whoever uninstalls the service.
REPORTS_TO = """
[X-Clockstep]
Kubeconfig={kubeconfig}
Context={context}
"""

SYSUSERS = f'# {MARK}\nu {ACCOUNT} - "clockstep watch" /var/lib/clockstep-watch\n'

RULES = """\
// {mark}
// Who may open libvirt's socket to write may do everything there, unless libvirtd.conf has access_drivers = ["polkit"].
polkit.addRule(function (action, subject) {{
    if (subject.user != "{account}" || action.id.indexOf("org.libvirt.") != 0)
        return polkit.Result.NOT_HANDLED;
    var domains = [{domains}]; // all, where there is none
    var other = domains.length && domains.indexOf(action.lookup("domain_uuid")) < 0;
    if (other && action.id.indexOf("org.libvirt.api.domain.") == 0)
        return polkit.Result.NO;
    var needed = [
        "org.libvirt.unix.monitor",
        "org.libvirt.unix.manage",
        "org.libvirt.api.connect.getattr",
        "org.libvirt.api.connect.read",
        "org.libvirt.api.connect.search-domains",
        "org.libvirt.api.domain.getattr",
        "org.libvirt.api.domain.read",
        "org.libvirt.api.domain.set-time"{agent}
    ];
    return needed.indexOf(action.id) < 0 ? polkit.Result.NO : polkit.Result.YES;
}});
"""
AGENT = """,
        "org.libvirt.api.domain.write" // also to read the time by the guest agent (virDomainGetTime)"""

AS_WHO = "only root may change the system's service; use --user for your own"
Do = Callable[[Sequence[str]], None]


class Service(NamedTuple):
    """What is to run: `words` are the command line, `folder` is where it is to run, `of_user` whose systemd runs it.

    `needed` are files that it reads, and `code` is where programs and modules that it runs are. `domains` are the UUIDs
    of all that it is about, where that is fixed. `kubernetes` is the cluster that it reports to, by file and context.
    """

    words: Sequence[str]
    folder: Path
    of_user: bool
    by_agent: bool = True
    needed: Sequence[Path] = ()
    code: Sequence[Path] = ()
    domains: Sequence[str] = ()
    kubernetes: KubeAccess | None = None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What `service status` prints; `enabled` and `active` are systemd's words, `file` is empty if there is none.

    `says` is what the service itself says of how it goes.
    """

    unit: str
    file: str
    enabled: str
    active: str
    says: str = ""
    schema_version: int = 2


def files(service: Service, root: Path, home: Path) -> dict[Path, str]:
    """Return what is to be written where; `root` is `/`, but in tests."""
    head = HEAD.format(mark=MARK, command=command_line(service), folder=escaped(str(service.folder)))
    reported = REPORTS_TO.format(**asdict(service.kubernetes)) if service.kubernetes else ""
    if service.of_user:
        return {unit_file(root, home, of_user=True): head + CONFINED + TAIL.format(target="default.target") + reported}
    if service.kubernetes:
        head += CREDENTIAL.format(kubeconfig=escaped(service.kubernetes.kubeconfig))
    at_home = any(path.is_relative_to("/home") for path in (service.folder, *service.needed))
    of_system = OF_SYSTEM.format(account=ACCOUNT, home="read-only" if at_home else "yes")
    domains = ", ".join(f'"{uuid}"' for uuid in service.domains)
    rules = RULES.format(mark=MARK, account=ACCOUNT, agent=AGENT if service.by_agent else "", domains=domains)
    return {
        root / "etc/sysusers.d/clockstep.conf": SYSUSERS,
        root / "etc/polkit-1/rules.d/60-clockstep.rules": rules,
        unit_file(root, home, of_user=False): (
            head + CONFINED + of_system + TAIL.format(target="multi-user.target") + reported
        ),
    }


def command_line(service: Service) -> str:
    """Return what ExecStart= has: the words, and the cluster that is reported to."""
    words = [quoted(word) for word in service.words]
    if service.kubernetes:
        file = quoted(service.kubernetes.kubeconfig) if service.of_user else CREDENTIAL_FILE
        words += ["--kubeconfig", file, "--context", quoted(service.kubernetes.context)]
    return " ".join(words)


def reports_to(root: Path, home: Path, *, of_user: bool) -> KubeAccess | None:
    """Return the Kubernetes cluster that the installed service reports to; None if it is none, or not installed."""
    text = refuse_others(unit_file(root, home, of_user=of_user)) or ""
    said = dict(line.split("=", 1) for line in text.partition("[X-Clockstep]")[2].splitlines() if "=" in line)
    return KubeAccess(said["Kubeconfig"], said.get("Context", "")) if "Kubeconfig" in said else None


def unit_file(root: Path, home: Path, *, of_user: bool, unit: str = UNIT) -> Path:
    """Return where the unit is (systemd.unit(5))."""
    return home / ".config/systemd/user" / unit if of_user else root / "etc/systemd/system" / unit


def install(service: Service, root: Path, home: Path, do: Do) -> list[Path]:
    """Write the files, have systemd run the unit now and at every boot, and return what was written.

    Raises ClockstepError where systemd does not run, where something else is in a file's place, where somebody could
    change what a service of the system runs or reads, or where the service does not come up: then nothing stays behind,
    nor an account.
    """
    refuse_without_systemd(root)
    wanted = files(service, root, home)
    before = {file: refuse_others(file) for file in wanted}
    if not service.of_user:
        for file in (service.folder, *service.needed):
            refuse_unreadable(file)
        refuse_writable(service)
    had_account = service.of_user or has_account(root)
    try:
        for file, text in wanted.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(0o644)  # whatever the umask: polkitd is not root
        if not service.of_user:
            do(["systemd-sysusers", "clockstep.conf"])
        do([*systemctl(of_user=service.of_user), "daemon-reload"])
        do([*systemctl(of_user=service.of_user), "enable", UNIT])
        do([*systemctl(of_user=service.of_user), "restart", UNIT])
    except BaseException as error:
        put_back(before, unit_file(root, home, of_user=service.of_user), do, of_user=service.of_user)
        if not had_account and not any(before.values()):
            _attempt(do, ["userdel", ACCOUNT])
        if not isinstance(error, OSError | ClockstepError):
            raise
        text = error.message if isinstance(error, ClockstepError) else str(error)
        journal = f"journalctl {'--user ' if service.of_user else ''}--unit {UNIT}"
        raise ClockstepError(f"the service was not installed: {text}", f"nothing was changed; see {journal}") from error
    return list(wanted)


def refuse_without_systemd(root: Path) -> None:
    """Raise UsageError where systemd does not run (sd_booted(3))."""
    if not (root / "run/systemd/system").is_dir():
        raise UsageError("systemd does not run here", "start clockstep watch with this host's service manager")


def has_account(root: Path) -> bool:
    """Whether the service's account is there already, as systemd-sysusers would find it."""
    with suppress(FileNotFoundError):
        accounts = (root / "etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines()
        return any(line.startswith(f"{ACCOUNT}:") for line in accounts)
    return False


def put_back(before: Mapping[Path, str | None], unit: Path, do: Do, *, of_user: bool) -> None:
    """Undo an installation: the service that was there before runs again, or none does."""
    of_systemd = systemctl(of_user=of_user)
    anew = before[unit] is None
    if anew:
        _attempt(do, [*of_systemd, "disable", "--now", UNIT])
    for file, text in before.items():
        with suppress(OSError):
            file.unlink(missing_ok=True) if text is None else file.write_text(text, encoding="utf-8")
    _attempt(do, [*of_systemd, "daemon-reload"])
    if not anew:
        _attempt(do, [*of_systemd, "restart", UNIT])


def uninstall(root: Path, home: Path, do: Do, *, of_user: bool) -> list[Path]:
    """End the service, remove what `install` wrote, and return that. The account stays: files may be its own."""
    names = files(Service((), Path("/"), of_user), root, home)
    there = [file for file in names if refuse_others(file) is not None]
    if unit_file(root, home, of_user=of_user) in there:
        do([*systemctl(of_user=of_user), "disable", "--now", UNIT])
    for file in there:
        remove(file)
    if there:
        do([*systemctl(of_user=of_user), "daemon-reload"])
    return there


def remove(file: Path) -> None:
    """Remove a file. Raises ClockstepError where that is not allowed."""
    try:
        file.unlink()
    except OSError as error:
        raise ClockstepError(f"{file} cannot be removed: {error}", AS_WHO) from error


def refuse_others(file: Path) -> str | None:
    """Return what is in a file, None where there is none. Raises ClockstepError where clockstep has not written it."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClockstepError(f"{file} cannot be read: {error}", AS_WHO) from error
    if MARK not in text.partition("\n")[0]:
        raise ClockstepError(f"{file} exists, and clockstep did not write it", "move it away, then retry")
    return text


def refuse_unreadable(file: Path) -> None:
    """Raise UsageError where the service's account could not read a file."""
    for part in (file.resolve(), *file.resolve().parents):
        needed = 0o1 if part.is_dir() else 0o4
        if part.exists() and not part.stat().st_mode & needed:
            text = f"the service runs as the user {ACCOUNT}, who may not read {file}, because of {part}"
            raise UsageError(text, "put it where everybody may read it, such as /etc or /opt")


def refuse_writable(service: Service) -> None:
    """Raise UsageError where somebody but root could change what the service runs or reads: that is as good as root."""
    code = [below for path in service.code for below in (path, *path.rglob("*"))]
    if why := objection(_with_folders(code), ()):
        made = "python3 -m venv /opt/clockstep && /opt/clockstep/bin/pip install FOLDER_OF_ITS_SOURCES"
        hint = f"as root: {made}, then run /opt/clockstep/bin/clockstep; or use --user for your own service"
        raise UsageError(f"the system's service would run code that somebody can change: {why}", hint)
    read = [Path(service.kubernetes.kubeconfig)] if service.kubernetes else []
    if why := objection(_with_folders([service.folder, *service.needed, *read]), ()):
        hint = "put it in a folder that only root may write, such as /etc; or use --user for your own service"
        raise UsageError(f"the system's service would trust what somebody can change: {why}", hint)


def _with_folders(paths: Iterable[Path]) -> list[Path]:
    """Return these and all folders above them, as they are called and as they are; the lowest of each first."""
    parts = {part for path in paths for one in {path, path.resolve()} for part in (one, *one.parents)}
    return sorted(parts, reverse=True)


def grants(service: Service) -> str:
    """Return what an installed service of the system may do, in a sentence."""
    which = "the domains it is configured for" if service.domains else "any domain"
    return (
        f"its account {ACCOUNT} may open libvirt's socket, and so control every machine of this host; with "
        f'access_drivers = ["polkit"] in libvirtd.conf it may only read {which}, set their time and, to ask guest '
        "agents, write to them"
    )


def run(command: Sequence[str]) -> None:
    """Run a command of the system's. Raises ClockstepError with what it said where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClockstepError(f"{command[0]} cannot be run: {error}", "this needs systemd") from error
    if done.returncode:
        raise ClockstepError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")


def asked(command: Sequence[str]) -> str:
    """Return the first line that a command of the system's prints, whatever it ends with; empty if it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0]


def status(
    root: Path, home: Path, ask: Callable[[Sequence[str]], str], *, of_user: bool, unit: str = UNIT
) -> ServiceStatus:
    """Return what systemd says of the service: of what `install` wrote, else of the unit that a package brought.

    Raises UsageError if systemd does not run.
    """
    refuse_without_systemd(root)
    file = unit_file(root, home, of_user=of_user, unit=unit)
    of_systemd = systemctl(of_user=of_user)
    if not file.exists() and not of_user:
        file = root / "usr/lib/systemd/system" / unit
    if not file.exists():
        return ServiceStatus(unit, "", "not installed", "inactive")
    enabled, active = (ask([*of_systemd, verb, unit]) or "unknown" for verb in ("is-enabled", "is-active"))
    says = ask([*of_systemd, "show", "--value", "--property", "StatusText", unit])
    return ServiceStatus(unit, str(file), enabled, active, says)


def systemctl(*, of_user: bool) -> list[str]:
    """Return the start of a command to systemd."""
    return ["systemctl", "--user"] if of_user else ["systemctl"]


def quoted(word: str) -> str:
    """Return a word as ExecStart= takes it (systemd.service(5), "Command lines")."""
    text = escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return text if text and not set(text) & set(" \t\"'\\;") else f'"{text}"'


def escaped(text: str) -> str:
    """Return a text in which a percent sign is no specifier (systemd.unit(5)). Raises UsageError for a line break."""
    if "\n" in text:
        raise UsageError(f"{text!r} cannot be written in a unit file")
    return text.replace("%", "%%")


def _attempt(do: Do, command: Sequence[str]) -> None:
    with suppress(ClockstepError):
        do(command)
