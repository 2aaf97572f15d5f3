"""`clockstep service`: which command line the service gets, and what is asked before."""

import os
import signal
import threading
from pathlib import Path

import click
import pytest

from clockstep.cli import run
from clockstep.cli.node_service import run_here
from clockstep.cli.root import root
from clockstep.cli.service import _reported, _words, install
from clockstep.core.selection import Cluster, Wanted
from clockstep.errors import ClockstepError, KubernetesError, UsageError
from clockstep.model import KubeAccess
from clockstep.ports import Output
from conftest import until

TEST = ["--connect", "test:///default"]


def words(*said: str, before: tuple[str, ...] = (), cluster: Cluster | None = None) -> list[str]:
    """Return the words of the service's `watch` for what was said to `service install`."""
    above = root.make_context("clockstep", [*before, "service"])
    context = install.make_context("install", list(said), parent=click.Context(install, parent=above))
    return _words(context, Wanted(cluster=cluster))


def parsed(said: list[str]) -> dict[str, object]:
    """Return what `watch` makes of such words."""
    watch = root.get_command(click.Context(root), "watch")
    assert watch
    return watch.make_context("watch", list(said)).params


@pytest.mark.parametrize(
    ("said", "before", "kept"),
    [
        (("--all", "--yes", "--user"), (), ["--all"]),
        (("web-*", "--every", "90s", "--metrics", "9123"), (), ["--every", "90s", "--metrics", "9123", "web-*"]),
        (
            ("--every", "1m", "a", "--exclude", "b", "--exclude", "c"),
            (),
            "--every 1min --exclude b --exclude c a".split(),
        ),
        (("a", "--allow-backward", "--max-forward", "36h"), (), ["--max-forward", "36h", "--allow-backward", "a"]),
        (("a", "--no-require-sync"), (), ["--no-require-sync", "a"]),
        (("a",), ("-c", "x:///", "--connect", "y:///"), ["--connect", "x:///", "--connect", "y:///", "a"]),
        (("a", "-o", "json", "-q"), (), ["--output", "json", "a"]),
        (("a",), ("-o", "json", "--cluster", "service"), ["--cluster", "service", "--output", "json", "a"]),
    ],
)
def test_the_service_watches_with_what_was_said_wherever_it_was_said(
    said: tuple[str, ...], before: tuple[str, ...], kept: list[str]
) -> None:
    assert sorted(words(*said, before=before)) == sorted(kept)
    assert words(*said, before=before)[-1] == kept[-1]


def test_every_option_of_the_watcher_reaches_the_service_as_it_was_meant() -> None:
    said = (
        "--every 1500ms --observe-all --guard --metrics 9123 --deadline 2min --tolerance 1500ns --reach ssh a b".split()
    )
    assert parsed(words(*said)) == parsed(said)


def test_a_configuration_that_the_service_would_not_find_is_named(tmp_path: Path) -> None:
    own = Cluster("a", str(tmp_path / "config.toml"), ("x",))
    assert words("--cluster", "a", cluster=own)[-2:] == ["--config", str(tmp_path / "config.toml")]
    assert "--config" not in words("--cluster", "a", cluster=Cluster("a", "clockstep.toml", ("x",)))


def test_vagrants_variables_are_refused_since_the_service_does_not_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAGRANT_CWD", "/srv")
    with pytest.raises(UsageError, match="the service would run without your VAGRANT_CWD"):
        words("a")


KUBECONFIG = """
current-context: prod
contexts: [{{name: prod, context: {{cluster: c, user: u}}}}, {{name: other, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:1"}}}}]
users: [{{name: u, user: {{{user}}}}}]
"""


def reported(file: Path, *said: str, of_user: bool) -> KubeAccess | None:
    """Return the cluster that the service reports to for what was said to `service install`."""
    context = install.make_context("install", ["a", *said])
    return _reported(context, Wanted(), of_user=of_user)


@pytest.mark.parametrize("of_user", [False, True])
def test_the_service_reports_to_one_file_and_context_whatever_the_current_one_is_later(
    tmp_path: Path, of_user: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG.format(user="token: secret"))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.chdir(tmp_path)
    assert reported(file, of_user=of_user) is None
    for said, context in (
        (["--kubernetes"], "prod"),
        (["--kubeconfig", "kubeconfig"], "prod"),
        (["--context", "other"], "other"),
    ):
        assert reported(file, *said, of_user=of_user) == KubeAccess(str(file), context)
        assert words("a", *said) == ["a"]


@pytest.mark.parametrize("user", ["tokenFile: token", "client-certificate: a.crt", "exec: {command: login}"])
def test_a_kubeconfig_that_needs_what_the_services_account_has_not_is_refused_with_the_way_out(
    tmp_path: Path, user: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG.format(user=user))
    with pytest.raises(KubernetesError, match=user.partition(":")[0]) as refused:
        reported(file, "--kubeconfig", str(file), of_user=False)
    assert "--flatten" in refused.value.hint
    assert reported(file, "--kubeconfig", str(file), of_user=True) == KubeAccess(str(file), "prod")


def test_a_kubeconfig_of_several_files_is_refused_since_the_service_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(KUBECONFIG.format(user="token: secret"))
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    with pytest.raises(KubernetesError, match="several files"):
        reported(files[0], "--kubernetes", of_user=True)


@pytest.mark.parametrize("verb", [["install", "test"], ["install", "tset"], ["status"]])
def test_without_systemd_or_with_a_name_that_is_none_it_is_a_usage_error(
    verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", *verb, *TEST, "--user"]) in {1, 2}
    said = capsys.readouterr()
    if "tset" in verb:
        assert "there is no node 'tset'" in said.err
    elif not Path("/run/systemd/system").is_dir():
        assert "systemd does not run here" in said.err
    else:
        assert "without confirmation" in said.err or "not installed" in said.out


def test_uninstalling_asks_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "uninstall", "--user"]) == 2
    assert "refusing to stop the service" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (["web-*"], "web-*"),
        (["--all"], "--all"),
        (["--metrics", "9123"], "--metrics"),
        (["--every", "1min", "--guard"], "--every, --guard"),
    ],
)
def test_an_agent_of_this_machine_has_no_nodes_and_none_of_the_watchers_options(
    said: list[str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", "install", "--agent", *said]) == 2
    told = capsys.readouterr().err
    assert f"{wrong}: not with --agent" in told
    assert "/etc/default/clockstep-agent" in told


@pytest.mark.parametrize("verb", ["install", "status", "uninstall"])
def test_an_agent_is_no_service_of_a_users(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", verb, "--agent", "--user"]) == 2
    assert "takes root" in capsys.readouterr().err


def test_an_agent_is_installed_after_a_question_and_only_where_it_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "install", "--agent"]) == 2
    told = capsys.readouterr().err
    assert "the agent cannot be installed here: " in told or "refusing to install the service" in told
    assert run(["service", "uninstall", "--agent"]) == 2
    told = capsys.readouterr().err
    assert "only root may remove" in told or "refusing to stop the service" in told


def test_what_runs_here_comes_back_whole_and_what_hangs_does_not_stay() -> None:
    done = run_here(["/bin/sh", "-c", "cat; echo more >&2; exit 3"], b"told", 10**10)
    assert done == Output(3, "told", "more\n")
    with pytest.raises(ClockstepError, match=r"^sleep did not end within 10 ms$"):
        run_here(["sleep", "100"], b"", 10**7)
    with pytest.raises(ClockstepError, match=r"^/nonexistent cannot be run: "):
        run_here(["/nonexistent"], b"", 10**7)


def test_what_is_interrupted_here_ends_by_itself_before_the_command_does(tmp_path: Path) -> None:
    begun, back = tmp_path / "begun", tmp_path / "back"

    def interrupt() -> None:
        until(begun.exists, 60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    script = f"trap 'touch {back}; exit 1' TERM; touch {begun}; while :; do sleep 0.05; done"
    with pytest.raises(KeyboardInterrupt):
        run_here(["/bin/sh", "-c", script], b"", 60 * 10**9)
    assert back.exists()
