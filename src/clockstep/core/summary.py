"""What Episodes come to together, for whoever asks one question of a whole cluster. Pure."""

from collections.abc import Sequence

from clockstep.core.checks import ORDER
from clockstep.model import Episode, Step, Summary, What


def summarise(episodes: Sequence[Episode]) -> Summary | None:
    """Return the worst verdict, the largest offset with its bound, and the longest time wrong; None of none."""
    if not episodes:
        return None
    offsets = [episode.after for episode in episodes]
    bounds = [max(abs(offset.earliest_ns), abs(offset.latest_ns)) for offset in offsets if offset]
    wrong = [episode.wrong_for_ns for episode in episodes if episode.wrong_for_ns is not None]
    return Summary(
        max((episode.verdict for episode in episodes), key=ORDER.index),
        max(bounds) if len(bounds) == len(episodes) else None,
        max(wrong, default=None),
    )


def was_corrected(episode: Episode) -> bool:
    """Whether something was done to a node's clock: it was stepped, or the node was reverted."""
    return episode.cause.kind == What.REVERTED.value or any(isinstance(action, Step) for action in episode.actions)
