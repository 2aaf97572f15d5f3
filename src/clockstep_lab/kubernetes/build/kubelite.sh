#!/bin/bash
# Builds kubelite (kubelite/main.go) from Debian's packaged Go libraries with Debian's own Go, installing nothing.
#
#   kubelite.sh FOLDER OUT    FOLDER has packages/*.deb and kubelite/*.go; the program comes to OUT
set -euo pipefail
folder=$1 out=$2

root=$folder/root
for package in "$folder"/packages/*.deb; do dpkg-deb --extract "$package" "$root"; done
source=$folder/go/src/clockstep/kubelite
mkdir -p "$source/openapi"
cp "$folder"/kubelite/*.go "$source"
# Without a go.mod the /v2 of an import path is taken by the letter.
printf 'module clockstep/kubelite\n\ngo 1.26\n' >"$source/go.mod"

GOROOT=$(echo "$root"/usr/lib/go-*)
export GOROOT GOPATH=$folder/go:$root/usr/share/gocode GOCACHE=$folder/cache XDG_CONFIG_HOME=$folder/config
export GO111MODULE=off GOFLAGS='' GOTOOLCHAIN=local CGO_ENABLED=0 PATH=$GOROOT/bin:$PATH

apis=(admissionregistration apps authentication authorization autoscaling batch certificates coordination core
    discovery events networking node policy rbac scheduling storage)
apis=("${apis[@]/#/k8s.io/api/}")
machinery=(api/resource apis/meta/v1 runtime util/intstr version)
go build -trimpath -o "$folder/openapi-gen" k8s.io/kube-openapi/cmd/openapi-gen
: >"$folder/no-header"
"$folder/openapi-gen" --output-dir "$source/openapi" --output-pkg clockstep/kubelite/openapi --output-file zz.go \
    --go-header-file "$folder/no-header" --report-filename "$folder/report" \
    "${apis[@]/%//v1}" "${machinery[@]/#/k8s.io/apimachinery/pkg/}"

flags='-s -w'
for package in component-base/version client-go/pkg/version; do
    for value in gitVersion=v1.36.4-kubelite gitMajor=1 gitMinor=36 gitTreeState=clean; do
        flags+=" -X k8s.io/$package.$value"
    done
done
go build -trimpath -ldflags "$flags" -o "$out/kubelite" clockstep/kubelite
