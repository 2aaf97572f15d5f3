"""Debian packages: a tree of files and its control files, made into a .deb by dpkg-deb(1).

debhelper would need a source package for each release, a chroot of it, and its own ways for what is no Debian package;
here one build has all. What debhelper would add to the maintainer scripts is in `files/`, and short enough to read.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import carried
from clockstep import __version__
from clockstep.agent.bundle import bundle
from clockstep.cli.completion import VARIABLE
from clockstep.core import agent_unit
from clockstep.host.systemd_unit import MARK, UNIT, Service, files

HERE = Path(__file__).with_name("files")
MODULES = "usr/lib/python3/dist-packages"
MAINTAINER = "The clockstep developers <clockstep@localhost>"
SHIPPED = "shipped by the package clockstep; what clockstep service install writes takes precedence"
COMMAND = "#!/usr/bin/python3 -sP\nfrom clockstep.cli import main\n\nmain()\n"
"""Without the modules of a user's own pip (-s), nor those beside the command (-P)."""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/clockstep",
    "zsh": "usr/share/zsh/vendor-completions/_clockstep",
    "fish": "usr/share/fish/vendor_completions.d/clockstep.fish",
}
AGENT = "usr/sbin/clockstep-agent"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
SUMMARY = "correct the clocks of VMs after snapshot reverts, and verify the result"
TEXT = """\
 A VM that is reverted, paused or restored comes back with the clock it had then.
 clockstep measures the clocks of a group of VMs from outside with a bound on the
 error, steps them, makes their time daemons resample, and measures again.
 .
 It installs no time daemon and no libvirt, and starts no service."""
AGENT_SUMMARY = "correct a VM's own clock after snapshot reverts, from inside"
AGENT_TEXT = """\
 The agent of clockstep for VMs whose hypervisor nobody may ask: it notices that
 the machine was reverted, paused or moved, and steps its clock by a PTP hardware
 clock or by what chronyd measures again.
 .
 It needs python3 alone, and starts no service: systemctl enable --now
 clockstep-agent does."""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: clockstep

Files: *
Copyright: The clockstep developers
License: Apache-2.0
 On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.
"""


@dataclass(frozen=True)
class Release:
    """A release of Debian: what of it clockstep needs, and what has to be carried because it has none or older ones."""

    number: int
    architecture: str
    python: str
    depends: tuple[str, ...]
    carries: tuple[str, ...]


USUAL = ("python3-click (>= 8.1)", "python3-cryptography (>= 38)", "python3-libvirt (>= 9.0)", "python3-yaml")
RELEASES = (
    Release(
        12,
        "amd64",
        "3.11",
        ("python3 (>= 3.11~)", "python3 (<< 3.12)", *USUAL),
        (*carried.COMPILED, *carried.OLD, *carried.KUBERNETES),
    ),
    Release(
        13,
        "all",
        "3.13",
        (
            "python3 (>= 3.13~)",
            *USUAL,
            *("python3-msgspec (>= 0.19)", "python3-prometheus-client (>= 0.21)", "python3-rich (>= 13.7)"),
        ),
        carried.KUBERNETES,
    ),
)
"""Compiled modules are of one Python: so Debian 12's package is for that alone, on amd64."""


@dataclass
class Package:
    """What a .deb is made of; `control` and `scripts` by name, files by their path, executable if they are in a bin."""

    name: str
    version: str
    architecture: str
    control: dict[str, str]
    scripts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version}_{self.architecture}.deb"


def packages(source: Path, wheel: Path) -> Iterator[Package]:
    """Yield all packages, from the copy of the sources and from what the wheel has."""
    for release in RELEASES:
        yield _clockstep(release, source, wheel)
    yield _agent(source)


def _clockstep(release: Release, source: Path, wheel: Path) -> Package:
    version = f"{__version__}+deb{release.number}"
    control = {"Depends": ", ".join(release.depends), "Recommends": "openssh-client", "Section": "admin"}
    package = Package("clockstep", version, release.architecture, control | _described(SUMMARY, TEXT))
    package.scripts = _scripts("clockstep", RELEASE=str(release.number), UNIT=UNIT, MARK=MARK)
    put = package.files
    put |= {f"{MODULES}/{name}": content for name, content in _tree(wheel) if not name.endswith("/RECORD")}
    put |= {f"usr/bin/{name}": COMMAND.encode() for name in ("clockstep", "kubectl-clockstep")}
    put |= {path: _completion(shell) for shell, path in COMPLETIONS.items()}
    put |= {f"usr/share/man/man1/{page.name}.gz": _packed(page) for page in (source / "docs/man").glob("*.1")}
    put |= _service()
    put["etc/clockstep/config.toml"] = (HERE / "config.toml").read_bytes()
    _carry(package, release)
    _document(package, source)
    return package


def _carry(package: Package, release: Release) -> None:
    """Add what the release lacks, in a folder of the package's own, and whose it is."""
    found = carried.wheels(release.carries, release.python)
    with carried.unpacked(found) as folder:
        for name, content in _tree(folder):
            package.files[f"{MODULES}/clockstep/carried/{name}"] = content
    where = f"/{MODULES}/clockstep/carried"
    lines = [f"\nFiles: {where}/*\nCopyright: their authors, as in {where}/*.dist-info\nLicense: as said there\n"]
    lines += [f" {wheel.name.split('-')[0]} {wheel.name.split('-')[1]}\n" for wheel in found]
    package.files[f"usr/share/doc/{package.name}/copyright"] = (COPYRIGHT + "".join(lines)).encode()


def _service() -> dict[str, bytes]:
    """Return the watcher's unit, its account and its polkit rule; nothing runs before somebody enables the unit."""
    words = ["/usr/bin/python3", "-P", "-m", "clockstep", "watch"]
    service = Service(words, Path("/etc/clockstep"), of_user=False)
    texts = {path.name: text.replace(MARK, SHIPPED) for path, text in files(service, Path("/"), Path("/")).items()}
    folders = {UNIT: "usr/lib/systemd/system", "clockstep.conf": "usr/lib/sysusers.d"}
    folders["60-clockstep.rules"] = "usr/share/polkit-1/rules.d"
    return {f"{folders[name]}/{name}": text.encode() for name, text in texts.items()}


def _agent(source: Path) -> Package:
    control = {"Depends": "python3 (>= 3.11~)", "Section": "admin"} | _described(AGENT_SUMMARY, AGENT_TEXT)
    package = Package("clockstep-agent", __version__, "all", control)
    package.scripts = _scripts("clockstep-agent")
    page = (source / "docs/man/clockstep-agent.1").read_bytes().replace(b'"1"', b'"8"', 1)
    package.files = {
        AGENT: bundle(),
        f"usr/lib/systemd/system/{agent_unit.UNIT}": _agents_unit().encode(),
        "usr/share/man/man8/clockstep-agent.8.gz": gzip.compress(page, mtime=0),
        "usr/share/doc/clockstep-agent/copyright": COPYRIGHT.encode(),
    }
    _document(package, source)
    return package


def _agents_unit() -> str:
    """Return the agent's unit with what it may need on any node: nobody has looked at this one."""
    needs = agent_unit.Needs("/usr/bin/python3", forks=True, chronyd=True, restarts=True, vmclocks=("/dev/vmclock0",))
    note, _, rest = agent_unit.unit_text(needs).partition("\n")
    assert note.startswith(agent_unit.MARK)
    enabled = "# Shipped by the package clockstep-agent; it runs after: systemctl enable --now clockstep-agent"
    return f"{enabled}\n{rest.replace(agent_unit.PROGRAM, f'/{AGENT}')}"


def _document(package: Package, source: Path) -> None:
    package.files[f"usr/share/doc/{package.name}/changelog.gz"] = _packed(source / "CHANGELOG.md")


def _described(summary: str, text: str) -> dict[str, str]:
    return {"Priority": "optional", "Maintainer": MAINTAINER, "Description": f"{summary}\n{text}"}


def _scripts(package: str, **values: str) -> dict[str, str]:
    """Return the maintainer scripts that a package has, with their placeholders filled."""
    found = {}
    for name in SCRIPTS:
        file = HERE / f"{package}.{name}"
        if file.is_file():
            text = file.read_text()
            for key, value in values.items():
                text = text.replace(f"__{key}__", value)
            found[name] = text
    return found


def _completion(shell: str) -> bytes:
    """Return what click prints for a shell."""
    words = [sys.executable, "-m", "clockstep"]
    environment = {**os.environ, VARIABLE: f"{shell}_source"}
    return subprocess.run([*words, "completion", shell], env=environment, capture_output=True, check=True).stdout


def _tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in folder.rglob("*"):
        if file.is_file():
            yield str(file.relative_to(folder)), file.read_bytes()


def _packed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), mtime=0)


def build(package: Package, tree: Path, folder: Path, when: int) -> None:
    """Lay a package out in `tree`, and write its .deb into `folder`."""
    shutil.rmtree(tree, ignore_errors=True)
    for name, content in package.files.items():
        _write(tree / name, content, executable="bin" in Path(name).parent.name)
    _write(tree / "DEBIAN/control", _control(package).encode())
    for name, text in package.scripts.items():
        _write(tree / "DEBIAN" / name, text.encode(), executable=True)
    sums = [f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in sorted(package.files.items())]  # noqa: S324 - dpkg(1) wants it
    _write(tree / "DEBIAN/md5sums", "".join(sums).encode())
    if conffiles := [f"/{name}\n" for name in sorted(package.files) if name.startswith("etc/")]:
        _write(tree / "DEBIAN/conffiles", "".join(conffiles).encode())
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (when, when), follow_symlinks=False)
    words = ["dpkg-deb", "--root-owner-group", "--uniform-compression", "-Zxz", "-z6", "--threads-max=1", "--build"]
    subprocess.run([*words, tree, folder / package.file_name], check=True, stdout=subprocess.DEVNULL)


def _control(package: Package) -> str:
    size = sum(-(-len(content) // 1024) for content in package.files.values())
    fields = {"Package": package.name, "Version": package.version, "Architecture": package.architecture}
    fields |= {"Installed-Size": str(size), **package.control}
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _write(path: Path, content: bytes, *, executable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)
