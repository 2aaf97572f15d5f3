"""clockstep.toml: what it may say, and what is said of one that is wrong."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockstep.cli.session import frozen
from clockstep.config import Place, Source, find, parse, places, read_cluster, show
from clockstep.core.selection import Cluster, Limits, Wanted
from clockstep.errors import UsageError
from clockstep.model import KubeAccess
from clockstep.units import MILLISECOND_NS, MINUTE_NS, SECOND_NS

WHOLE = """
[cluster.prod]
nodes = ["web-*", "db"]
connect = ["qemu:///system", "qemu+ssh://b/system"]
tolerance = "5 ms"
deadline = "2min"
max_forward = "1h 30min"
allow_backward = true

[cluster.try]
nodes = ["*"]
connect = "lab"
"""


def test_a_cluster_has_nodes_addresses_and_what_a_step_may_do() -> None:
    limits = Limits(5 * MILLISECOND_NS, 2 * MINUTE_NS, 90 * MINUTE_NS, True)
    connect = ("qemu:///system", "qemu+ssh://b/system")
    assert parse(WHOLE, "f") == {
        "prod": Cluster("prod", "f", ("web-*", "db"), connect, limits),
        "try": Cluster("try", "f", ("*",), ("lab",)),
    }


@pytest.mark.parametrize(
    ("said", "policy", "with_freeze", "without"),
    [
        ("", None, (), None),
        ("freeze = false", None, (), None),
        ("freeze = true", (), (), None),
        ("freeze = ['a.slice']", ("a.slice",), ("a.slice",), None),
    ],
)
def test_what_snapshots_freeze_is_a_clusters_default_and_can_be_said_anew(
    said: str, policy: tuple[str, ...] | None, with_freeze: tuple[str, ...], without: None
) -> None:
    wanted = Wanted(cluster=parse(f"[cluster.a]\nnodes = ['x']\n{said}", "f")["a"])
    assert frozen(wanted, None, ()) == policy
    assert frozen(wanted, True, ()) == with_freeze
    assert frozen(wanted, False, ()) == without
    assert frozen(wanted, None, ("b.slice",)) == ("b.slice",)
    with pytest.raises(UsageError, match="contradict"):
        frozen(wanted, False, ("b.slice",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cluster.a]\nnode = ['x']", "c.toml: cluster.a: Object contains unknown field `node`"),
        ("[cluster.a]\nnodes = 'x'", "c.toml: cluster.a.nodes: Expected `array`, got `str`"),
        ("[cluster.a]\nnodes = ['x', 1]", "c.toml: cluster.a.nodes[1]: Expected `str`, got `int`"),
        ("[cluster.a]\nnodes = []", "c.toml: cluster.a.nodes: Expected `array` of length >= 1"),
        ("[cluster.a]\nnodes = ['x']\nconnect = 5", "c.toml: cluster.a.connect: Expected `str | array`, got `int`"),
        ("[cluster.a]\nnodes = ['x']\ntolerance = 5", "c.toml: cluster.a.tolerance: Expected `str`, got `int`"),
        ("[cluster.a]\nnodes = ['x']\ndeadline = '5'", "c.toml: cluster.a.deadline: '5' is not a duration; write a"),
        ("[cluster.a]\nnodes = ['x']\nallow_backward = 1", "c.toml: cluster.a.allow_backward: Expected `bool | null`"),
        ("[cluster]\na = 5", "c.toml: cluster.a: Expected `object`, got `int`"),
        ("cluster = 5", "c.toml: cluster: Expected `object`, got `int`"),
        ("[clusters.a]\nnodes = ['x']", "c.toml: Object contains unknown field `clusters`"),
        ("[cluster]", "c.toml: no cluster in it"),
        ("", "c.toml: Object missing required field `cluster`"),
        (
            "[cluster.a\n",
            "c.toml: not valid TOML: Expected ']' at the end of a table declaration",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_path_of_the_key(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "c.toml")
    assert caught.value.message.startswith(said)
    assert caught.value.hint


@given(st.text(max_size=60) | st.text(max_size=9).map("[cluster.a]\nnodes=".__add__))
def test_no_text_makes_it_fail_in_another_way(text: str) -> None:
    try:
        assert parse(text, "f")
    except UsageError as error:
        assert error.message.startswith("f: ")


def test_the_only_cluster_of_a_file_need_not_be_named(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[cluster.a]\nnodes = ['x']\ndeadline = '1 s'")
    cluster = read_cluster(places(str(file), {}, None), None)
    assert cluster == Cluster("a", str(file), ("x",), (), Limits(deadline_ns=SECOND_NS))
    assert read_cluster(places(str(file), {}, None), "a") == Cluster(
        "a", str(file), ("x",), (), Limits(deadline_ns=SECOND_NS), True
    )


def test_one_of_several_clusters_has_to_be_named(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(WHOLE)
    with pytest.raises(UsageError, match=r"several clusters: prod, try") as caught:
        read_cluster(places(str(file), {}, None), None)
    assert "--cluster" in caught.value.hint
    with pytest.raises(UsageError, match=r"has no cluster 'produ'") as caught:
        read_cluster(places(str(file), {}, None), "produ")
    assert caught.value.hint == "it has: prod, try"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*none\.toml"):
        read_cluster(places(str(tmp_path / "none.toml"), {}, None), None)
    with pytest.raises(UsageError, match="cannot be read"):
        read_cluster(places(str(tmp_path), {}, None), None)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_cluster(places(str(tmp_path / "binary.toml"), {}, None), None)


CLUSTER = "[cluster.{}]\nnodes = ['x']\n"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Variables of a user whose home is empty."""
    return {"HOME": str(tmp_path / "home")}


def written(file: Path, cluster: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(CLUSTER.format(cluster))
    return file


def test_the_first_of_the_places_counts_one_after_the_other(tmp_path: Path, home: dict[str, str]) -> None:
    here, project = tmp_path / "work/deep", tmp_path / "project"
    here.mkdir(parents=True)
    named, variable = written(tmp_path / "named.toml", "named"), written(tmp_path / "variable.toml", "variable")
    above = written(tmp_path / "work/clockstep.toml", "above")
    vagrant = written(project / "clockstep.toml", "vagrant")
    own = written(tmp_path / "home/.config/clockstep/config.toml", "own")

    def cluster(file: str | None = None, **environ: str) -> str | None:
        searched = places(file, home | environ, project, here=here)
        found = read_cluster([place for place in searched if not place.path.startswith("/etc/")], None)
        return found.name if found else None

    assert cluster(str(named), CLOCKSTEP_CONFIG=str(variable)) == "named"
    assert cluster(CLOCKSTEP_CONFIG=str(variable)) == "variable"
    assert cluster() == "above"
    above.unlink()
    assert cluster() == "vagrant"
    vagrant.unlink()
    assert cluster() == "own"
    assert cluster(XDG_CONFIG_HOME=str(tmp_path)) is None
    own.unlink()
    assert cluster() is None
    assert places(None, home, None)[-1].path == "/etc/clockstep/config.toml"


def test_in_a_vagrant_project_what_is_above_it_counts_only_for_a_cluster_that_is_named(
    tmp_path: Path, home: dict[str, str]
) -> None:
    project, below = tmp_path / "project", tmp_path / "project/src"
    below.mkdir(parents=True)
    written(tmp_path / "clockstep.toml", "above")
    own = written(tmp_path / "home/.config/clockstep/config.toml", "own")

    def sources(*, own: bool, here: Path = below) -> list[str]:
        return [place.path for place in places(None, home, project, here=here, own=own)]

    inside = [f"{below}/clockstep.toml", f"{project}/clockstep.toml", f"{project}/clockstep.toml"]
    assert sources(own=False) == inside
    assert {f"{tmp_path}/clockstep.toml", str(own)} <= {*sources(own=True)}
    assert f"{tmp_path}/clockstep.toml" in sources(own=False, here=tmp_path / "elsewhere")


def test_a_file_found_upward_that_others_may_have_written_is_an_error_and_not_passed_over(
    tmp_path: Path, home: dict[str, str]
) -> None:
    here = tmp_path / "open/work"
    here.mkdir(parents=True)
    file = written(tmp_path / "open/clockstep.toml", "theirs")
    searched = places(None, home, None, here=here)
    assert find(searched) == Place(str(file), Source.ABOVE)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UsageError, match=r"is not trusted: .*open may be written by everybody") as caught:
        find(searched)
    assert "--config" in caught.value.hint
    assert find(places(str(file), home, None, here=here)) == Place(str(file), Source.OPTION)


def test_an_address_that_starts_a_program_counts_in_the_users_own_file_only(
    tmp_path: Path, home: dict[str, str]
) -> None:
    program = "[cluster.a]\nnodes = ['x']\nconnect = 'qemu+ext:///session?command=/x'\n"
    own = written(tmp_path / "home/.config/clockstep/config.toml", "a")
    own.write_text(program)
    assert read_cluster(places(None, home, None, here=tmp_path), None)
    written(tmp_path / "clockstep.toml", "a").write_text(program)
    with pytest.raises(UsageError, match="makes libvirt start a program"):
        read_cluster(places(None, home, None, here=tmp_path), None)


def test_what_counts_is_shown_with_where_it_was_looked_for(tmp_path: Path, home: dict[str, str]) -> None:
    file = written(tmp_path / "c.toml", "a")
    report = show(places(str(file), home, None))
    assert (report.path, report.source, [one.name for one in report.clusters]) == (str(file), Source.OPTION, ["a"])
    nowhere = show([Place(str(tmp_path / "none"), Source.ABOVE)])
    assert (nowhere.path, nowhere.searched) == ("", (str(tmp_path / "none"),))


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path, home: dict[str, str]) -> None:
    here, link = tmp_path / "here", tmp_path / "here/clockstep.toml"
    here.mkdir()
    link.symlink_to(written(tmp_path / "open/real.toml", "theirs"))
    searched = places(None, home, None, here=here)
    assert find(searched) == Place(str(link), Source.FOLDER)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UsageError, match=r"is not trusted: .*open may be written by everybody"):
        find(searched)
    (tmp_path / "open/real.toml").unlink()
    with pytest.raises(UsageError, match=r"clockstep.toml (cannot be read|is not trusted)"):
        find(searched)


def test_a_pipe_is_no_configuration_and_is_not_waited_for(tmp_path: Path, home: dict[str, str]) -> None:
    os.mkfifo(tmp_path / "clockstep.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        find(places(None, home, None, here=tmp_path))


@pytest.mark.parametrize("text", ["tolerance = '0s'", "deadline = '0 s'", "connect = ''"])
def test_what_nothing_can_meet_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"cluster\.a\.(tolerance|deadline|connect)"):
        parse(f"[cluster.a]\nnodes = ['x']\n{text}\n", "c.toml")


@pytest.mark.parametrize("text", ["", "# [cluster.x]\n\n  # nodes = ['x']\n"])
def test_a_file_of_the_users_own_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    of_system = tmp_path / "system.toml"
    of_system.write_text("[cluster.x]\n")
    searched = (Place(str(file), Source.USER), Place(str(of_system), Source.SYSTEM))
    assert find(searched) == searched[1]
    assert find(searched[:1]) is None
    named = (Place(str(file), Source.OPTION),)
    assert find(named) == named[0]
    file.write_text(text + "x = 1\n")
    assert find(searched) == searched[0]


def test_one_cluster_can_be_shown(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CLUSTER.format("a") + CLUSTER.format("b"))
    assert [one.name for one in show(places(str(file), {}, None), "b").clusters] == ["b"]
    with pytest.raises(UsageError, match="has no cluster 'c'"):
        show(places(str(file), {}, None), "c")


KUBERNETES = "[cluster.a]\nnodes = ['x']\nkubernetes = {}\n"


def access(file: Path | None, home: dict[str, str], here: Path) -> KubeAccess | None:
    cluster = read_cluster(places(str(file) if file else None, home, None, here=here), None)
    return cluster.kubernetes if cluster else None


def test_a_cluster_names_its_kubernetes_by_a_file_from_its_own_folder_and_a_context(tmp_path: Path) -> None:
    def named(table: str) -> KubeAccess | None:
        return parse(KUBERNETES.format(table), str(tmp_path / "c.toml"))["a"].kubernetes

    assert named("{}") == KubeAccess()
    assert named("{context = 'lab'}") == KubeAccess("", "lab")
    assert named("{kubeconfig = 'k8s/admin.conf'}") == KubeAccess(str(tmp_path / "k8s/admin.conf"))
    assert named("{kubeconfig = '/etc/kubernetes/admin.conf'}") == KubeAccess("/etc/kubernetes/admin.conf")
    assert named("{kubeconfig = '~/.kube/lab'}") == KubeAccess(str(Path("~/.kube/lab").expanduser()))
    assert parse("[cluster.a]\nnodes = ['x']\n", "f")["a"].kubernetes is None


@pytest.mark.parametrize(
    "table", ["true", "'lab'", "{file = 'x'}", "{kubeconfig = ''}", "{context = ''}", '{kubeconfig = "a\\u0000"}', "[]"]
)
def test_a_kubernetes_that_makes_no_sense_is_named_with_its_key(table: str) -> None:
    with pytest.raises(UsageError, match=r"f: cluster\.a\.kubernetes"):
        parse(KUBERNETES.format(table), "f")


def test_a_kubeconfig_that_others_may_have_written_is_refused_whoever_names_it(
    tmp_path: Path, home: dict[str, str]
) -> None:
    folder, kubeconfig = tmp_path / "work", tmp_path / "open/kubeconfig"
    file = written(folder / "clockstep.toml", "a")
    file.write_text(KUBERNETES.format("{kubeconfig = '../open/kubeconfig'}"))
    assert access(file, home, folder) == KubeAccess(str(folder / "../open/kubeconfig"))  # there is none yet
    written(kubeconfig, "any")
    assert access(file, home, folder)
    (tmp_path / "open").chmod(0o777)
    for named in (file, None):
        with pytest.raises(
            UsageError, match=r"kubeconfig is not trusted: .*open may be written by everybody"
        ) as caught:
            access(named, home, folder)
        assert "--kubeconfig" in caught.value.hint
    (tmp_path / "open").chmod(0o755)
    kubeconfig.unlink()
    os.mkfifo(kubeconfig)
    with pytest.raises(UsageError, match="not a regular file"):
        access(file, home, folder)


def test_a_kubeconfig_may_start_programs_if_somebody_named_it_or_its_configuration(
    tmp_path: Path, home: dict[str, str]
) -> None:
    file = written(tmp_path / "clockstep.toml", "a")
    file.write_text(KUBERNETES.format("{kubeconfig = '/absent'}"))
    assert access(file, home, tmp_path) == KubeAccess("/absent")
    assert access(None, home, tmp_path) == KubeAccess("/absent", passive=True)
    file.write_text(KUBERNETES.format("{context = 'lab'}"))
    assert access(None, home, tmp_path) == KubeAccess("", "lab")  # the user's own kubeconfig
    file.unlink()
    own = written(tmp_path / "home/.config/clockstep/config.toml", "a")
    own.write_text(KUBERNETES.format("{kubeconfig = '/absent'}"))
    assert access(None, home, tmp_path) == KubeAccess("/absent")
