# shellcheck disable=SC2015  # both must have succeeded
# shellcheck disable=SC2044  # numbers
# shellcheck disable=SC2086  # numbers
# shellcheck disable=SC2254  # numbers
# shellcheck disable=SC2015  # both must have succeeded
# shellcheck disable=SC2044  # numbers
# shellcheck disable=SC2086  # numbers
# shellcheck disable=SC2254  # numbers
## Prepares the freezing of these cgroups, and freezes nothing yet; 77 is EX_NOPERM of sysexits.h.
## Whatever must never be frozen is known by the 15 characters that the kernel keeps of a program's name
## (proc_pid_comm(5)). A pod may well run a sshd of its own, in its own PID namespace; what counts is the system's.
. freeze/common.sh
guard=$1 lease=$2; shift 2
if [ -e "$home/cgroups" ]; then
    echo 'workloads are already frozen; clockstep thaw resumes them'
    exit 77
fi
mkdir -p "$home" && rm -f "$home/guard" "$home/thawed"
printf '%s\n' "$guard" >"$home/guard.sh"
for cgroup; do
    case /$cgroup/ in *//*|*/./*|*/../*) refuse "$cgroup is not a path of a cgroup" 77;; esac
    [ -e "$root/$cgroup" ] || continue
    file=$root/$cgroup/cgroup.freeze
    [ -w "$file" ] || refuse "$cgroup cannot be frozen" 77
    read -r before <"$file"
    [ "$before" = 1 ] || echo "$cgroup"
done >"$home/chosen"
mv "$home/chosen" "$home/cgroups" && until_in "$lease" || refuse "$home cannot be written" 77
start_guard || refuse 'no guard could be started' 77
host=$(readlink /proc/1/ns/pid)
while read -r cgroup; do
    for inside in $(find "$root/$cgroup" -name cgroup.procs -exec cat {} +); do
        read -r name <"/proc/$inside/comm" || continue
        case $inside in 1|$$|$PPID|$pid) refuse "$cgroup has $name in it, which must keep running" 77;; esac
        case $name in qemu-ga|sshd*|chronyd|ntpd|ntp-daemon|systemd-timesyn|ptp4l|phc2sys) ;; *) continue;; esac
        [ "$(readlink /proc/$inside/ns/pid)" != "$host" ] ||
            refuse "$cgroup has $name in it, which must keep running" 77
    done
done <"$home/cgroups"
