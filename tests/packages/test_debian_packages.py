"""The Debian packages in clean Debians: what they bring, what they leave alone, and what they leave behind."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clockstep import __version__
from clockstep.cli.man import pages
from clockstep.host.systemd_unit import MARK
from packages.conftest import HERE, deb, field
from packages.roots import Root

pytestmark = pytest.mark.packages

TEST = "clockstep --connect test:///default"
UNIT = "/etc/systemd/system/clockstep-watch.service"
NEVER = {
    "chrony",
    "ntpsec",
    "openntpd",
    "systemd-timesyncd",
    "libvirt-daemon",
    "libvirt-daemon-system",
    "libvirt-clients",
}
CARRIED = "/usr/lib/python3/dist-packages/clockstep/carried/"
BASH = """
. /usr/share/bash-completion/bash_completion
_completion_loader clockstep
COMP_WORDS=(clockstep -c test:///default status t) COMP_CWORD=4
_clockstep_completion clockstep
echo "${COMPREPLY[@]}"
"""
ZSH = """
autoload -Uz compinit
compinit -u -D
[ "$_comps[clockstep]" = _clockstep ]
compdef() { : }
compadd() { print -l -- "${(@P)5}" }
. /usr/share/zsh/vendor-completions/_clockstep
words=(clockstep -c test:///default status t) CURRENT=5
_clockstep_completion
"""
FISH = 'complete -C "clockstep -c test:///default status t"'


def installed(root: Root) -> dict[str, str]:
    """The packages there, with their states."""
    listed = root.must("dpkg-query --show --showformat '${Package} ${db:Status-Status}\\n'")
    return dict(line.split() for line in listed.splitlines())


def test_the_package_needs_only_debians_own_and_brings_no_time_daemon_and_no_libvirt(bare: Root) -> None:
    bare.install(deb(bare.dist, bare.number))
    assert bare.must("clockstep --version") == f"clockstep {__version__}\n"
    assert not NEVER & installed(bare).keys()
    assert bare.must("dpkg --audit; dpkg --verify clockstep; apt-get -qq check") == ""


def test_the_watchers_unit_is_there_and_nothing_enables_it(debian_with: Root) -> None:
    unit = debian_with.must("cat /usr/lib/systemd/system/clockstep-watch.service")
    assert MARK not in unit.partition("\n")[0]
    assert "ExecStart=/usr/bin/python3 -P -m clockstep watch\n" in unit
    assert debian_with.must("find /etc/systemd /etc/rc?.d /etc/init.d -name '*clockstep*'") == ""
    assert debian_with.must("find /etc -name '*clockstep*'") == "/etc/clockstep\n"


@pytest.mark.parametrize("user", ["root", "user"])
def test_it_measures_a_domain(own: Root, user: str) -> None:
    done = own.run(f"{TEST} -o json status", user=user)
    (episode,) = json.loads(done.stdout)["episodes"]
    assert (done.returncode, episode["node"], episode["verdict"]) == (1, "test", "bad")  # it lives in 1989
    assert done.stderr == ""


def test_a_terminal_without_utf_8_and_a_home_that_is_not_there_cost_no_measurement(own: Root) -> None:
    poor = {"HOME": "/nonexistent", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = own.run(f"{TEST} status", user="user", **poor)
    assert (done.returncode, done.stderr) == (1, "")
    assert " +- " in done.stdout
    assert "\\u" not in done.stdout


@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_shells_complete_names_of_nodes(debian_with: Root, shell: str, script: str) -> None:
    own_files = {"zsh": "-fec"}.get(shell, "-c")
    assert debian_with.must(f"exec {shell} {own_files} '{script}'").split() == ["test"]


def test_every_command_has_a_man_page_that_man_shows(debian_with: Root) -> None:
    names = sorted(name.removesuffix(".1") for name in pages())
    there = debian_with.must("ls /usr/share/man/man1 | grep clockstep").split()
    assert sorted(there) == sorted(f"{name}.1.gz" for name in names)
    assert debian_with.must(f"man --where {' '.join(names)}").count("\n") == len(names)
    assert "clockstep revert [OPTIONS] [NAME] [NODE]..." in debian_with.must("man clockstep-revert")


def test_what_a_debian_lacks_is_the_packages_own_and_nobody_elses(debian_with: Root) -> None:
    where = debian_with.must("python3 -c 'import clockstep, lightkube; print(lightkube.__file__)'")
    assert where.startswith(CARRIED)
    alone = debian_with.run("python3 -c 'import lightkube'")
    assert "No module named 'lightkube'" in alone.stderr
    old = "clockstep, msgspec, prometheus_client, rich"
    found = debian_with.must(f"python3 -c 'import {old}; print(msgspec.__file__, prometheus_client.__file__)'").split()
    assert {one.startswith(CARRIED) for one in found} == {debian_with.number == 12}


def test_a_cluster_is_asked_with_what_the_package_carries(own: Root) -> None:
    kubeconfig = json.dumps(
        {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "x", "user": {"token": "x"}}],
        }
    )
    own.must(f"echo '{kubeconfig}' >/root/kubeconfig; chmod 600 /root/kubeconfig")
    done = own.run(f"{TEST} status --kubeconfig /root/kubeconfig")
    assert "Kubernetes: " in done.stdout
    assert "127.0.0.1:1" in done.stdout
    assert "no client" not in done.stdout


def test_a_signing_request_is_read_with_debians_cryptography(debian_with: Root) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:node:a")])
    builder = x509.CertificateSigningRequestBuilder(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example.org")]), critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM)
    read = "from clockstep.kubernetes.certificates import _asked; print(_asked(input()))"
    said = debian_with.must(f"echo {base64.b64encode(request).decode()} | python3 -c '{read}'")
    assert "'common_name': 'system:node:a'" in said
    assert "'names': ('a.example.org',)" in said
    assert "'signed': True" in said


def test_the_configuration_changes_nothing_until_somebody_writes_in_it(own: Root) -> None:
    assert "no configuration was found" in own.must("clockstep config show")
    assert own.run(f"{TEST} -o name nodes").stdout == "test\n"
    commented = own.must("grep '^# .*=\\|^# \\[' /etc/clockstep/config.toml | sed 's/^# //'")
    own.must(f"cat >/etc/clockstep/config.toml <<'END'\n{commented}END\n")
    shown = json.loads(own.must("clockstep -o json config show"))
    assert (shown["source"], [cluster["name"] for cluster in shown["clusters"]]) == ("system", ["prod"])


SYSTEMCTL = """#!/bin/sh
echo "$*" >>/asked
case $1 in try-restart) exit 1 ;; esac
"""
"""It fails where a failure must not break an upgrade."""


def test_an_upgrade_a_removal_and_a_purge_leave_what_they_should_and_start_nothing(needy: Root, tmp_path: Path) -> None:
    older(needy, tmp_path)
    stand_in(needy)
    needy.must("apt-get -qq install --yes --no-install-recommends /older.deb && clockstep --version")
    assert asked(needy) == {"daemon-reload"}
    needy.must("echo '# mine' >>/etc/clockstep/config.toml; echo x >/etc/clockstep/kubeconfig")
    needy.must(f"mkdir -p /etc/sysusers.d /etc/systemd/system /var/lib/clockstep/paused; echo '# {MARK}' >{UNIT}")
    needy.must("echo '# somebody' >/etc/sysusers.d/clockstep.conf; rm /older.deb")
    needy.install(deb(needy.dist, needy.number))
    assert asked(needy) == {"daemon-reload", "try-restart clockstep-watch.service"}
    assert needy.must("dpkg-query --show --showformat '${Version}' clockstep").startswith(f"{__version__}+")
    assert needy.must("test ! -e /usr/lib/python3/dist-packages/clockstep/gone.py; clockstep --version")
    assert needy.must("tail -n 1 /etc/clockstep/config.toml") == "# mine\n"

    needy.must("apt-get -qq remove --yes clockstep")
    assert asked(needy) == {"daemon-reload", "disable --now --quiet clockstep-watch.service"}
    assert needy.run("clockstep --version").returncode == 127
    kept = ["/etc/clockstep", "/etc/clockstep/config.toml", "/etc/clockstep/kubeconfig", UNIT]
    kept += ["/etc/sysusers.d/clockstep.conf", "/var/lib/clockstep", "/var/lib/clockstep/paused"]
    assert needy.traces() == sorted(kept)

    needy.must("apt-get -qq purge --yes clockstep")
    assert needy.traces() == ["/etc/clockstep", "/etc/clockstep/kubeconfig", "/etc/sysusers.d/clockstep.conf"]


def stand_in(root: Root) -> None:
    """Put a systemctl there that writes down what it is asked, as where systemd runs."""
    (root.layers[0] / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root.layers[0] / "usr/bin/systemctl").write_text(SYSTEMCTL)
    root.must("mkdir -p /run/systemd/system; chmod 755 /usr/bin/systemctl")


def asked(root: Root) -> set[str]:
    """What systemd was asked since the last time."""
    return set(root.must("cat /asked; rm /asked").splitlines())


def older(root: Root, folder: Path) -> None:
    """Put a package of an older version there, with a module that is no more."""
    subprocess.run(["dpkg-deb", "--raw-extract", root.dist / deb(root.dist, root.number), folder / "older"], check=True)
    control = folder / "older/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}", "Version: 0.0.9"))
    (folder / "older/usr/lib/python3/dist-packages/clockstep/gone.py").write_text("")
    words: list[str | Path] = [
        "dpkg-deb",
        "--root-owner-group",
        "-Znone",
        "--build",
        folder / "older",
        folder / "older.deb",
    ]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    (root.layers[0] / "older.deb").write_bytes((folder / "older.deb").read_bytes())


def test_another_release_is_refused_in_a_sentence_and_nothing_is_installed(bare: Root) -> None:
    other = {12: 13, 13: 12}[bare.number]
    done = bare.run(f"dpkg --install /dist/{deb(bare.dist, other)}")
    assert done.returncode != 0
    assert f"this package is for Debian {other}, and this is Debian GNU/Linux {bare.number}" in done.stderr
    assert "clockstep.pyz" in done.stderr
    assert bare.run(f"apt-get install --yes /dist/{deb(bare.dist, other)}").returncode == 100
    assert installed(bare).get("clockstep", "not-installed") == "not-installed"
    assert bare.traces() == []


def test_a_system_of_another_distribution_is_named(bare: Root) -> None:
    bare.must("printf 'ID=ubuntu\\nVERSION_ID=24.04\\nPRETTY_NAME=\"Ubuntu 24.04 LTS\"\\n' >/etc/os-release")
    done = bare.run(f"dpkg --install /dist/{deb(bare.dist, bare.number)}")
    assert f"for Debian {bare.number}, and this is Ubuntu 24.04 LTS: nothing was installed" in done.stderr
    assert bare.traces() == []


def test_what_was_half_installed_or_half_removed_is_put_right_or_removed(own: Root) -> None:
    package = deb(own.dist, own.number)
    own.must("rm -rf /usr/lib/python3/dist-packages/clockstep/c*")
    assert own.run("clockstep --version").returncode
    own.must(f"dpkg --unpack /dist/{package} && clockstep --version")
    assert installed(own)["clockstep"] == "unpacked"
    own.must("dpkg --configure --pending")
    assert own.must("dpkg --audit; dpkg --verify clockstep") == ""
    own.must("rm /usr/bin/py3clean && apt-get -qq purge --yes clockstep")
    assert own.traces() == []


def test_the_agents_package_needs_python_alone_and_leaves_nothing(bare: Root) -> None:
    stand_in(bare)
    (package,) = bare.dist.glob("clockstep-agent_*_all.deb")
    assert field(package, "Depends") == "python3 (>= 3.11~)"
    before = installed(bare)
    bare.install(package.name)
    assert asked(bare) == {"daemon-reload"}
    assert installed(bare).keys() - before.keys() == {"clockstep-agent"}
    assert bare.must("clockstep-agent --version") == f"clockstep {__version__}\n"
    assert "\nsteps: " in bare.must("clockstep-agent --explain")
    assert "correct the clock" in " ".join(bare.must("man 8 clockstep-agent").split()).lower()
    assert bare.must("find /etc -name '*clockstep*'") == ""
    bare.must("rm /asked; apt-get -qq purge --yes clockstep-agent")
    assert asked(bare) == {"daemon-reload", "disable --now --quiet clockstep-agent.service"}
    assert bare.traces() == []


def test_both_packages_go_together(own: Root) -> None:
    (package,) = own.dist.glob("clockstep-agent_*_all.deb")
    own.install(package.name)
    assert own.must("man --where 1 clockstep-agent; man --where 8 clockstep-agent").count("\n") == 2


def test_shipped_units_are_what_systemd_takes(dist: Path, tmp_path: Path) -> None:
    for package in (deb(dist, 13), next(dist.glob("clockstep-agent_*.deb")).name):
        subprocess.run(["dpkg-deb", "--extract", dist / package, tmp_path], check=True)
    units = sorted((tmp_path / "usr/lib/systemd/system").iterdir())
    assert [unit.name for unit in units] == ["clockstep-agent.service", "clockstep-watch.service"]
    for unit in units:
        text = unit.read_text().replace("/usr/sbin/clockstep-agent", str(tmp_path / "usr/sbin/clockstep-agent"))
        unit.write_text(text.replace("WorkingDirectory=/etc", f"WorkingDirectory={tmp_path}/etc"))
        words: list[str | Path] = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_all_maintainer_scripts_are_plain_shell() -> None:
    scripts = sorted((HERE / "release/files").glob("clockstep*.p*"))
    assert len(scripts) == 7
    subprocess.run(["shellcheck", "--shell=sh", "--exclude=SC1091", *scripts], check=True)
