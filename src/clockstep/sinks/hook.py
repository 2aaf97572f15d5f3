"""A command of the user's that is run after a node was corrected, with the Episode on its standard input."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from clockstep.core.summary import was_corrected
from clockstep.errors import visible
from clockstep.host.hook import Hook
from clockstep.model import Episode
from clockstep.ports import Listed, Tell
from clockstep.render.output import json_line

Command = Callable[[], Sequence[str]]
ABREAST = 8
ALL_WITHIN_S = 60.0
"""How many commands run at the same time after a revert, and how long all of them may take."""


class HookSink:
    """Runs the command that is meant at that moment, if any; what goes wrong with it is told in one line."""

    def __init__(self, command: Command, hook: Hook, tell: Tell) -> None:
        self._command = command
        self._hook = hook
        self._tell = tell

    def surveyed(self, listed: Sequence[Listed]) -> None:
        """Take what the hypervisors listed: nothing to run for."""

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Run the command after an Episode in which something was done to a clock."""
        command = self._command()
        if command and new and was_corrected(episode):
            line = f"{json_line(episode)}\n".encode()
            if trouble := self._hook.run(command, line):
                self._tell("", visible(f"{episode.node}: on_corrected: {command[0]} {trouble}"))

    def ended(self) -> None:
        """Take that the watch is over."""


def run_after(command: Sequence[str], episodes: Sequence[Episode], tell: Tell, hook: Hook) -> None:
    """Run the command for each of these Episodes, and return when all have ended, or have been."""
    sink = HookSink(lambda: command, hook, tell)
    pool = ThreadPoolExecutor(ABREAST)
    try:
        begun = [pool.submit(sink.seen, episode, new=True) for episode in episodes]
        late = wait(begun, ALL_WITHIN_S).not_done
        if late:
            tell("", f"on_corrected: cut off after {ALL_WITHIN_S:g} s, with {len(late)} of {len(begun)} not ended")
    finally:
        hook.cut_off()
        pool.shutdown(cancel_futures=True)
