"""Made-up machines with the real dnf and rpm, which work on the machine's folder as the root of an installation.

The tools are Debian's (`unpacked.py`). The packages are made up: chrony is laid out as Fedora's, and what its
scriptlets would ask of systemd is done in Lua.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from adapters.machine import CHRONYD, FEDORA, Machine
from adapters.unpacked import UNUSED, enter, lay_out
from clockstep_lab.cache import built
from clockstep_lab.run import run
from conftest import quiet

AFTER_DNF = """
case "$*" in *--downloadonly*) [ ! -e $root/network-ends-with-download ] || { touch $root/no-network; sleep 2; } ;;
*"-y -C install chrony") [ ! -e $root/power-ends-with-installation ] || kill -9 0 ;; esac
exit $code
"""
SPEC = """Name: {name}
Version: {version}
Release: 1
Summary: Made up
License: None
AutoReqProv: no
{lines}
%description
Made up.
"""
CHRONY = """
%install
cp -a /mnt/chrony/. %{buildroot}/
%files
%config(noreplace) /etc/chrony.conf
%config(noreplace) /etc/chrony.keys
/usr/bin/chronyc
/usr/lib/systemd/system/chronyd.service
/usr/sbin/chronyd
%post -p <lua>
local unit = io.open("/units/chronyd", "w") unit:write("inactive\\n") unit:close()
%postun -p <lua>
os.remove("/units/chronyd")
"""
SIGN = """
export GNUPGHOME=/mnt/gnupg
trap 'gpgconf --kill all' EXIT
mkdir -m 700 $GNUPGHOME
gpg --batch --passphrase '' --quick-generate-key 'Made Up' rsa2048 sign never
gpg --batch --armor --export >/mnt/key
rpmsign --addsign --define '__gpg /usr/bin/gpg' --define '_gpg_name Made Up' /mnt/*/*.rpm
"""
KEY = "/etc/pki/rpm-gpg/made-up"
LIBRARY = "libnew-with-a-name-that-leaves-no-room-in-the-80-columns-of-a-table-of-dnf-4"
NEEDS = f"Requires: {LIBRARY}, libold >= 2\n"
REPOSITORIES = {"usual": ("4.8", ""), "replacing": ("4.8", "Obsoletes: appliance\n"), "ancient": ("3.5", "")}
REPOSITORIES |= {"conflicting": ("4.8", "Conflicts: appliance\n"), "lacking": ("4.8", "Requires: nobodys\n")}
"""What they have of chrony: its version, and a line of its specification."""


@dataclass(frozen=True)
class Generation:
    """Of dnf; `suite` is Debian's release that has it, `conf` and `release` are as on systems that use it."""

    name: str
    suite: str
    conf: str
    release: str


DNF_4 = Generation("dnf", "bookworm", "[main]\nbest=True\nskip_if_unavailable=False\n", 'ID="rhel"\nVERSION_ID="9.6"\n')
DNF_5 = Generation("dnf5", "sid", "[main]\n", "ID=fedora\nVERSION_ID=43\n")


@cache
def tools(of: Generation) -> Path:
    """The root folder that has this dnf, and rpm."""

    def build(into: Path) -> None:
        lay_out(into, of.suite, wanted)
        (into / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        (into / "etc/rpm").mkdir(exist_ok=True)
        (into / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")  # Debian 12 has it in a home

    wanted = [of.name, "rpm", "createrepo-c", "coreutils", "dash"]
    return built(f"rpm-tools-{of.name}", [" ".join([*wanted, *UNUSED]).encode(), b"1"], build, quiet)


@cache
def packages() -> Path:
    """The folder with a repository of each kind, and `others`, which has all but chrony."""
    return built("rpm-packages", [Path(__file__).read_bytes(), CHRONYD.encode(), FEDORA.encode()], _build, quiet)


def _build(into: Path) -> None:
    def use(command: str) -> None:
        run(["sh", "-c", enter(tools(DNF_4), into, command) + "exit $code"])

    def package(folder: str, name: str, version: str, lines: str = "", rest: str = "%files\n") -> None:
        (into / "spec").write_text(SPEC.format(name=name, version=version, lines=lines) + rest)
        macros = {"_topdir": "/tmp", "_rpmdir": f"/mnt/{folder}", "_build_name_fmt": "%%{NAME}-%%{VERSION}.rpm"}
        macros |= {"__os_install_post": "%{nil}", "__check_files": "%{nil}", "debug_package": "%{nil}"}
        defined = " ".join(f"--define '{name} {value}'" for name, value in macros.items())
        use(f"rpmbuild -bb {defined} /mnt/spec")

    for name, (version, line) in REPOSITORIES.items():
        _lay_out_chrony(into / "chrony", version)
        package(name, "chrony", version, NEEDS + line, CHRONY)
        package(name, LIBRARY, "1")
        package(name, "libold", "2")
    package("others", "libold", "1")
    package("others", "appliance", "1")
    package("others", "wants-chrony", "1", "Requires: chrony\n")
    package("others", "wants-library", "1", f"Requires: {LIBRARY}\n")
    (into / "sign").write_text(SIGN)
    use("sh -e /mnt/sign")
    for name in (*REPOSITORIES, "others"):
        use(f"createrepo_c --quiet /mnt/{name}")


def _lay_out_chrony(root: Path, version: str) -> None:
    files = {"usr/sbin/chronyd": CHRONYD.replace("@version@", version), "usr/bin/chronyc": "#!/bin/sh\n"}
    files |= {"usr/lib/systemd/system/chronyd.service": "", "etc/chrony.conf": FEDORA, "etc/chrony.keys": ""}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o755 if "bin" in name else 0o644)


class RpmMachine(Machine):
    """It has no chrony, but `libold` and `appliance`; the repository that it knows answers on loopback."""

    def __init__(self, root: Path, of: Generation, port: int) -> None:
        super().__init__(root, FEDORA, "/etc/chrony.conf", of.release, "dnf", unit="chronyd")
        for name in ("programs/chronyd", "etc/chrony.conf", "lib/systemd/system/chronyd.service"):
            (root / name).unlink()
        (root / "programs/chronyd").symlink_to("../usr/sbin/chronyd")
        (root / "units/chronyd").rename(root / "units/systemd-timesyncd")
        self.write("/etc/dnf/dnf.conf", of.conf)
        self.write(KEY, (packages() / "key").read_text())
        self.of, self.site = of, f"http://127.0.0.1:{port}"
        self.offers("usual")
        options = "--installroot=/mnt --setopt=reposdir=/mnt/etc/yum.repos.d --releasever=1"
        self.program("dnf", enter(tools(of), root, f'{of.name} {options} "$@" $(cat $root/dnf-also)') + AFTER_DNF)
        self.program("rpm", enter(tools(of), root, 'rpm --root /mnt "$@"') + "exit $code\n")
        self.write("/dnf-also", "")
        self.install("libold", "appliance")

    def offers(self, repository: str, key: str = "") -> None:
        """What dnf knows of it is too old after a second; `key` is where it has its key, if not on the machine."""
        lines = ["[usual]", "name=Usual", "metadata_expire=1", f"baseurl={self.site}/{repository}"]
        lines += [f"gpgkey={key or f'file:///mnt{KEY}'}", "gpgcheck=1", ""]
        self.write("/etc/yum.repos.d/usual.repo", "\n".join(lines))

    def install(self, *names: str) -> None:
        """Install some of `others`, without dnf."""
        for name in names:
            self.write(f"/{name}.rpm", "")
            (self.root / f"{name}.rpm").write_bytes((packages() / f"others/{name}-1.rpm").read_bytes())
            run([self.bin / "rpm", "--install", f"/mnt/{name}.rpm"])

    def erase(self, name: str) -> None:
        run([self.bin / "rpm", "--erase", name])

    def installed(self) -> set[str]:
        """All but the keys, which rpm counts among them."""
        asked = run([self.bin / "rpm", "-qa", "--queryformat", "%{NAME} %{VERSION}\n"])
        return {line for line in asked.decode().splitlines() if not line.startswith("gpg-pubkey ")}


class Answers(SimpleHTTPRequestHandler):
    """Nothing, once the machine has no network."""

    def __init__(self, root: Path, *args: object) -> None:
        self.root = root
        super().__init__(*args, directory=str(packages()))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if not (self.root / "no-network").exists():
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Not where tests print."""


@contextmanager
def rpm_machine(root: Path, of: Generation) -> Iterator[RpmMachine]:
    """A machine and the server of its repository."""
    handler: Callable[..., Answers] = partial(Answers, root)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield RpmMachine(root, of, server.server_port)
        server.shutdown()
