"""What a wrong time has broken in a cluster: looked at, waited for, and cured one after the other.

Nothing is kept here of what was done: it is in the cluster, on the objects themselves. So a run that was killed is gone
on with by the next one.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clockstep.core.aftermath.checking import Check, Remedy, inputs, look, with_earlier
from clockstep.core.aftermath.planning import one_repair, plan
from clockstep.errors import ClockstepError
from clockstep.model import Act, AftermathReport, Broken, Deed, Healed, KubeRef, Looked, Repair
from clockstep.model.damage import Input, Seen, Unread
from clockstep.ports import Clock, Reference, Tell
from clockstep.ports.damage import Healing
from clockstep.units import SECOND_NS, show_duration

AGAIN_NS = 3 * SECOND_NS
PROOF_NS = 180 * SECOND_NS
"""How long a cure may take until a look no longer finds what it was for."""
Checks = Sequence[Check[Seen]]
Key = tuple[str, KubeRef, str]
"""What a finding stays the same by."""
Inside = Callable[[Collection[Input], Seen], Seen]
"""Adds what is seen from the nodes, of these inputs, or why that is missing."""
OnNode = Callable[[Act], str]
"""Does something on a node; returns why it was skipped, or nothing if it was done. Raises ClockstepError."""
ON_NODES = {Deed.RESTART_KUBELET}
"""What is done by a command on a node, and not by the API server."""


def nowhere(_act: Act) -> str:
    """Do nothing on a node, where none can be reached; return that."""
    return "no machine of this cluster is known here"


@dataclass(frozen=True, slots=True)
class Scene:
    """Whom to ask: the cluster, its nodes from `inside`, the reference; and whom to tell.

    `on_node` does something on a node, and returns why it did not. `kept` gets each act as it is done, and what came of
    it, for the history. `again_ns` is how long after a look there is another one, while something may heal.
    """

    cluster: Healing
    inside: Inside
    reference: Reference
    clock: Clock
    tell: Tell
    kept: Callable[[Repair], None] = lambda _repair: None
    on_node: OnNode = nowhere
    again_ns: int = AGAIN_NS

    @property
    def now_ns(self) -> int:
        """The reference's time, in nanoseconds since 1970."""
        return self.reference.now().at_ns

    def perform(self, act: Act, at_ns: int) -> str:
        """Do something; return why it was skipped, or nothing if it was done. Raises ClockstepError."""
        return self.on_node(act) if act.deed in ON_NODES else self.cluster.perform(act, at_ns)


def gathered(scene: Scene, wanted: Collection[Input], before: Seen | None = None) -> Seen:
    """Return what is there now, with what was seen before of all that is not wanted. Raises KubernetesError."""
    fields, unread = scene.cluster.gather(wanted)
    before = before or Seen(0)
    kept = {one: why for one, why in before.unread.items() if one not in wanted}
    changes: dict[str, Any] = {**fields, "now_ns": scene.now_ns, "unread": {**kept, **unread}}
    seen = replace(before, **changes)
    if Input.PROBES in wanted:
        seen = _probed(scene, seen)
    return scene.inside(wanted, seen)


def _probed(scene: Scene, seen: Seen) -> Seen:
    """Add what comes of calling webhooks; if none could be called, why not."""
    if why := seen.unread.get(Input.WEBHOOKS):
        return replace(seen, unread={**seen.unread, Input.PROBES: why})
    probes = scene.cluster.probe(seen.webhooks)
    if probes and all(one.skipped for one in probes):
        why = Unread(f"no webhook could be called by a dry run: {probes[0].name}: {probes[0].skipped}")
        return replace(seen, probes=probes, unread={**seen.unread, Input.PROBES: why})
    return replace(seen, probes=probes)


def aftermath(scene: Scene, checks: Checks, known: Collection[Key] = ()) -> tuple[AftermathReport, Seen]:
    """Look, and again while what was found may heal by itself; not for what is `known`, and was waited for before.

    Raises KubernetesError.
    """
    seen = gathered(scene, inputs(checks))
    looked = look(checks, seen)
    since_ns: dict[str, int] = {}
    while waiting := _waiting(scene, checks, looked, since_ns, known):
        scene.clock.sleep_ns(scene.again_ns)
        seen = gathered(scene, inputs(waiting), seen)
        looked = look(checks, seen)
    now_ns = scene.clock.monotonic_ns()
    waited = tuple(replace(one, waited_ns=now_ns - since_ns.get(one.code, now_ns)) for one in looked)
    return AftermathReport(seen.now_ns, waited), seen


def _waiting(
    scene: Scene, checks: Checks, looked: Sequence[Looked], since_ns: dict[str, int], known: Collection[Key]
) -> list[Check[Seen]]:
    """Return the checks whose findings may still heal, and tell of each."""
    now_ns, waiting = scene.clock.monotonic_ns(), []
    for check, found in zip(checks, looked, strict=True):
        if not found.broken or not check.patience_ns:
            continue
        left_ns = since_ns.setdefault(check.code, now_ns) + check.patience_ns - now_ns
        may_heal = [
            one
            for one in found.broken
            if not one.lasting and (one.heals_ns or 0) - scene.now_ns <= left_ns and one.key not in known
        ]
        if left_ns > 0 and may_heal:
            first, within = may_heal[0], show_duration(check.patience_ns)
            scene.tell(check.code, f"{first.on}: {first.text}; it may heal within {within}")
            waiting.append(check)
    return waiting


def planned(report: AftermathReport, remedies: Sequence[Remedy[Seen]], seen: Seen) -> AftermathReport:
    """Return a report with what would be done about each finding."""
    return replace(report, repairs=plan(report.checks, remedies, seen))


def repair(
    scene: Scene, checks: Checks, remedies: Sequence[Remedy[Seen]], plans: Sequence[Repair], every: Checks = ()
) -> AftermathReport:
    """Carry out what was planned, one after the other, and look at all again.

    What a cure has left to heal by itself is waited for, as an APIService that the API server looks at every 30 s.
    `every` are all checks, if only some were chosen: nothing is cured before what must be in order first, as clocks.
    """
    done = tuple(_repaired(scene, every or checks, remedies, one) if one.act else one for one in plans)
    try:
        report, _ = aftermath(scene, checks, {one.broken.key for one in plans})
    except ClockstepError as error:  # what was done is reported all the same
        seen = Seen(scene.now_ns, {one: Unread(error.message) for one in Input})
        report = AftermathReport(seen.now_ns, look(checks, seen))
    return replace(report, repairs=done)


def _repaired(scene: Scene, checks: Checks, remedies: Sequence[Remedy[Seen]], plan: Repair) -> Repair:
    """Cure one finding, if it is there still and may be cured still."""
    *earlier, check = with_earlier(checks, [plan.broken.code])
    try:
        seen = gathered(scene, inputs([*earlier, check]))
        looked = look([*earlier, check], seen)[-1]
        broken = _among(plan.broken, looked.broken)
        if broken is None and looked.why:
            return replace(plan, act=None, outcome=Healed.SKIPPED, why=f"could not look again: {looked.why}")
        if broken is None:
            return replace(plan, act=None, outcome=Healed.HEALED, proven_ns=seen.now_ns, why="it has healed by itself")
        now = one_repair(broken, remedies, seen)
        if now.act and not _is_shown(plan.act, now.act):
            why = "what it would be done to has changed since it was shown: run it again"
            return replace(now, act=None, outcome=Healed.SKIPPED, why=why)
        return _done(scene, check, now, now.act, looked.why) if now.act else now
    except ClockstepError as error:
        return replace(plan, outcome=Healed.NOT_HEALED, why=error.message)


def _is_shown(shown: Act | None, now: Act) -> bool:
    """Whether an act is the one that was agreed to: the same deed to the same object, and no more than waiting."""
    if shown is None or (shown.begun and not now.begun):
        return False
    return (shown.deed, shown.on, shown.uid) == (now.deed, now.on, now.uid)


def _done(scene: Scene, check: Check[Seen], now: Repair, act: Act, gaps: str) -> Repair:
    """Do it, and wait for the proof; `gaps` is what could not be looked at before either."""
    at_ns = scene.now_ns
    scene.tell(check.code, f"{act.deed.value} {act.on}{': begun already' if act.begun else ''}")
    try:
        why = "" if act.begun else scene.perform(act, at_ns)
    except ClockstepError as error:  # it may have been done all the same, if only the answer is lost
        failed = replace(now, outcome=Healed.NOT_HEALED, at_ns=at_ns, why=error.message)
        scene.kept(failed)
        return failed
    if why:
        return replace(now, outcome=Healed.SKIPPED, why=why)
    if not act.begun:
        scene.kept(replace(now, outcome=Healed.NOT_HEALED, at_ns=at_ns, why="it was begun"))
        _note(scene, act, f"{act.deed.value} because of {now.broken.code}: {now.broken.text}", at_ns)
    proven = _proven(scene, check, replace(now, at_ns=at_ns), gaps)
    scene.kept(proven)
    return proven


def _note(scene: Scene, act: Act, text: str, at_ns: int) -> None:
    try:
        scene.cluster.note(act, text, at_ns)
    except ClockstepError as error:
        scene.tell(act.code, f"no Event was recorded: {error.message}")


def _proven(scene: Scene, check: Check[Seen], repair: Repair, gaps: str) -> Repair:
    """Look until what was found is found no more."""
    until_ns, why = scene.clock.monotonic_ns() + max(PROOF_NS, check.patience_ns), "it is found still"
    while scene.clock.monotonic_ns() < until_ns:
        scene.clock.sleep_ns(scene.again_ns)
        try:
            seen = gathered(scene, inputs([check]))
        except ClockstepError:
            continue  # it may be away for a moment because of the cure
        looked = look([check], seen)[0]
        if looked.why in {"", gaps} and _among(repair.broken, looked.broken) is None:
            return replace(repair, outcome=Healed.HEALED, proven_ns=seen.now_ns)
        why = "it is found still" if looked.broken else f"could not look ({looked.why})"
    return replace(repair, outcome=Healed.NOT_HEALED, why=f"{why} after {show_duration(PROOF_NS)}")


def _among(broken: Broken, found: Sequence[Broken]) -> Broken | None:
    return next((one for one in found if one.key == broken.key), None)
