"""The freezer: workloads of a node that stand still, and the small process there that lets none stand still for ever.

It is a shell script and nothing else, since every node has a shell. What it froze is written down in the node's /run,
which a snapshot's memory has as well; so whoever proves the clock after a revert finds it there. Freezing is cgroup
v2's (Documentation/admin-guide/cgroup-v2.rst: cgroup.freeze, and `frozen` in cgroup.events).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from clockstep.core.foreign import bounded, understood
from clockstep.core.freezing import DEFAULT
from clockstep.core.sections import LAST, SAY, sections
from clockstep.errors import ReachError
from clockstep.model import Pod, Workloads
from clockstep.ports import Output, Reach
from clockstep.units import SECOND_NS

HOME = "/run/clockstep/freezer"
LEASE_S = 60
HELD_S = 86_400
"""How long a node that is to be held stands still at most, so that even then it is not for ever."""
COMPLETE_S = 10
TAKES_NS = (COMPLETE_S + 10) * SECOND_NS
RUN_ON = ("qemu-ga", "sshd*", "chronyd", "ntpd", "ntp-daemon", "systemd-timesyn", "ptp4l", "phc2sys")
"""What must never stand still, by the 15 characters that the kernel keeps of a program's name (proc_pid_comm(5))."""
POD = ("namespace", "name", "uid")
REFUSED, INCOMPLETE = 77, 75
"""sysexits.h: EX_NOPERM, EX_TEMPFAIL."""

SANDBOXES = 'labels."io.cri-containerd.kind"==sandbox'
"""containerd's CRI keeps each pod as a container of its own, which has what the kubelet said of it."""

LOOK = rf"""root=/sys/fs/cgroup
{SAY}
say unified; [ -f $root/cgroup.controllers ] && echo yes
say cgroups; for cgroup; do [ -f "$root/$cgroup/cgroup.freeze" ] && echo "$cgroup"; done
say pods; cd $root && for top in {" ".join(DEFAULT)}; do
[ -d $top ] && find $top -mindepth 1 -maxdepth 2 -type d -name '*pod*'; done
say static; folder=$(sed -n 's/^staticPodPath: *"\{{0,1\}}\([^"]*\)"\{{0,1\}}$/\1/p' /var/lib/kubelet/config.yaml)
ls "${{folder:-/etc/kubernetes/manifests}}" | grep -c '\.ya*ml$\|\.json$'
say kubelet; ls /var/lib/kubelet/pods | wc -l
if command -v crictl >/dev/null && pods=$(timeout 5 crictl pods -o json); then say crictl; printf '%s\n' "$pods"
elif command -v ctr >/dev/null && ids=$(timeout 5 ctr -n k8s.io containers ls -q '{SANDBOXES}'); then say ctr
for id in $ids; do timeout 5 ctr -n k8s.io containers info "$id" && echo; done; fi
say {LAST}"""

GUARD = r"""home=$1
over() {
    read -r owner <"$home/guard" && [ "$owner" = $$ ] || exit 0
    [ ! -e "$home/cgroups" ] ||
        while read -r cgroup; do echo 0 >"/sys/fs/cgroup/$cgroup/cgroup.freeze"; done <"$home/cgroups"
    echo "<5>clockstep: workloads thawed: $1" >/dev/kmsg
    rm -f "$home/cgroups" "$home/guard"
    kill $sleeper
    exit 0
}
trap 'over "told to"' TERM
echo -1000 >/proc/$$/oom_score_adj
echo $$ >"$home/guard"
while left=$(($(cat "$home/until") - $(cut -d. -f1 /proc/uptime))) && [ $left -gt 0 ]; do
    sleep $left & sleeper=$!
    wait $sleeper
done
over 'its lease is over'"""
"""Its lease may be made longer while it sleeps. wait is ended by a signal that is trapped (POSIX.1, 2.12), and sleep
goes by the monotonic clock (nanosleep(2)), as the uptime does but for a guest's own sleep (proc_uptime(5)). It logs to
the kernel's log, which every system has (Documentation/ABI/testing/dev-kmsg), as a notice."""

COMMON = (
    f"home={HOME}"
    + r""" root=/sys/fs/cgroup
umask 077
exec 3>&1
now() { read -r up rest </proc/uptime; up=${up%%.*}; }
await() { now; end=$((up + $1)); shift; until "$@"; do now; [ $up -lt $end ] || return 1; sleep 0.02; done; }
alive() {
    [ -s "$home/$1" ] && read -r pid <"$home/$1" || return 1
    line=; read -r line <"/proc/$pid/cmdline"
    case $line in *clockstep*) return 0;; *) return 1;; esac
}
guarded() { alive guard; }
unguarded() { ! alive guard; }
given_up() { ! alive freezing; }
start_guard() {
    if [ -d /run/systemd/system ]; then
        systemd-run --quiet --collect --unit=clockstep-freezer-$$ --property=Restart=on-failure \
            /bin/sh "$home/guard.sh" "$home" || return 1
    else
        setsid /bin/sh "$home/guard.sh" "$home" </dev/null >/dev/null 2>&1 3>&- &
    fi
    await 5 guarded
}
until_in() { now; echo $((up + $1)) >"$home/until.new" && mv "$home/until.new" "$home/until"; }
let_go() {
    [ ! -e "$home/cgroups" ] ||
        while read -r cgroup; do echo 0 >"$root/$cgroup/cgroup.freeze"; done <"$home/cgroups"
    guarded && kill "$pid" && await 5 unguarded
    rm -f "$home/cgroups" "$home/chosen" "$home/freezing"
}
frozen() { while read -r key value; do [ "$key $value" = 'frozen 1' ] && return 0; done <"$1/cgroup.events"; return 1; }
all_frozen() {
    while read -r cgroup; do
        [ ! -e "$root/$cgroup" ] || frozen "$root/$cgroup" || return 1
    done <"$home/cgroups"
}
refuse() { echo "$1" >&3; let_go; exit $2; }
"""
)
"""A number is taken for a process of ours only where its command line says so. The guard has a unit of its own, because
what qemu-ga or sshd start ends with them. A pod may end and its cgroup go while it is frozen: it can be killed. What is
done while workloads stand still starts no program where the shell can do it: in a busy guest each takes long."""

PREPARE = (
    COMMON
    + rf"""guard=$1 lease=$2; shift 2
if [ -e "$home/cgroups" ]; then
    echo 'workloads are frozen there already; clockstep thaw lets them run on'
    exit {REFUSED}
fi
mkdir -p "$home" && rm -f "$home/guard" "$home/thawed"
printf '%s\n' "$guard" >"$home/guard.sh"
for cgroup; do
    case /$cgroup/ in *//*|*/./*|*/../*) refuse "$cgroup is no path of a cgroup" {REFUSED};; esac
    [ -e "$root/$cgroup" ] || continue
    file=$root/$cgroup/cgroup.freeze
    [ -w "$file" ] || refuse "$cgroup cannot be frozen" {REFUSED}
    read -r before <"$file"
    [ "$before" = 1 ] || echo "$cgroup"
done >"$home/chosen"
mv "$home/chosen" "$home/cgroups" && until_in "$lease" || refuse "$home cannot be written" {REFUSED}
start_guard || refuse 'no guard could be started' {REFUSED}
host=$(readlink /proc/1/ns/pid)
while read -r cgroup; do
    for inside in $(find "$root/$cgroup" -name cgroup.procs -exec cat {{}} +); do
        read -r name <"/proc/$inside/comm" || continue
        case $inside in 1|$$|$PPID|$pid) refuse "$cgroup has $name in it, which must run on" {REFUSED};; esac
        case $name in {"|".join(RUN_ON)}) ;; *) continue;; esac
        [ "$(readlink /proc/$inside/ns/pid)" != "$host" ] ||
            refuse "$cgroup has $name in it, which must run on" {REFUSED}
    done
done <"$home/cgroups"
"""
)
"""A pod may well run a sshd of its own, in its own PID namespace; what counts is the system's."""

FREEZE = (
    COMMON
    + rf"""echo $$ >"$home/freezing"
trap 'let_go; exit {INCOMPLETE}' TERM
[ -e "$home/cgroups" ] || refuse 'its lease was over already' {INCOMPLETE}
while read -r cgroup; do
    echo 1 >"$root/$cgroup/cgroup.freeze" || [ ! -e "$root/$cgroup" ] || refuse "$cgroup cannot be frozen" {REFUSED}
done <"$home/cgroups"
await {COMPLETE_S} all_frozen ||
    refuse 'not all could be frozen in {COMPLETE_S} s: a process there waits and cannot be interrupted' {INCOMPLETE}
>"$home/freezing"
"""
)
"""Whoever thaws while this is still at work ends it first (SIGTERM)."""

THAW = (
    COMMON
    + r"""alive freezing && kill "$pid" && await 5 given_up
[ -e "$home/cgroups" ] || { sed -n "s/^$1 //p" "$home/thawed" 2>&- | grep . || echo none; exit 0; }
all_frozen && was=frozen || was=running
echo "$1 $was" >"$home/thawed"
let_go
echo $was"""
)
"""Asked again by the same caller, whom the first answer did not reach, it answers the same."""

RENEW = (
    COMMON
    + r"""[ -e "$home/cgroups" ] || exit 1
now; read -r till <"$home/until"
[ $((up + $1)) -le "$till" ] || until_in "$1"
guarded || start_guard"""
)
"""A lease is never made shorter: somebody may hold the node."""

STANDS = f"[ -e {HOME}/cgroups ]"


def survey(reach: Reach, cgroups: Sequence[str], deadline_ns: int) -> Workloads:
    """Return what a node has that could be frozen. Raises ReachError where it does not say."""
    output = _sh(reach, LOOK, [*cgroups, *DEFAULT], deadline_ns)
    found = parse(output.out)
    if found is None:
        hint = "see that it runs a shell as Linux has it"
        raise ReachError("it does not say what could be frozen", hint, lasting=True)
    return found


def prepare(reach: Reach, cgroups: Sequence[str], deadline_ns: int, lease_s: int = LEASE_S) -> None:
    """Have all ready for freezing these cgroups, and freeze nothing yet.

    Raises ReachError, and leaves nothing behind, where one may not be frozen. The node's own guard thaws them when
    `lease_s` seconds of its monotonic clock are over.
    """
    _require(_sh(reach, PREPARE, [GUARD, str(lease_s), *cgroups], deadline_ns))


def freeze(reach: Reach, deadline_ns: int) -> None:
    """Freeze what was prepared, and return when it stands still.

    Raises ReachError, and leaves nothing frozen, where not all of it does.
    """
    _require(_sh(reach, FREEZE, [], deadline_ns))


def _require(output: Output) -> None:
    if output.code:
        text = output.out.strip().rpartition("\n")[2] or output.err.strip()
        raise ReachError(f"its workloads were not frozen: {text}", "leave them out, or freeze others", lasting=True)


def thaw(reach: Reach, deadline_ns: int, caller: str) -> bool | None:
    """Thaw what was frozen; whether all of it stood still until then, None where nothing was frozen by clockstep.

    A `caller`, by a name of its own, may ask again where an answer was lost.
    """
    said = _sh(reach, THAW, [caller], deadline_ns).out.strip()
    if said not in {"frozen", "running", "none"}:
        raise ReachError("it does not say whether its workloads were thawed", "look into the guest")
    return None if said == "none" else said == "frozen"


def renew(reach: Reach, lease_s: int, deadline_ns: int) -> bool:
    """Have the guard wait for that long from now on, a new one where it is gone; whether there is one."""
    return _sh(reach, RENEW, [str(lease_s)], deadline_ns).code == 0


def stands(reach: Reach, deadline_ns: int) -> bool:
    """Whether workloads stand still that clockstep has frozen."""
    return _sh(reach, STANDS, [], deadline_ns).code == 0


def parse(output: str) -> Workloads | None:
    """Return what the answer to LOOK says; None of one that is not whole."""
    return understood(_parsed, output)


def _parsed(output: str) -> Workloads | None:
    said = sections(output)
    if LAST not in said:
        return None

    def number(name: str) -> int:
        text = "".join(said.get(name, ())).strip()
        return bounded(int(text)) if text.isdecimal() else 0

    return Workloads(
        unified=said.get("unified") == ["yes"],
        cgroups=tuple(dict.fromkeys(said.get("cgroups", ()))),
        pod_cgroups=tuple(said.get("pods", ())),
        static_pods=number("static"),
        kubelet_pods=number("kubelet"),
        pods=_pods(said),
    )


def _pods(said: dict[str, list[str]]) -> tuple[Pod, ...] | None:
    try:
        if "crictl" in said:
            return tuple(_of_crictl(item) for item in json.loads("\n".join(said["crictl"]))["items"])
        if "ctr" in said:
            return tuple({pod.uid: pod for item in _several("\n".join(said["ctr"])) if (pod := _of_ctr(item))}.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None


def _of_crictl(item: Any) -> Pod:
    """Return a pod from `crictl pods -o json`."""
    return _pod(item["metadata"], item.get("annotations"))


def _of_ctr(item: Any) -> Pod | None:
    """Return the pod of a container from `ctr containers info`; None of one that is of no pod.

    Annotations are no labels there; what the kubelet said of a pod is kept beside it (store/sandbox/metadata.go of
    containerd's CRI, as typeurl's JSON).
    """
    labels = item.get("Labels") or {}
    if "io.kubernetes.pod.uid" not in labels:
        return None
    kept = (item.get("Extensions") or {}).get("io.cri-containerd.sandbox.metadata")
    config = json.loads(base64.b64decode(kept["value"]))["Metadata"]["Config"] if kept else {}
    return _pod({key: labels[f"io.kubernetes.pod.{key}"] for key in POD}, config.get("annotations"))


def _pod(told: Mapping[str, str], annotations: Mapping[str, str] | None) -> Pod:
    """Return a pod; a static one's UID is the hash of its file, without dashes (pkg/kubelet/config of Kubernetes)."""
    namespace, name, uid = (told[key] for key in POD)
    by_file = (annotations or {}).get("kubernetes.io/config.source", "api") != "api"
    return Pod(namespace, name, uid, by_file or "-" not in uid)


def _several(text: str) -> list[Any]:
    """Return the JSON values that follow each other in a text."""
    values, decoder, text = [], json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].lstrip()
    return values


def _sh(reach: Reach, script: str, arguments: Sequence[str], deadline_ns: int) -> Output:
    return reach.run(["/bin/sh", "-c", script, "clockstep", *arguments], b"", deadline_ns)
