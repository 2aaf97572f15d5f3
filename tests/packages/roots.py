"""Clean Debians, as folders: just installed, with python3, man and three shells, and without a network.

apt there knows one repository, of what this project's packages need of Debian. Each test changes a layer of its own
(overlayfs). It takes root; see `clean` for what is in a root at first.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from clockstep_lab import apt
from clockstep_lab.cache import built
from clockstep_lab.repository import write_index
from clockstep_lab.run import run
from conftest import quiet

SUITES = {12: "bookworm", 13: "trixie"}
PACKAGES = ("python3", "man-db", "bash-completion", "zsh", "fish")
TAKES_S = 300
ENTER = """
mount -t overlay none -o lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK "$AT"
mount -t proc none "$AT/proc"
mount --rbind /dev "$AT/dev"
mount -t tmpfs none "$AT/tmp"
chmod 1777 "$AT/tmp"
mkdir -p "$AT/packages" "$AT/dist"
mount --bind "$PACKAGES" "$AT/packages"
mount --bind "$DIST" "$AT/dist"
cd /
exec chroot "$AT" "$@"
"""
SET_UP = """
printf 'deb [trusted=yes] file:/packages ./\\n' >/etc/apt/sources.list
printf 'APT::Sandbox::User "root";\\n' >/etc/apt/apt.conf.d/90tests
printf 'force-unsafe-io\\n' >/etc/dpkg/dpkg.cfg.d/90tests
useradd --create-home user
apt-get -qq update
"""


@dataclass(frozen=True)
class Root:
    """A Debian in layers, the newest first; what a command changes goes to the newest."""

    number: int
    layers: tuple[Path, ...]
    packages: Path
    dist: Path

    def run(self, command: str, *, user: str = "root", **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a shell command in it, with an environment of its own, and return what came of it."""
        newest, *lower = self.layers
        work = newest.with_name(newest.name + ".work")
        at = newest.with_name(newest.name + ".at")
        for folder in (work, at):
            folder.mkdir(exist_ok=True)
        places = {"LOWER": ":".join(map(str, lower)), "UPPER": newest, "WORK": work, "AT": at}
        places |= {"PACKAGES": self.packages, "DIST": self.dist}
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        variables |= {"DEBIAN_FRONTEND": "noninteractive", **environment}
        words = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), "sh", "-c", command]
        if user != "root":
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *words]
        entered = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "sh", "-ec", ENTER, "sh", *words]
        environ = {**os.environ, **{name: str(value) for name, value in places.items()}}
        return subprocess.run(entered, env=environ, capture_output=True, text=True, timeout=TAKES_S, check=False)

    def must(self, command: str, *, user: str = "root", **environment: str) -> str:
        """The same for what must succeed; return what it printed."""
        done = self.run(command, user=user, **environment)
        assert done.returncode == 0, f"exit {done.returncode} from {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def install(self, *names: str) -> str:
        """Install .deb files of `dist` as the README says."""
        return self.must(f"apt-get -qq install --yes --no-install-recommends {' '.join(f'/dist/{n}' for n in names)}")

    def above(self, name: str) -> "Root":
        """The same with an empty layer above, which has a name of its own."""
        layer = self.layers[-1].with_name(name)
        layer.mkdir()
        return replace(self, layers=(layer, *self.layers))

    def traces(self) -> list[str]:
        """What there is of this project, but for notes of apt's and dpkg's."""
        left = ("/dist", "/packages", "/var/lib/dpkg", "/var/log", "/var/cache/man")
        notes = " -o ".join(f"-path {folder} -prune" for folder in left)
        return sorted(self.must(f"find / -xdev {notes} -o -path '*clockstep*' -print").splitlines())


@contextmanager
def clean(number: int, depends: str, dist: Path, at: Path) -> Iterator[Root]:
    """A root with nothing of this project; apt can get what `depends` names, as in the field of a package."""
    names = sorted({one.split()[0] for one in depends.split(",")})
    made = built(f"root-debian-{number}", [SUITES[number].encode(), " ".join(names).encode(), _recipe()],
        lambda into: _build(number, names, into), quiet)  # fmt: skip
    base = at / "base"
    base.mkdir(parents=True)
    run(["tar", "-x", "--exclude=./dev/*", "-f", made / "root.tar", "-C", base])
    root = Root(number, (base,), made / "packages", dist).above("set-up")
    root.must(SET_UP)
    try:
        yield root
    finally:
        shutil.rmtree(at, ignore_errors=True)


def _recipe() -> bytes:
    return " ".join(PACKAGES).encode() + b"1"


def _build(number: int, names: list[str], into: Path) -> None:
    """Have mmdebstrap(1) make a root, and fetch into `packages` what apt would install there."""
    (into / "packages").mkdir()
    suite = SUITES[number]
    fetch = "apt-get -qq --yes --download-only --no-install-recommends -o Dir::Cache::archives=/packages install"
    hooks = [
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        '--customize-hook=mkdir -p "$1/packages/partial"',
        f'--customize-hook=chroot "$1" {fetch} {" ".join(names)}',
        '--customize-hook=rm -rf "$1/packages/partial" "$1/packages/lock"',
        f"--customize-hook=sync-out /packages {quote(str(into / 'packages'))}",
        '--customize-hook=rm -r "$1/packages" && rm -rf "$1"/etc/apt/sources.list*',
    ]
    options = ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    words = ["mmdebstrap", "--mode=unshare", "--variant=minbase", f"--include={','.join(PACKAGES)}", *options, *hooks]
    run([*words, suite, into / "root.tar", apt.source_line(suite).strip()])
    write_index(into / "packages")
