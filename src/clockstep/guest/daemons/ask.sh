# shellcheck disable=SC2046  # a label is printed as words
# shellcheck disable=SC2046  # a label is printed as words
## Asks whichever daemon is there, so that asking costs one command in the node.
. survey/say.sh
__EACH__
. daemons/running.sh
say silent; there=$(running __PROGRAMS__); echo "$there"
say failed; [ -n "$there" ] || systemctl is-failed __UNITS__ 2>/dev/null | grep -n '^failed$'
say denied; [ -z "$denied" ] || echo "$denied" $(cat /proc/self/attr/current 2>/dev/null)
