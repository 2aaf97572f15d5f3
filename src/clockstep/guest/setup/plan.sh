# shellcheck disable=SC2086  # a unit is one word
# shellcheck disable=SC2086  # a unit is one word
# The plan, in sections that clockstep reads.

section() { printf '\n#clockstep %s\n' "$1"; }
shown() { sed 's/^/|/' "$1"; [ -z "$(tail -c 1 "$1")" ] || echo; }

plan() {
    scratch=$(mktemp -d 2>/dev/null || mktemp -d -p /run) || exit 1
    trap 'rm -rf "$scratch"' EXIT
    look
    want "$scratch"
    section system; echo "$ID $VERSION_ID"
    section manager; echo "$manager"
    section chrony; echo "$version"
    section clock; [ -z "$clock" ] || echo "$followed $clock_name"
    section kept; echo "$theirs"
    section trusted; [ "$TRUST" != yes ] || echo yes
    section forced; [ $clock_forced = no ] || echo yes
    section not-taken; printf %s "$not_taken"
    ask_servers
    section silent; echo "$silent"
    section objection; objection
    section interrupted; cut_short && echo yes
    section install; [ -n "$version" ] || echo chrony
    section replaces; replaced
    section others; running vmtoolsd VBoxService
    section agent; systemctl is-active --quiet clockstep-agent 2>/dev/null && echo yes
    section acts; acts
    differing | while read -r file; do
        if [ -e "$ROOT$file" ]; then section "before $file"; shown "$ROOT$file"; fi
        if [ -e "$wanted$file" ]; then section "after $file"; shown "$wanted$file"; fi
    done
    section applied; { [ -e "$STATE/begun" ] || [ -n "$(ours)" ]; } && echo yes
    section end
}

acts() {
    [ -z "$module" ] || echo "modprobe $module, and follow its clock where one comes of it"
    for one in $(replaced); do
        [ -z "$version" ] && [ "$manager" = apt-get ] || echo "systemctl disable --now $one"
    done
    if [ -z "$conf" ] && [ $include = yes ]; then
        echo "at the end of the chrony.conf that its package brings: $(included | tail -n 1)"
    fi
    [ -n "$version" ] && [ -n "$unit" ] || return 0
    systemctl is-enabled --quiet $unit 2>/dev/null || echo "systemctl enable $unit"
    systemctl is-active --quiet $unit 2>/dev/null || echo "systemctl start $unit"
}
