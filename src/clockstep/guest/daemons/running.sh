# The processes of this name that are the node's own, and not a pod's: those in its PID namespace, and those elsewhere
# that may set its clock, as a chronyd in a container. NSpid has a number for each namespace below (proc_pid_status(5)).
own_pids() {
    for pid in $(pidof "$1" 2>/dev/null); do
        below='' capabilities=''
        while read -r key value rest; do
            case $key in NSpid:) below=$rest ;; CapEff:) capabilities=${value#?????????} ;; esac
        done 2>/dev/null <"${ROOT-}/proc/$pid/status"
        if [ -n "$below" ]; then
            case $capabilities in [2367abef]*) ;; *) continue ;; esac   # CAP_SYS_TIME is bit 25
            user=$(readlink "${ROOT-}/proc/$pid/ns/user") || continue
            [ "$user" = "$(readlink "${ROOT-}/proc/self/ns/user")" ] || continue
        fi
        echo "$pid"
    done
}
running() { for name; do [ -z "$(own_pids "$name")" ] || echo "$name"; done; }
# The configuration that the node's chronyd was started with, where its command line says so (chronyd(8), -f).
chronyd_file() {
    for pid in $(own_pids chronyd); do
        tr '\0' '\n' 2>/dev/null <"${ROOT-}/proc/$pid/cmdline" |
            awk 'take { print; exit } $0 == "-f" { take = 1 } /^-f./ { print substr($0, 3); exit }' |
            sed 's|^[^/]|/&|'   # a daemon's working directory
    done | head -n 1
}
