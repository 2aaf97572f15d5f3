"""How Vagrant itself logs in to a project's machines: `vagrant ssh-config NAME` prints an ssh_config(5)."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from clockstep.core.selection import Project
from clockstep.errors import ReachError
from clockstep.host.programs import output
from clockstep.ports import Login, Tell
from clockstep.vagrant.trust import as_owner, untrusted
from clockstep.wire import decoded, encoded

VAGRANT = ("vagrant",)
ASKING_S = 60
LOCKED, AGAIN_S = "because it is locked", 1
"""What Vagrant says of a machine that another Vagrant works on (its machine_locked), and when it is asked again."""
DOUBTED = -2
"""When the key was written of a login that leads nowhere: at no time, so that it is asked for again."""
REPEAT_S = 30
"""For how long a failed answer counts, within one run: its waiting is not to be repeated at once."""
TAKEN = {
    "HostName",
    "User",
    "Port",
    "IdentityFile",
    "IdentitiesOnly",
    "ProxyCommand",
    "ProxyJump",
    "PubkeyAcceptedKeyTypes",
    "PubkeyAcceptedAlgorithms",
    "HostKeyAlgorithms",
}
"""What is believed of what Vagrant prints; not `StrictHostKeyChecking no` and what goes with it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What Vagrant said of one machine: ssh's options, and the key's file as it was then."""

    folder: str
    name: str
    options: tuple[str, ...]
    key_mtime_ns: int


class VagrantLogins:
    """Vagrant's logins to its machines: each asked for by its name, and kept below `state` until its key changes.

    Vagrant takes seconds to answer, and says nothing of any machine when one of those that it was asked about does not
    run. A machine's host key is taken for known when it is first met, under the UUID of its domain, and another one is
    refused from then on (`accept-new` in ssh_config(5)). One question may take `asking_s`.
    """

    def __init__(
        self,
        project: Project,
        state: Path,
        tell: Tell,
        command: tuple[str, ...] = VAGRANT,
        asking_s: float = ASKING_S,
    ) -> None:
        self._project = project
        self._folder = Path(project.folder)
        self._state = state / "vagrant"
        self._tell = tell
        self._command = command
        self._asking_s = asking_s
        self._asking = {uuid: threading.Lock() for uuid in project.called}
        self._failed: dict[str, tuple[float, ReachError]] = {}
        self._answers: dict[str, Kept] = {}

    def __call__(self, uuid: str) -> Login | None:
        """Return the login to the domain of this UUID; None where it is none of the project's.

        Raises ReachError where Vagrant does not say, and where somebody else may have written the project.
        """
        uuid = uuid.lower()
        name = self._project.called.get(uuid)
        if name is None:
            return None
        if objection := untrusted(self._project):
            hint = f"check it, then: chown and chmod go-w {self._folder}; or name the hosts with --ssh-config"
            raise ReachError(f"Vagrant is not asked for {name}: {objection}", hint, lasting=True)
        with self._asking[uuid]:
            kept = self._kept(uuid, name)
            if kept is None or _key_mtime_ns(kept.options) != kept.key_mtime_ns:
                return self._login(uuid, self._asked(uuid, name, kept))
            return self._login(uuid, kept, again=lambda: self._renewed(uuid, name))

    def _renewed(self, uuid: str, name: str) -> Login:
        """Ask once more, because the login that was kept leads nowhere; if this run ends before, the next one does."""
        with self._asking[uuid]:
            if kept := self._kept(uuid, name):
                self._keep(uuid, replace(kept, key_mtime_ns=DOUBTED))
            return self._login(uuid, self._asked(uuid, name))

    def _asked(self, uuid: str, name: str, kept: Kept | None = None) -> Kept:
        """Return Vagrant's answer, or what was `kept` of an earlier one; a failure moments ago is not repeated."""
        at_s, error = self._failed.get(uuid, (-REPEAT_S, None))
        if error is None or time.monotonic() - at_s > REPEAT_S:
            try:
                return self._ask(uuid, name)
            except ReachError as failed:
                error = failed
                self._failed[uuid] = (time.monotonic(), failed)
        if kept is None:
            raise error
        self._tell(name, f"{error.message}; using its earlier answer")
        return kept

    def _login(self, uuid: str, kept: Kept, again: Callable[[], Login] | None = None) -> Login:
        known = str(self._state / "known_hosts").replace("%", "%%")
        trust = (f"HostKeyAlias={uuid}", f'UserKnownHostsFile="{known}"', "StrictHostKeyChecking=accept-new")
        words = tuple(word for option in (*kept.options, *trust) for word in ("-o", option))
        return Login(kept.name, words, again=again)

    def _kept(self, uuid: str, name: str) -> Kept | None:
        """What was kept of an earlier answer; nothing where the machine is another project's."""
        kept = None
        with suppress(OSError):
            kept = decoded(self._file(uuid).read_bytes(), Kept)
        if kept is None:
            return self._answers.get(uuid)
        return kept if (kept.folder, kept.name) == (str(self._folder), name) else None

    def _ask(self, uuid: str, name: str) -> Kept:
        """Ask Vagrant and keep its answer; a failed one is never kept. Raises ReachError."""
        self._tell(name, "asking Vagrant how to log in")
        until_s = time.monotonic() + self._asking_s
        try:
            while LOCKED in (done := self._run("ssh-config", name)).stderr and time.monotonic() < until_s:
                self._tell(name, "waiting for another vagrant command on it")
                time.sleep(AGAIN_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _silent(name, str(error)) from error
        options = parse_ssh_config(done.stdout, trusted=not as_owner(self._folder)).get(name)
        if options is None:
            raise _silent(name, " ".join(done.stderr.split()) or "no Host of that name")
        kept = Kept(str(self._folder), name, tuple(options), _key_mtime_ns(options))
        self._keep(uuid, kept)
        return kept

    def _keep(self, uuid: str, kept: Kept) -> None:
        self._answers[uuid] = kept
        with suppress(OSError):  # only the next run asks again then
            self._write(uuid, kept)

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run Vagrant to its end; its children end with it. Raises OSError, and TimeoutExpired after a minute."""
        command = [*as_owner(self._folder), *self._command, *words]
        folder = os.environ | {"VAGRANT_CWD": str(self._folder)}
        return output(command, self._asking_s, self._folder, folder)

    def _write(self, uuid: str, kept: Kept) -> None:
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = self._file(uuid).with_suffix(f".{os.getpid()}.part")
        part.write_bytes(encoded(kept))
        part.replace(self._file(uuid))

    def _file(self, uuid: str) -> Path:
        return self._state / f"{uuid}.json"


def _silent(name: str, why: str) -> ReachError:
    text = f"vagrant ssh-config does not say how to log in to {name}: {why}"
    return ReachError(text, f"see what vagrant ssh-config {name} prints in the project's folder", lasting=True)


def _key_mtime_ns(options: Sequence[str]) -> int:
    """When the key was written that Vagrant logs in with; 0 where there is none, -1 where its file is gone."""
    named = [option.partition("=")[2] for option in options if option.startswith("IdentityFile=")]
    files = [name.strip('"').replace("%%", "%") for name in named]
    try:
        return max((Path(file).stat().st_mtime_ns for file in files), default=0)
    except OSError:
        return -1


def parse_ssh_config(text: str, *, trusted: bool = True) -> dict[str, list[str]]:
    """Return the options of each host, as `ssh -o` takes them, without those that are not believed.

    Of a project that is not `trusted`, because root runs clockstep and somebody else owns it, no command is.
    """
    hosts: dict[str, list[str]] = {}
    options: list[str] = []
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key == "Host":
            options = hosts.setdefault(value.strip(), [])
        elif key in TAKEN and (trusted or key != "ProxyCommand"):
            options.append(f"{key}={_literal(key, value.strip())}")
    return hosts


def _literal(key: str, value: str) -> str:
    """A file's name as ssh is to take it: `%` would begin one of its own words (ssh_config(5), TOKENS)."""
    return value.replace("%", "%%") if key == "IdentityFile" else value
