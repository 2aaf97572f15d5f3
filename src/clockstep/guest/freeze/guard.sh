# shellcheck disable=SC2086  # numbers
## Thaws when the lease is over. It may be made longer while this sleeps: wait is ended by a signal that is trapped
## (POSIX.1, 2.12), and sleep goes by the monotonic clock (nanosleep(2)), as the uptime does but for a guest's own sleep
## (proc_uptime(5)). It logs to the kernel's log, which every system has (Documentation/ABI/testing/dev-kmsg), as a notice.
home=$1
over() {
    read -r owner <"$home/guard" && [ "$owner" = $$ ] || exit 0
    [ ! -e "$home/cgroups" ] ||
        while read -r cgroup; do echo 0 >"/sys/fs/cgroup/$cgroup/cgroup.freeze"; done <"$home/cgroups"
    echo "<5>clockstep: workloads thawed: $1" >/dev/kmsg
    rm -f "$home/cgroups" "$home/guard"
    kill $sleeper
    exit 0
}
trap 'over "on request"' TERM
echo -1000 >/proc/$$/oom_score_adj
echo $$ >"$home/guard"
while left=$(($(cat "$home/until") - $(cut -d. -f1 /proc/uptime))) && [ $left -gt 0 ]; do
    sleep $left & sleeper=$!
    wait $sleeper
done
over 'its lease expired'
