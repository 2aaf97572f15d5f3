"""Which certificates a node's Kubernetes has, and until when: read in the node, without any key."""

from clockstep.core.certificates import LONGEST, MOST
from clockstep.core.foreign import understood
from clockstep.core.sections import LAST, sections
from clockstep.core.x509 import parse, pem_blocks
from clockstep.errors import ReachError
from clockstep.guest import program
from clockstep.model import Certificate
from clockstep.ports import Reach

READ = program("certificates/certificates.sh", MOST=MOST)
FILE, UNREADABLE = "file ", "unreadable "


def certificates(reach: Reach, deadline_ns: int) -> tuple[Certificate, ...]:
    """Return the certificates of a node's Kubernetes; none where it has none. Raises ReachError if it does not say."""
    answer = understood(_read, reach.run(["/bin/sh", "-c", READ, "clockstep", ""], b"", deadline_ns).out)
    if answer is None:
        raise ReachError("the node does not report its certificates", "check that it has a shell and awk", lasting=True)
    found, unreadable = answer
    if unreadable:
        text = f"{', '.join(unreadable)} may not be read there"
        raise ReachError(text, "reach it as root, or by a login that may use sudo", lasting=True)
    return found


def read(output: str) -> tuple[Certificate, ...] | None:
    """Return the certificates in the answer to READ; None of one that is not whole."""
    answer = understood(_read, output)
    return answer and answer[0]


def _read(output: str) -> tuple[tuple[Certificate, ...], list[str]] | None:
    said = sections(output)
    if LAST not in said:
        return None
    files = [(name.removeprefix(FILE), lines) for name, lines in said.items() if name.startswith(FILE)]
    found = [one for path, lines in files if (one := _certificate(path, lines))]
    return tuple(found[:MOST]), [name.removeprefix(UNREADABLE) for name in said if name.startswith(UNREADABLE)]


def _certificate(path: str, lines: list[str]) -> Certificate | None:
    """Return the certificate of a file; None if it cannot be read, which costs only itself."""

    def parsed(text: str) -> Certificate:
        who = parse(pem_blocks(text)[0])
        return Certificate(path[:LONGEST], who.subject[:LONGEST], who.not_before_ns, who.not_after_ns)

    return understood(parsed, "\n".join(lines))
