"""What a shell script in a node answers to several questions at once: sections, each begun by a marked line. Pure."""

MARK = "#clockstep "
LAST = "end"
"""The section that says that the answer is whole."""


def sections(answer: str) -> dict[str, list[str]]:
    """Return the lines of each section, but for the empty ones."""
    said: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in answer.splitlines():
        if line.startswith(MARK):
            lines = said.setdefault(line.removeprefix(MARK).strip(), [])
        elif line:
            lines.append(line)
    return said
