"""Jobs whose deadline passed while their nodes stood still: a step of the clock took their time away.

A Job with activeDeadlineSeconds is ended once that is over since its startTime, by the controller's wall clock
(kubernetes.io, Jobs: job termination and cleanup). A Job that failed is not begun again by anybody. How much time was
missed is known by the steps in this host's history alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from shlex import quote

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.commands import named
from clockstep.core.aftermath.objects import AHEAD_NS
from clockstep.model import Broken
from clockstep.model.damage import ClockStep, Input, KubeJob, Seen
from clockstep.units import show_duration, show_moment

CODE = "CS-JOB"
GENERATED = (
    '{"status":null,"spec":{"selector":null,"template":{"metadata":{"labels":'
    '{"controller-uid":null,"batch.kubernetes.io/controller-uid":null}}}}}'
)
"""What a Job knows its own pods by; a new one gets its own."""
LONGEST = 63 - len("-again")


def find(seen: Seen) -> Iterator[Broken]:
    """Give the Jobs that had time left, if the time is taken off that a node missed: which was theirs is not known."""
    for job in seen.jobs:
        until_ns = seen.now_ns if job.failed_ns is None else job.failed_ns
        passed_ns = until_ns - job.started_ns
        missed_ns = missed(seen.steps, job.started_ns, until_ns)
        if passed_ns - missed_ns < job.lasts_ns <= passed_ns:
            yield _broken(job, passed_ns, missed_ns)


def _broken(job: KubeJob, passed_ns: int, missed_ns: int) -> Broken:
    ended = "was ended by" if job.failed_ns is not None else "is about to be ended by"
    text = (
        f"{ended} its deadline of {show_duration(job.lasts_ns)}: of the {show_duration(passed_ns)} since it began, "
        f"a node missed {show_duration(missed_ns)}"
    )
    at = f", DeadlineExceeded {show_moment(job.failed_ns)}" if job.failed_ns is not None else ""
    evidence = f"startTime {show_moment(job.started_ns)}{at}"
    return Broken(CODE, job.ref, text, evidence, _cure(job), "it begins from the start", job.failed_ns)


def _cure(job: KubeJob) -> str:
    if job.owner and job.owner.kind == "CronJob":
        again = replace(job.ref, name=f"{job.ref.name[:LONGEST]}-again")
        return f"kubectl create job --from=cronjob/{quote(job.owner.name)} {named(again)}"
    local = f"kubectl patch --local --type merge -p '{GENERATED}' -f - -o json"
    return f"kubectl get job {named(job.ref)} -o json | {local} | kubectl replace --force -f -"


def missed(steps: Iterable[ClockStep], from_ns: int, until_ns: int) -> int:
    """Return how much of that time did not pass for the node that missed most, by the steps of its clock.

    A step forward at `at_ns` skips the time before it, as long as it is. What two steps skip counts once: of two
    reverts to one snapshot, the second skips all that the first one did. A revert after that time took none of it.
    """
    skipped: dict[str, list[tuple[int, int]]] = {}
    for step in steps:
        if step.reverted and step.at_ns > until_ns + AHEAD_NS:
            continue
        begin_ns, end_ns = max(from_ns, step.at_ns - step.by_ns), min(until_ns + AHEAD_NS, step.at_ns)
        if begin_ns < end_ns:
            skipped.setdefault(step.node, []).append((begin_ns, end_ns))
    return max(map(_together, skipped.values()), default=0)


def _together(spans: list[tuple[int, int]]) -> int:
    """Return the length of what these spans cover."""
    total_ns, over_ns = 0, min(begin_ns for begin_ns, _ in spans)
    for begin_ns, end_ns in sorted(spans):
        total_ns += max(0, end_ns - max(begin_ns, over_ns))
        over_ns = max(over_ns, end_ns)
    return total_ns


CHECK = Check(CODE, "Jobs with a deadline", find, (Input.JOBS, Input.STEPS), after=("CS-CLOCK",))
