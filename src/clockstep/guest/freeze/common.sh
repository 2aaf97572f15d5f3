# shellcheck disable=SC2086  # numbers
# shellcheck disable=SC2086  # numbers
## A number is taken for a process of ours only where its command line says so. The guard has a unit of its own, because
## what qemu-ga or sshd start ends with them. A pod may end and its cgroup go while it is frozen: it can be killed. What is
## done while workloads are frozen starts no program where the shell can do it: in a busy guest each takes long.
home=/run/clockstep/freezer root=/sys/fs/cgroup
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
