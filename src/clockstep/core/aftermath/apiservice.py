"""APIServices that the API server cannot use, as metrics-server's (#1059, #314) after a suspend.

The API server looks again every 30 s. One that stays unavailable with pods that run is restarted.
"""

from collections.abc import Iterator

from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.core.aftermath.objects import behind, restart
from clockstep.model import Act, Broken
from clockstep.model.damage import Input, Seen
from clockstep.units import SECOND_NS

CODE = "CS-APISERVICE"


def find(seen: Seen) -> Iterator[Broken]:
    """Give the APIServices that are not available."""
    for one in seen.apiservices:
        if one.service and one.available is False:
            ready = [pod for pod in behind(seen, one.service) if pod.ready]
            text = "not available" if ready else "not available, and no pod behind it is ready"
            cure = "restart the workload behind it" if ready else f"look at the pods behind {one.service}"
            yield Broken(CODE, one.ref, text, one.message, cure, "its API is away meanwhile", one.changed_ns)


def plan(seen: Seen, broken: Broken) -> Act | str:
    """Restart the workload behind it."""
    service = next((one.service for one in seen.apiservices if one.ref == broken.on), None)
    return restart(seen, broken, behind(seen, service)) if service else "it is gone"


CHECK = Check(
    CODE,
    "APIServices",
    find,
    (Input.APISERVICES, Input.SERVICES, Input.PODS, Input.WORKLOADS),
    after=("CS-SERVING",),
    patience_ns=60 * SECOND_NS,
)
REMEDY = Remedy(CODE, plan)
