"""What packages carry: locked, and checked by hash when it is used."""

from pathlib import Path

import pytest

from carried import KUBERNETES, OLD, checked, locked


@pytest.mark.parametrize("name", [*KUBERNETES, *OLD, "click", "msgspec"])
def test_all_that_is_carried_is_locked_by_hash(name: str) -> None:
    text = locked(name)
    assert text.startswith(f"{name}==")
    assert " --hash=sha256:" in text
    assert "#" not in text


def test_a_wheel_that_is_not_what_is_locked_ends_the_build(tmp_path: Path) -> None:
    other = tmp_path / "click-8.5.1-py3-none-any.whl"
    other.write_bytes(b"PK")
    with pytest.raises(SystemExit, match=r"click-8.5.1-py3-none-any.whl is not what dev.txt locks"):
        checked([other], locked("click"))
