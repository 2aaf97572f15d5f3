"""Clean Debians, as folders: just installed, with python3, man and three shells, and without a network.

apt there knows one repository, of what this project's packages need of Debian. Each test changes a layer of its own
(overlayfs). It takes root; see `clean` for what is in a root at first.
"""

import os
import subprocess
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote

from clockstep_lab import apt
from clockstep_lab.cache import built
from clockstep_lab.repository import write_index
from clockstep_lab.run import run
from conftest import quiet

SUITES = {12: "bookworm", 13: "trixie"}
PACKAGES = ("python3", "man-db", "bash-completion", "zsh", "fish")
LAYERS = ("base", "set-up", "needs")
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
    at: Path
    """Where new layers are put."""
    packages: Path
    dist: Path

    def run(self, command: str, *, user: str = "root", **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a shell command in it, with an environment of its own, and return what came of it."""
        newest, *lower = self.layers
        work, at = self.at / f"{newest.name}.work", self.at / f"{newest.name}.at"
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
        layer = self.at / name
        layer.mkdir()
        return replace(self, layers=(layer, *self.layers))

    def traces(self) -> list[str]:
        """What there is of this project, but for notes of apt's and dpkg's."""
        left = ("/dist", "/packages", "/var/lib/dpkg", "/var/log", "/var/cache/man")
        notes = " -o ".join(f"-path {folder} -prune" for folder in left)
        return sorted(self.must(f"find / -xdev {notes} -o -path '*clockstep*' -print").splitlines())


def clean(number: int, depends: str, dist: Path, at: Path) -> tuple[Root, Root]:
    """Two roots with nothing of this project: just installed, and with all that `depends` names, a package's field.

    Raises LabError where they cannot be made.
    """
    names = sorted({one.split()[0] for one in depends.split(",")})
    ingredients = [SUITES[number].encode(), " ".join((*PACKAGES, *names)).encode(), ENTER.encode(), SET_UP.encode()]
    made = built(f"root-debian-{number}", [*ingredients, b"1"], partial(_build, number, names), quiet)
    base, set_up, needs = (made / name for name in LAYERS)
    just_installed = Root(number, (set_up, base), at, made / "packages", dist)
    return just_installed, replace(just_installed, layers=(needs, set_up, base))


def _build(number: int, names: list[str], into: Path) -> None:
    """Have mmdebstrap(1) make a root, fetch into `packages` what apt would install there, and make the layers."""
    packages, base = into / "packages", into / LAYERS[0]
    packages.mkdir()
    base.mkdir()
    suite = SUITES[number]
    fetch = "apt-get -qq --yes --download-only --no-install-recommends -o Dir::Cache::archives=/packages install"
    hooks = [
        "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
        '--customize-hook=mkdir -p "$1/packages/partial"',
        f'--customize-hook=chroot "$1" {fetch} {" ".join(names)}',
        '--customize-hook=rm -rf "$1/packages/partial" "$1/packages/lock"',
        f"--customize-hook=sync-out /packages {quote(str(packages))}",
        '--customize-hook=rm -r "$1/packages" && rm -rf "$1"/etc/apt/sources.list*',
    ]
    options = ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    words = ["mmdebstrap", "--mode=unshare", "--variant=minbase", f"--include={','.join(PACKAGES)}", *options, *hooks]
    run([*words, suite, into / "root.tar", apt.source_line(suite).strip()])
    write_index(packages)
    run(["tar", "-x", "--exclude=./dev/*", "-f", into / "root.tar", "-C", base])
    (into / "root.tar").unlink()
    root = Root(number, (base,), into, packages, packages)
    for name, command in zip(LAYERS[1:], (SET_UP, f"apt-get -qq install --yes {' '.join(names)}"), strict=True):
        root = root.above(name)
        root.must(command)
