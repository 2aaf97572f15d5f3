"""How a lab's guests come up: restored from their kept moments, or booted, and then kept."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import libvirt

from . import guests, moments
from .cache import Say, lock_of
from .domain import Machine, witness_socket
from .errors import LabError
from .image import Image
from .moments import BOOTED, Looks, Moments, State
from .saved import UnusableError
from .seed import Files, as_script, write_seed
from .threads import side_by_side
from .witness import Echo, Look

LookAt = Callable[[str], contextlib.AbstractContextManager[Looks]]
"""The witness of the guest of this name."""
ECHO_S = 5


@dataclass(frozen=True)
class Starter:
    """Starts guests of one lab; `told` is what each is told of it, `look_at` the witness that sees their clocks."""

    uri: str
    folder: Path
    image: Image
    kvm: bool
    told: Callable[[Machine], Files]
    look_at: LookAt
    say: Say

    def booted(self, names: Sequence[str]) -> list[Machine]:
        """Boot these guests, and wait until they answer. Raises LabError."""
        machines = []
        for name in names:
            machines.append(self._placed(name, self._boot))
            self.say(f"started {name}")
        guests.await_all(self.uri, self.folder, machines, self.image.boot_s * max(1, len(names) / 3), self.say)
        return machines

    def restored(self, names: Sequence[str], state: State) -> list[Machine]:
        """Restore these guests from their kept moments, which are made first where they are lacking.

        What cannot be kept or restored is said, and booted. Raises LabError.
        """
        kept = Moments(self.image, self.kvm, state)
        adopted = self._keep(kept, lacking) if (lacking := kept.lacking(names)) else []
        lacking = kept.lacking(names)
        restored = self.tried(kept, [name for name in names if name not in lacking])
        found = {machine.name: machine for machine in (*restored, *adopted)}
        boot = [name for name in names if name not in found]
        if boot and state.script:
            raise LabError(f"{', '.join(boot)}: what is kept of {self.image.name} {state.name} cannot be restored")
        found |= {machine.name: machine for machine in self.booted(boot)}
        return [found[name] for name in names]

    def tried(self, kept: Moments, names: Sequence[str]) -> list[Machine]:
        """Restore these guests from their kept moments; those that came to nothing are said, and left out."""
        return list(filter(None, side_by_side(partial(self._try, kept), names, _at_once())))

    def rewind(self, machines: Sequence[Machine], state: State) -> None:
        """Put guests back to their kept moments, made first where they are lacking. Raises LabError."""
        kept = Moments(self.image, self.kvm, state)
        if lacking := kept.lacking([machine.name for machine in machines]):
            self.remove(lacking)
            self._keep(kept, lacking)
        self.put_back(kept, machines)

    def put_back(self, kept: Moments, machines: Sequence[Machine]) -> None:
        """Put guests back to moments that are kept. Raises LabError."""

        def back(machine: Machine) -> None:
            try:
                self.remove([machine.name])
                with contextlib.closing(guests.connect(self.uri)) as connection:
                    moments.restore(connection, self.folder, machine, kept, again=True)
                self._adopt(machine)
            except (UnusableError, OSError, libvirt.libvirtError) as error:
                raise LabError(f"{machine.name} cannot be restored to its saved state: {error}") from error

        side_by_side(back, machines, _at_once())

    def remove(self, names: Sequence[str]) -> None:
        """Destroy and undefine these guests, as far as they exist. Raises LabError."""
        with contextlib.closing(guests.connect(self.uri)) as connection:
            for name in names:
                guests.remove(connection, name)

    def _keep(self, kept: Moments, names: Sequence[str]) -> list[Machine]:
        """Make the moments that are lacking, if nobody else has made them meanwhile.

        Returns those guests that run, since their moment could not be kept.
        """
        with lock_of(kept.kind, self.say):
            lacking = kept.lacking(names)
            if not lacking:
                return []
            self.say(f"keeping {self.image.name} {kept.state.name}, so that the next start is faster")
            machines = self.restored(lacking, BOOTED) if kept.state.script else self.booted(lacking)
            return list(filter(None, side_by_side(partial(self._keep_one, kept), machines)))

    def _keep_one(self, kept: Moments, machine: Machine) -> Machine | None:
        """Keep a guest's moment and remove the guest; what could not be kept becomes one of this lab again."""
        with contextlib.closing(guests.connect(self.uri)) as connection:
            try:
                moments.keep(connection, self.folder, machine, kept)
            except LabError as error:
                if kept.state.script:
                    raise
                self.say(f"{machine.name} is not kept: {error.message}")
                with contextlib.suppress(LabError, OSError, libvirt.libvirtError):  # else it is booted again
                    if connection.lookupByName(machine.name).isActive():
                        self._adopt(machine)
                        return machine
            guests.remove(connection, machine.name)
        return None

    def _adopt(self, machine: Machine) -> None:
        with self.look_at(machine.name) as looks:
            moments.adopt(self.folder, machine.name, as_script(self.told(machine)), looks)

    def _try(self, kept: Moments, name: str) -> Machine | None:
        """A guest that was restored and answers, or None when that came to nothing, which is said."""
        try:
            machine = replace(self._placed(name, partial(self._restore, kept)), warm=True)
            self._adopt(machine)
        except (UnusableError, LabError, OSError) as error:
            said = error.message if isinstance(error, LabError) else error
            self.say(f"{name}: its saved state is unusable: {said}")
            if isinstance(error, UnusableError):
                kept.forget(name)
            with contextlib.suppress(LabError):
                self.remove([name])
            return None
        self.say(f"restored {name}")
        return machine

    def _restore(self, kept: Moments, machine: Machine) -> None:
        with contextlib.closing(guests.connect(self.uri)) as connection:
            moments.restore(connection, self.folder, machine, kept, again=False)

    def _boot(self, machine: Machine) -> None:
        guests.boot(self.uri, self.folder, machine, self.image, self.kvm)

    def _placed(self, name: str, start: Callable[[Machine], None]) -> Machine:

        def seeded(machine: Machine) -> None:
            write_seed(self.folder, machine, self.told(machine))

        return guests.place(self.folder, name, seeded, start)


@contextmanager
def echo(folder: Path, name: str) -> Iterator[Looks]:
    """Looks at a guest's clock by its witness, to whom nobody else listens."""
    with contextlib.closing(Echo(witness_socket(folder, name, "echo"))) as port:

        def looks(count: int) -> list[Look]:
            return [port.look(ECHO_S) for _ in range(count)]

        yield looks


def _at_once() -> int:
    """How many guests are restored at a time: each keeps most of a core busy, and a busy machine disturbs clocks."""
    return (os.cpu_count() or 1) + 1
