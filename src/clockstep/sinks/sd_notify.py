"""The service manager as a sink: it learns that the watch has begun, that it goes on, and that it is over."""

from collections.abc import Sequence

from clockstep.host.sd_notify import Notifier
from clockstep.model import Episode
from clockstep.ports import Listed


class ServiceManager:
    """Tells a service manager by sd_notify(3). The watcher gives its signs of life to it, too."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._began = False

    def surveyed(self, listed: Sequence[Listed]) -> None:  # noqa: ARG002 - that there is a listing is enough
        """Say that the start is over, at the first listing."""
        if not self._began:
            self._began = True
            self._notifier.ready("watching")

    def seen(self, episode: Episode, *, new: bool) -> None:
        """Take an Episode: nothing to say."""

    def ended(self) -> None:
        """Say that the watch is over."""
        self._notifier.stopping()

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._notifier.alive()

    def reloading(self) -> None:
        """Say that the configuration is being read again."""
        self._notifier.reloading()

    def reloaded(self, said: str) -> None:
        """Say what came of that."""
        self._notifier.ready(f"watching; {said}")
