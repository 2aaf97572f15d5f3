"""`clockstep service`: which command line the service gets, and what is asked before."""

from pathlib import Path

import click
import pytest

from clockstep.cli import run
from clockstep.cli.root import root
from clockstep.cli.service import _words, install
from clockstep.core.selection import Cluster, Wanted
from clockstep.errors import UsageError

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
