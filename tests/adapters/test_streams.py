"""What is printed where a stream has not every letter."""

import json
import os
import subprocess
import sys

import pytest

from clockstep.host.streams import spelled

PRINT = "from clockstep.host.streams import print_anything; print_anything(); print({!r})"


def printed(text: str, encoding: str) -> str:
    """What a process prints to such a stream."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    words = [sys.executable, "-c", PRINT.format(text)]
    return subprocess.run(words, env=environment, capture_output=True, check=True).stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "koi8-r"])
def test_letters_of_our_own_are_spelled_and_others_escaped(encoding: str) -> None:
    assert printed("-3 µs ± 1 µs…", encoding) == "-3 us +- 1 us...\n"
    assert json.loads(printed('"node-ß-😀"', encoding)) == "node-ß-😀"


def test_what_a_stream_has_stays() -> None:
    assert printed("-3 µs ± 1 µs", "latin-1") == "-3 µs ± 1 µs\n"
    assert printed("-3 µs ± 1 µs…", "utf-8") == "-3 µs ± 1 µs…\n"


def test_what_cannot_be_read_is_no_matter_of_printing() -> None:
    with pytest.raises(UnicodeDecodeError):
        spelled(UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"))
