"""The aftermath at the end of a command that has corrected clocks, whose own result nothing spoils."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from clockstep.core.aftermath.checking import Remedy
from clockstep.errors import ClockstepError, InternalError
from clockstep.flows.aftermath import Checks, Scene, aftermath, planned
from clockstep.loop.episodes import troubled
from clockstep.model import AftermathReport, Episode, Healed, Looked, State, Verdict
from clockstep.model.damage import Seen
from clockstep.ports import World

REFUSED = "answered with no"
INTERRUPTED = "interrupted in the aftermath: clockstep history has what was done to clocks; run clockstep aftermath"


def looked_after(
    scene: Scene, checks: Checks, remedies: Sequence[Remedy[Seen]], episodes: Sequence[Episode]
) -> AftermathReport:
    """Look, and again while something may heal by itself; return that with what would be done about the rest.

    Nothing would be while a clock of the run is not within tolerance. Raises KubernetesError.
    """
    report, seen = aftermath(scene, checks)
    plan, why = planned(report, remedies, seen), unproven(episodes)
    return skipped(plan, why) if why else plan


def unproven(episodes: Sequence[Episode]) -> str:
    """Return why nothing may be repaired yet: clocks that are not within tolerance."""
    wrong = [one.node for one in episodes if one.verdict is not Verdict.GOOD]
    return f"the clock of {', '.join(wrong)} is not within tolerance: correct it first" if wrong else ""


def skipped(plan: AftermathReport, why: str) -> AftermathReport:
    """Return a plan of which nothing was carried out."""
    repairs = (replace(one, act=None, outcome=Healed.SKIPPED, why=why) if one.act else one for one in plan.repairs)
    return replace(plan, repairs=tuple(repairs))


def reported(world: World, checks: Checks, job: Callable[[], AftermathReport]) -> AftermathReport:
    """Return what a job comes to; what goes wrong in it is in its report, a bug too.

    An interrupt is raised, after it was told where the rest of the report is by then: in the history.
    """
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - the command's own result is reported all the same
        wrong = error if isinstance(error, ClockstepError) else InternalError(error)
        looked = (Looked(one.code, one.title, State.NOT_LOOKED, wrong.message) for one in checks)
        return AftermathReport(world.reference.now().at_ns, tuple(looked), trouble=troubled(wrong))
    except BaseException:
        world.tell("", INTERRUPTED)
        raise
