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


def words(said: dict[str, list[str]], name: str) -> tuple[str, ...]:
    """Return the lines of a section, without blanks around them; none of one that is not there."""
    return tuple(line.strip() for line in said.get(name, ()))


def phrase(said: dict[str, list[str]], name: str) -> str:
    """Return a section as one line."""
    return " ".join(words(said, name))
