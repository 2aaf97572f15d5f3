"""All checks, in the order in which one repairs: what a later one finds may be healed by an earlier one's cure."""

from clockstep.core.aftermath import (
    apiservice,
    authority,
    ceph,
    claim,
    clock,
    control_plane,
    cron,
    job,
    kubelet,
    leader,
    network,
    renewal,
    secrets,
    serving,
    signing,
    stale,
    stuck,
    token,
)
from clockstep.core.aftermath.checking import Check, Remedy
from clockstep.model.damage import Seen

CHECKS: tuple[Check[Seen], ...] = (
    clock.CHECK,
    leader.CHECK,
    control_plane.CHECK,
    kubelet.CHECK,
    signing.CHECK,
    network.CHECK,
    ceph.CHECK,
    claim.CHECK,
    renewal.CHECK,
    secrets.CHECK,
    authority.CHECK,
    serving.CHECK,
    stale.CHECK,
    apiservice.CHECK,
    token.CHECK,
    stuck.CHECK,
    cron.CHECK,
    job.CHECK,
)
REMEDIES: tuple[Remedy[Seen], ...] = (
    kubelet.REMEDY,
    signing.REMEDY,
    network.REMEDY,
    ceph.REMEDY,
    claim.REMEDY,
    renewal.REMEDY,
    serving.REMEDY,
    stale.REMEDY,
    apiservice.REMEDY,
    token.REMEDY,
    stuck.REMEDY,
)
"""What a check has no remedy for here is the user's: its finding has the command."""
