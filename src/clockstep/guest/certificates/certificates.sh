## The certificates of a node's Kubernetes, where kubeadm, k3s and RKE2 keep them: the first of each file, and no key.
## $1 is where the node's root is; __MOST__ is how many files are read at most.
. survey/say.sh

## Prints from the first line of a certificate to the next line of dashes: what follows, as a key, stands behind that.
# shellcheck disable=SC2016  # awk's
first='FNR == 1 { inside = over = lines = 0 }
over || lines > 200 { next }
inside && /^-----/ { over = 1; if (/^-----END CERTIFICATE-----/) print; next }
inside { lines++; print substr($0, 1, 100); next }
/^-----BEGIN CERTIFICATE-----/ { inside = 1; print "\n#clockstep file /" (name ? name : FILENAME); print }'
left=__MOST__
taken() { [ -f "$1" ] && [ -r "$1" ] && [ $left -gt 0 ] && left=$((left - 1)); }

cd "$1/" || exit
for folder in var/lib/kubelet/pki etc/kubernetes/pki var/lib/rancher/k3s var/lib/rancher/rke2; do
if [ -d $folder ] && ! { [ -r $folder ] && [ -x $folder ]; }; then say "unreadable /$folder"; fi
done
set --
for file in var/lib/kubelet/pki/kubelet-*-current.pem var/lib/kubelet/pki/kubelet.crt \
etc/kubernetes/pki/*.crt etc/kubernetes/pki/etcd/*.crt \
var/lib/rancher/*/agent/*.crt var/lib/rancher/*/server/tls/*.crt var/lib/rancher/*/server/tls/etcd/*.crt; do
taken "$file" && set -- "$@" "$file"
done
[ $# = 0 ] || awk "$first" "$@"
for file in etc/kubernetes/*.conf; do
taken "$file" && sed -n 's/^ *client-certificate-data: *"\{0,1\}\([A-Za-z0-9+/=]*\).*/\1/p' "$file" | head -n 1 |
base64 -d | awk -v name="$file" "$first"
done
say end
