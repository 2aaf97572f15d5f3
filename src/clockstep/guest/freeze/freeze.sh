# shellcheck disable=SC2188  # a redirection alone empties a file and starts no program
# shellcheck disable=SC2188  # a redirection alone empties a file and starts no program
## Freezes what was prepared. Whoever thaws while this is still at work ends it first (SIGTERM).
## 75 and 77 are EX_TEMPFAIL and EX_NOPERM of sysexits.h.
. freeze/common.sh
echo $$ >"$home/freezing"
trap 'let_go; exit 75' TERM
[ -e "$home/cgroups" ] || refuse 'its lease had expired already' 75
while read -r cgroup; do
    echo 1 >"$root/$cgroup/cgroup.freeze" || [ ! -e "$root/$cgroup" ] || refuse "$cgroup cannot be frozen" 77
done <"$home/cgroups"
await __COMPLETE_S__ all_frozen ||
    refuse 'not all could be frozen in __COMPLETE_S__ s: a process there waits and cannot be interrupted' 75
>"$home/freezing"
