"""A made-up machine in a folder, for the setup's script: its files, and the few programs that it has."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from clockstep.core.setup import SetupPlan
from clockstep.daemons import setup

TOOLS = """
sh cat head tail sed awk grep ls readlink mkdir mktemp rm rmdir mv cp cmp sort tr printf touch tar cut date sync stat
chmod uname timeout sleep tee ln comm test echo env dirname find flock sha256sum
""".split()
CHRONYD = """#!/bin/sh
root=${0%/programs/*}
[ "$1" = -v ] && { echo 'chronyd (chrony) version @version@ (+CMDMON +REFCLOCK -DEBUG)'; exit; }
conf=$(ls $root/etc/chrony/chrony.conf $root/etc/chrony.conf 2>/dev/null)
[ "$2" != -f ] || conf=$root$3
show() {
    while read -r word rest; do
        case $word in
        confdir) for file in $root$rest/*.conf; do [ ! -e "$file" ] || show "$file"; done ;;
        include) for file in $root$rest; do [ ! -e "$file" ] || show "$file"; done ;;
        ''|'#'*) ;;
        pool|server|sourcedir|makestep|refclock|RefClock|rtcsync) echo "$word${rest:+ $rest}" ;;
        driftfile|keyfile|ntsdumpdir|leapseclist|leapsectz|logdir) echo "$word $rest" ;;
        *) echo "Fatal error : Invalid directive at line 1 in file ${1#$root}" >&2; exit 1 ;;
        esac
    done <"$1" || exit 1
}
show "$conf"
"""
SYSTEMCTL = """#!/bin/sh
root=@root@
echo "$*" >>$root/calls
for last; do :; done
state=$root/units/${last%.service}
places="$root/etc/systemd/system $root/lib/systemd/system"
case $1 in
show) case $4 in
    Id) echo "$last" ;;
    LoadState) [ -e $state ] && echo loaded || echo not-found ;;
    FragmentPath) for place in $places; do
        [ ! -e $place/${last%.service}.service ] || { echo ${place#$root}/${last%.service}.service && exit; }; done ;;
    *) echo "ActiveState=$(cat $state 2>/dev/null || echo inactive)"; echo "StatusText=$(cat $root/says 2>/dev/null)" ;;
    esac ;;
is-active) [ "$2" = --quiet ] || cat $state; grep -qs '^active' $state ;;
is-enabled) grep -qs '^active' $state && said=enabled || said=disabled
    [ "$2" = --quiet ] || echo $said; [ $said = enabled ] ;;
start|restart) if grep -qs . $root/refuses; then
        ! grep -q once $root/refuses || rm $root/refuses
        echo failed >$state; exit 1
    fi
    if [ -e $state ] || [ -e $root/etc/systemd/system/$last ]; then echo active >$state; fi ;;
stop|disable) [ ! -e $state ] || echo inactive >$state ;;
esac
"""
"""Each unit is a file that says whether it runs; those that run are enabled."""
PIDOF = """#!/bin/sh
for unit in @root@/units/*; do
    case $1:${unit##*/} in
    chronyd:chrony|chronyd:chronyd|ntpd:ntpsec|ntpd:openntpd|$1:$1) grep -q '^active' $unit && echo 77 && exit 0 ;;
    esac
done
exit 1
"""
CHRONYC = """#!/bin/sh
cat @root@/sources
"""
DEBIAN_12 = """confdir /etc/chrony/conf.d
pool 2.debian.pool.ntp.org iburst
sourcedir /run/chrony-dhcp
sourcedir /etc/chrony/sources.d
rtcsync
makestep 1 3
"""
DEBIAN_13 = """pool 2.debian.pool.ntp.org iburst
sourcedir /run/chrony-dhcp
makestep 1 3
confdir /etc/chrony/conf.d
"""
FEDORA = """# Servers of the pool.
pool 2.fedora.pool.ntp.org iburst

# Servers that DHCP names.
sourcedir /run/chrony-dhcp

# How fast or slow the system's clock is.
driftfile /var/lib/chrony/drift

# Step at the first three updates.
makestep 1.0 3

# Keep the hardware's clock right.
rtcsync

# Keys, and NTS cookies.
keyfile /etc/chrony.keys
ntsdumpdir /var/lib/chrony

# Where leap seconds stand.
leapseclist /usr/share/zoneinfo/leap-seconds.list

# Where logs go.
logdir /var/log/chrony
"""
NTP = "^,*,192.0.2.1,1,6,17,3,0.0,0.0,0.0\n"
PHC = "#,*,PHC0,0,1,17,3,0.0,0.0,0.0\n"


class Machine:
    """`conf` is where its chrony.conf is, `manager` its package manager."""

    def __init__(
        self,
        root: Path,
        content: str = DEBIAN_12,
        conf: str = "/etc/chrony/chrony.conf",
        release: str = "ID=debian\nVERSION_ID=12\n",
        manager: str = "apt-get",
        version: str = "4.3",
        unit: str = "chrony",
    ) -> None:
        self.root = root
        self.bin = root / "programs"
        self.bin.mkdir()
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        self.conf = conf
        self.write(conf, content)
        self.write("/etc/os-release", release)
        self.write(f"/lib/systemd/system/{unit}.service", "")
        self.write(f"/units/{unit}", "active\n")
        self.write("/proc/locks", "")
        self.write("/sources", NTP)
        (root / "run/systemd/system").mkdir(parents=True)
        words = {"@root@": str(root), "@version@": version}
        for name, text in {"chronyd": CHRONYD, "systemctl": SYSTEMCTL, "chronyc": CHRONYC, "pidof": PIDOF}.items():
            self.program(name, text, words)
        for name, body in {manager: "exit 1", "id": "echo 0", "udevadm": ":"}.items():
            self.program(name, f"#!/bin/sh\n{body}\n")

    def program(self, name: str, text: str, words: Mapping[str, str] | None = None) -> None:
        for word, value in (words or {}).items():
            text = text.replace(word, value)
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def chronyd_runs_with(self, *words: str) -> None:
        """What chronyd's command line says; its process is the one that pidof names."""
        self.write("/proc/77/status", "NSpid:\t77\nCapEff:\t0000000002000400\n")
        self.write("/proc/77/cmdline", "".join(f"{word}\0" for word in ("/usr/sbin/chronyd", *words)))

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def has_module(self, name: str) -> None:
        """The kernel that runs here has a module of this name."""
        kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
        self.write(f"/lib/modules/{kernel}/modules.dep", f"kernel/drivers/ptp/{name}.ko:\n")

    def clock(self, number: int, name: str, link: str = "", card: str = "") -> None:
        """A hardware clock, with udev's link to it, or of a network card."""
        device = f"/dev/ptp{number}"
        self.write(device, "")
        self.write(f"/sys/class/ptp/ptp{number}/clock_name", f"{name}\n")
        if link:
            (self.root / link.lstrip("/")).symlink_to(self.root / device.lstrip("/"))
        if card:
            (self.root / f"sys/class/ptp/ptp{number}/device/net/{card}").mkdir(parents=True)

    def etc(self) -> dict[str, str]:
        """All files below /etc."""
        folder = self.root / "etc"
        return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}

    def calls(self) -> str:
        return self.read("/calls") if (self.root / "calls").exists() else ""

    def run(
        self, verb: str, phc: str = "", *, trust: bool = False, short_polls: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        text = setup.script(phc, trust=trust, short_polls=short_polls).replace("PATH=$PATH:/usr/sbin:/sbin", "")
        environment = {
            "ROOT": str(self.root),
            "PATH": str(self.bin),
            "PROOF_S": "2",
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        }
        command = ["/bin/sh", "-c", text, "setup", verb]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60, start_new_session=True
        )

    def configuration(self) -> str:
        """What chronyd reads, with all that it includes."""
        return subprocess.run([self.bin / "chronyd", "-p"], capture_output=True, text=True, check=True).stdout

    def effective(self, word: str) -> str:
        """The last directive of this name that chronyd reads."""
        return [line for line in self.configuration().splitlines() if line.startswith(word)][-1]

    def plan(self, phc: str = "", *, trust: bool = False, short_polls: bool = False) -> SetupPlan:
        done = self.run("plan", phc, trust=trust, short_polls=short_polls)
        plan = setup.parse(done.stdout)
        assert plan is not None, done.stdout + done.stderr
        return plan
