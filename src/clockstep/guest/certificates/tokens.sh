## When the tokens of a node's pods were issued and are valid, by the pods' UIDs: of each token these numbers alone.
## $1 is where the node's root is; __MOST__ is how many tokens are read at most.
. survey/say.sh

cd "$1/" || exit
kept=var/lib/kubelet/pods
[ ! -d $kept ] || { [ -r $kept ] && [ -x $kept ]; } || say "unreadable /$kept"
left=__MOST__
say tokens
for file in "$kept"/*/volumes/kubernetes.io~projected/*/token; do
if [ ! -f "$file" ] || [ $left = 0 ]; then continue; fi
left=$((left - 1))
uid=${file#"$kept"/}
## A token is three parts, and what is claimed is the second, in base64url without padding (RFC 7519). base64 complains of
## the padding that is missing, and decodes all the same.
claims=$(head -c 16384 "$file" | cut -d . -f 2 | tr -- '_-' '/+' | base64 -d 2>/dev/null | tr -d ' \n')
for claim in iat nbf exp; do
number=$(printf '%s' "$claims" | sed -n "s/.*\"$claim\":\\([0-9]\\{1,18\\}\\)[,}.].*/\\1/p")
printf '%s ' "${number:--}"
done
printf '%s\n' "${uid%%/*}"
done
say end
