# shellcheck disable=SC2043  # __TOPS__ are several
# shellcheck disable=SC2010,SC2012  # lines are only counted
# shellcheck disable=SC2043  # __TOPS__ are several
# shellcheck disable=SC2010,SC2012  # lines are only counted
## What a node has that could be frozen. containerd's CRI keeps each pod as a container of its own, a sandbox, which has
## what the kubelet said of it.
root=/sys/fs/cgroup
. survey/say.sh
say unified; [ -f $root/cgroup.controllers ] && echo yes
say cgroups; for cgroup; do [ -f "$root/$cgroup/cgroup.freeze" ] && echo "$cgroup"; done
say pods; cd $root && for top in __TOPS__; do
[ -d $top ] && find $top -mindepth 1 -maxdepth 2 -type d -name '*pod*'; done
say static; folder=$(sed -n 's/^staticPodPath: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /var/lib/kubelet/config.yaml)
ls "${folder:-/etc/kubernetes/manifests}" | grep -c '\.ya*ml$\|\.json$'
say kubelet; ls /var/lib/kubelet/pods | wc -l
if command -v crictl >/dev/null && pods=$(timeout 5 crictl pods -o json); then say crictl; printf '%s\n' "$pods"
elif command -v ctr >/dev/null && ids=$(timeout 5 ctr -n k8s.io containers ls -q '__SANDBOXES__'); then say ctr
for id in $ids; do timeout 5 ctr -n k8s.io containers info "$id" && echo; done; fi
say end
