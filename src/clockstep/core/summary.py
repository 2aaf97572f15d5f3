"""What Episodes come to together, for whoever asks one question of a whole cluster. Pure."""

from collections.abc import Sequence

from clockstep.core.checks import ORDER, judge, measured, worst
from clockstep.model import Episode, Examination, Offset, Policy, Step, Summary, What


def summarise(episodes: Sequence[Episode]) -> Summary | None:
    """Return the worst verdict, the largest offset with its bound, and the longest time wrong; None of none."""
    if not episodes:
        return None
    wrong = [episode.wrong_for_ns for episode in episodes if episode.wrong_for_ns is not None]
    return Summary(
        max((episode.verdict for episode in episodes), key=ORDER.index),
        _largest([episode.after for episode in episodes]),
        max(wrong, default=None),
    )


def was_corrected(episode: Episode) -> bool:
    """Whether something was done to a node's clock: it was stepped, or the node was reverted."""
    reverted = episode.cause.kind == What.REVERTED.value
    return reverted or any(isinstance(action, Step) for action in episode.actions)


def diagnosed(examinations: Sequence[Examination], policy: Policy) -> Summary | None:
    """Return the same of the clocks that `doctor` has read, without how long they were off."""
    if not examinations:
        return None
    facts = [one.facts for one in examinations]
    findings = [finding for one in facts for finding in judge(one, policy)]
    return Summary(worst(findings), _largest([measured(one) for one in facts]), None)


def _largest(offsets: Sequence[Offset | None]) -> int | None:
    """Return how far any clock may be off, its bound included; None if one was not read."""
    bounds = [max(abs(offset.earliest_ns), abs(offset.latest_ns)) for offset in offsets if offset]
    return max(bounds, default=None) if len(bounds) == len(offsets) else None
