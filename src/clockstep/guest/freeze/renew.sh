## A lease is never made shorter: somebody may hold the node.
. freeze/common.sh
[ -e "$home/cgroups" ] || exit 1
now; read -r till <"$home/until"
[ $((up + $1)) -le "$till" ] || until_in "$1"
guarded || start_guard
