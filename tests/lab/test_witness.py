"""What the witness makes of what it has heard; no guest is needed for that."""

from clockstep_lab import witness
from clockstep_lab.witness import Stamp


def test_a_stamp_that_a_revert_delivers_once_more_is_not_one_of_after_the_revert() -> None:
    before = [Stamp(heard_ns=n, heard_monotonic_ns=n, guest_ns=n, connection=1) for n in (10, 20, 30)]
    again = Stamp(heard_ns=90, heard_monotonic_ns=90, guest_ns=30, connection=2)
    wrong = Stamp(heard_ns=91, heard_monotonic_ns=91, guest_ns=31, connection=2)
    heard = witness.Testimony([*before, again, wrong], connections=2)
    assert heard.returned(1).stamps == [wrong]
    assert heard.returned(2).stamps == []
