#!/bin/sh
# Prints a kubeconfig for one of clockstep's accounts, with a token that is valid until its Secret is deleted:
#   umask 077; ./kubeconfig.sh clockstep-watcher > kubeconfig
# It asks the cluster of kubectl's current context.
set -eu
account=$1

kubectl apply -f - >&2 <<SECRET
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: $account
  namespace: clockstep
  annotations:
    kubernetes.io/service-account.name: $account
SECRET

tries=30
until token=$(kubectl -n clockstep get secret "$account" -o 'jsonpath={.data.token}' | base64 -d) && [ -n "$token" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || {
        echo "$0: the cluster has made no token for $account; does that account exist?" >&2
        exit 1
    }
    sleep 1
done
cluster=$(kubectl config view --raw --flatten --minify -o 'jsonpath={.clusters[0].cluster}')

# JSON, which is YAML too: the node agent reads only a part of YAML, and all of JSON.
cat <<CONFIG
{
  "apiVersion": "v1",
  "kind": "Config",
  "current-context": "clockstep",
  "clusters": [{"name": "clockstep", "cluster": $cluster}],
  "users": [{"name": "$account", "user": {"token": "$token"}}],
  "contexts": [{"name": "clockstep", "context": {"cluster": "clockstep", "user": "$account"}}]
}
CONFIG
