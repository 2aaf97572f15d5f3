#!/bin/bash
# Builds Kubernetes 1.20.2 from Debian 12's source package with Debian's own Go, installing nothing.
#
#   kubernetes.sh FOLDER OUT    FOLDER has packages/*.deb and kubernetes_*.dsc; the programs come to OUT
set -euo pipefail
folder=$1 out=$2
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)

root=$folder/root
for package in "$folder"/packages/*.deb; do dpkg-deb --extract "$package" "$root"; done
source=$folder/go/src/k8s.io/kubernetes
mkdir -p "${source%/*}"
dpkg-source --no-check --extract "$folder"/kubernetes_*.dsc "$source"
cd "$source"

# The vendored reflect2 1.0.1 panics under Go 1.18 and newer, where reflect.mapiterinit is another; Debian's does not.
rm -rf vendor/github.com/modern-go/reflect2
cp -r "$root/usr/share/gocode/src/github.com/modern-go/reflect2" vendor/github.com/modern-go/

GOROOT=$(echo "$root"/usr/lib/go-*)
export GOROOT GOPATH=$folder/go GOCACHE=$folder/cache GO111MODULE=off GOFLAGS='' CGO_ENABLED=0
export PATH=$GOROOT/bin:$PATH

# The API's OpenAPI definitions, which the source package lacks; as the Makefile's gen_openapi does.
marked() {
    grep -RlE --include='*.go' '^ *// *\+k8s:openapi-gen=' "$@" | xargs dirname | sort -u | sed 's#^#k8s.io/kubernetes/#'
}
definitions=$(
    marked pkg cmd plugin
    marked vendor/k8s.io | grep -vE '/vendor/k8s.io/(sample-apiserver|code-generator|gengo|kube-openapi)/|/_examples/'
)
go build -o "$folder/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
"$folder/openapi-gen" --logtostderr --input-dirs "${definitions//$'\n'/,}" \
    --output-package k8s.io/kubernetes/pkg/generated/openapi --output-file-base zz_generated.openapi \
    --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt --report-filename /dev/null \
    --output-base "$folder/go/src"

# Without a version a kubelet's "v0.0.0" is refused by what compares versions.
version=(gitVersion=v1.20.2 gitMajor=1 gitMinor=20 gitTreeState=clean buildDate=2021-01-13T13:20:00Z)
flags='-s -w'
for package in component-base/version client-go/pkg/version; do
    for value in "${version[@]}"; do flags+=" -X k8s.io/kubernetes/vendor/k8s.io/$package.$value"; done
done
go build -trimpath -tags 'providerless dockerless' -ldflags "$flags" -o "$out/" "${programs[@]/#/./cmd/}"
