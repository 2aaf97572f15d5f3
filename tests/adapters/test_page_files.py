"""Where a page is written to, and over what it is not."""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.stories import NOW, REVERT
from clockstep.errors import ClockstepError, UsageError
from clockstep.render.page import MARK, page
from clockstep.state.pages import publish, refuse_unfit

PAGE = page(REVERT, at_ns=NOW)
NOBODY = 65534


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_page_takes_the_place_of_a_page_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "what-happened.html"
    publish(path, "first" + MARK, MARK)
    publish(path, PAGE, MARK)
    assert path.read_text(encoding="utf-8") == PAGE
    assert left(tmp_path) == ["what-happened.html"]


def test_it_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        publish(tmp_path / "a.html", PAGE, MARK)
    finally:
        os.umask(before)
    assert (tmp_path / "a.html").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("content", ["", "<!doctype html><html>somebody else's", "x" * 5000 + MARK])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "index.html"
    path.write_text(content)
    with pytest.raises(UsageError, match="was not written by clockstep") as refused:
        refuse_unfit(path, MARK)
    assert "remove this one" in refused.value.hint
    with pytest.raises(ClockstepError, match="was not written by clockstep"):
        publish(path, PAGE, MARK)
    assert path.read_text() == content
    assert left(tmp_path) == ["index.html"]


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "pipe.html")
    for name in ("folder.html", "pipe.html"):
        with pytest.raises(UsageError, match="was not written by clockstep"):
            refuse_unfit(tmp_path / name, MARK)
    with pytest.raises(UsageError, match="was not written by clockstep"):
        refuse_unfit(Path("/dev/null"), MARK)


@pytest.mark.parametrize("target", ["there.html", "not-there.html"])
def test_a_link_is_not_followed_wherever_it_leads(tmp_path: Path, target: str) -> None:
    publish(tmp_path / "there.html", PAGE, MARK)
    (tmp_path / "link.html").symlink_to(tmp_path / target)
    with pytest.raises(ClockstepError, match="is a link"):
        publish(tmp_path / "link.html", PAGE, MARK)
    assert left(tmp_path) == ["link.html", "there.html"]


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        refuse_unfit(tmp_path / "gone" / "a.html", MARK)


def test_a_folder_that_may_not_be_written_is_a_clear_error() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        with not_as_root(), pytest.raises(UsageError, match="may not be written by this user"):
            refuse_unfit(Path(folder) / "a.html", MARK)


@contextmanager
def not_as_root() -> Iterator[None]:
    """Root may write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_name_that_is_too_long_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: File name too long"):
        refuse_unfit(tmp_path / ("x" * 300 + ".html"), MARK)


def test_a_page_that_has_no_room_is_an_error_and_leaves_the_page_before(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    publish(path, PAGE, MARK)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(PAGE), hard))
    try:
        with pytest.raises(ClockstepError, match="cannot be written: File too large") as failed:
            publish(path, PAGE * 2, MARK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.hint
    assert path.read_text(encoding="utf-8") == PAGE
    assert left(tmp_path) == ["a.html"]
