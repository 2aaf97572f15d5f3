"""What tests put in place of this machine's programs never reaches those."""

from pathlib import Path

from adapters.far_shell import fake


def test_a_stand_in_is_not_written_through_a_link(tmp_path: Path) -> None:
    own, tools = tmp_path / "own", tmp_path / "tools"
    own.write_text("this machine's")
    tools.mkdir()
    (tools / "id").symlink_to(own)
    fake(tools, "id", "echo 0")
    assert own.read_text() == "this machine's"
    assert (tools / "id").read_text() == "#!/bin/sh\necho 0\n"
