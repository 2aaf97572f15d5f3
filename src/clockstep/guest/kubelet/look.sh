## Says which unit runs the node's kubelet, which restarts of it clockstep has noted, and whether it could begin anew.
## $1 is where the node's root is; __MOST__ is how many restarts are said at most.
. survey/say.sh
. kubelet/unit.sh

say unit
printf '%s\n' "$unit"
say started
started
say now
cut -d ' ' -f 1 /proc/uptime
[ ! -s "$1/etc/kubernetes/bootstrap-kubelet.conf" ] || say bootstraps
say restarts
[ ! -r "$kept" ] || tail -n __MOST__ "$kept"
say end
