## Restarts the unit that runs the node's kubelet, and notes before what for: $2. If this is cut off between the two, the
## note has the start that is still the last one, so it is seen that nothing was restarted.
## $1 is where the node's root is.
. survey/say.sh
. kubelet/unit.sh

if [ -z "$unit" ]; then say missing; say end; exit; fi
umask 077
mkdir -p "${kept%/*}" || exit
read -r now _ </proc/uptime
printf '%s %s %s\n' "$2" "$(started)" "$now" >>"$kept" || exit
systemctl restart "$unit" || exit
say restarted
say end
