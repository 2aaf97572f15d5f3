"""CronJobs that were last scheduled in the future: nothing runs until then.

The controller (since 1.21 the second one) looks for start times after lastScheduleTime (pkg/controller/cronjob). More
than 100 missed starts only warn there (kubernetes #42649 is of the first one), so they are not looked for.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check
from clockstep.core.aftermath.commands import named
from clockstep.model import Broken
from clockstep.model.damage import Input, Seen
from clockstep.units import MINUTE_NS, show_duration, show_moment

CODE = "CS-CRON"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the CronJobs that wait for a moment that is still to come."""
    for job in seen.cron_jobs:
        if job.suspended or job.scheduled_ns is None or job.scheduled_ns - seen.now_ns <= MINUTE_NS:
            continue
        text = f"runs nothing for another {show_duration(job.scheduled_ns - seen.now_ns)}"
        cure = (
            f"kubectl patch cronjob {named(job.ref)} --subresource status --type merge "
            '-p \'{"status":{"lastScheduleTime":null}}\', or wait until then'
        )
        risk = "it may run at once, a second time for the same moment"
        yield Broken(CODE, job.ref, text, f"lastScheduleTime {show_moment(job.scheduled_ns)}", cure, risk)


CHECK = Check(CODE, "CronJobs", find, (Input.CRON_JOBS,), after=("CS-CLOCK",))
