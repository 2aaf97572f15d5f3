# shellcheck disable=SC2015  # `result` does not fail
# shellcheck disable=SC2034  # a loop that only counts
# shellcheck disable=SC2046,SC2086  # lists of words: packages, units, files
# shellcheck disable=SC2015  # `broken` where nothing could be restored
# shellcheck disable=SC2034  # a loop that only counts
# shellcheck disable=SC2046,SC2086  # lists of words: packages, units, files
# Putting it back, and the way in.

# How it was before this run: an earlier setup, or none and, where this run installed chrony, the packages.
put_back() {
    note "restoring the previous state"
    look
    if grep -qs clockstep "$STATE/last.list"; then
        owned | while read -r file; do rm -f "$ROOT$file"; done
        tar -C "$ROOT/" -xf "$STATE/last.tar" || lacking="$STATE/last.tar could not be unpacked again"
        systemctl daemon-reload
        systemctl restart "$unit"
        ensure_daemon && [ -z "$lacking" ] && touch "$STATE/done"
    else
        restore
    fi
}

# What was kept for the way back is kept until it was of use.
restore() {
    remove_all
    ensure_daemon && [ -z "$lacking" ] || return 1
    for one in last.tar last.list begun done units installed evicted etc-chrony.tar theirs.tar theirs packages \
        no-ptp_kvm differing conf conf.part errors said; do
        rm -rf "${STATE:?}/$one"
    done
}

remove_all() {
    look
    ours | while read -r file; do rm -f "$ROOT$file"; done
    owned | while read -r file; do rm -f "$(part_of "$ROOT$file")"; done
    for one in chrony chronyd; do rmdir "$ROOT/etc/systemd/system/$one.service.d" 2>/dev/null; done
    rmdir "$ROOT/etc/chrony/clockstep.d" "$ROOT/etc/chrony-clockstep.d" 2>/dev/null
    for file in $conf $(sourced); do
        grep -qE "^(# Written by clockstep setup|$WAS)" "$ROOT$file" || continue
        unincluded "$ROOT$file" >"$STATE/conf.part" && unshortened "$STATE/conf.part" >"$STATE/conf" &&
            replace "$ROOT$file" <"$STATE/conf" || lacking="$file could not be written as it was"
    done
    systemctl daemon-reload
    udevadm control --reload 2>/dev/null
    if [ ! -s "$STATE/installed" ]; then
        :
    elif [ -s "$STATE/evicted" ] || grep -qs ' active$' "$STATE/units" || ! has chronyd; then
        uninstall_chrony
        systemctl reset-failed "$unit" 2>/dev/null   # else a unit that is gone would still count as failed
    else
        note "no time daemon ran before, so chrony stays, with its own configuration"
    fi
    restore_units
    sync
}

# Without network: the packages were kept.
uninstall_chrony() {
    note "removing chrony"
    if has dpkg; then
        dpkg --force-confold --configure -a
        keep_theirs || { lacking="what is in /etc/chrony cannot be kept in $STATE" && return; }
        DEBIAN_FRONTEND=noninteractive dpkg --purge $(packages installed) || dpkg --purge chrony ||
            lacking="chrony could not be removed"
        for one in etc-chrony theirs; do
            [ ! -e "$STATE/$one.tar" ] || tar -C "$ROOT/etc" -xf "$STATE/$one.tar" ||
                lacking="$STATE/$one.tar could not be unpacked again"
        done
        for package in $(packages evicted); do
            note "installing $package again"
            DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i $(kept $package) ||
                lacking="$package could not be installed again"
        done
    else
        there=$(packages installed | while read -r package; do rpm -q --quiet "$package" && echo "$package"; done)
        [ -z "$there" ] || said=$(rpm -e $there 2>&1) || ! rpm -q --quiet chrony || said=$(rpm -e chrony 2>&1) ||
            lacking="chrony could not be removed: $(echo "$said" | tail -n 1 | sed 's/^[[:space:]]*//')"
    fi
}

# What others have put beside chrony's own configuration since: its package takes all of it along when it is purged.
keep_theirs() {
    [ -n "$version" ] && [ -d "$ROOT/etc/chrony" ] || return 0
    (
        cd "$ROOT/etc" || exit 1
        find chrony ! -type d ! -name README ! -path chrony/chrony.conf | while read -r file; do
            cmp -s "$file" "$ROOT/usr/share/$file" || echo "$file"
        done >"$STATE/theirs"
        tar -cf "$STATE/theirs.part" -T "$STATE/theirs" && mv -f "$STATE/theirs.part" "$STATE/theirs.tar"
    )
}

packages() { [ ! -e "$STATE/$1" ] || sort -u "$STATE/$1"; }
kept() { for package; do ls "$STATE"/packages/"${package%%:*}"_*.deb; done; }

restore_units() {
    [ -e "$STATE/units" ] || return 0
    while read -r one enabled active; do
        is_unit $one || continue
        case $enabled in enabled) systemctl enable $one ;; disabled) systemctl disable $one ;; esac
        case $active in active) systemctl restart $one ;; *) systemctl stop $one ;; esac
    done <"$STATE/units"
}

# Whatever was there before, none is worse than some. Only where none ran, and chrony did not come either, none is left.
ensure_daemon() {
    for again in no yes; do
        [ -z "$(running $PROGRAMS)" ] || return 0
        for one in $UNITS; do is_unit $one && systemctl start $one && return 0; done
        [ ! -e "$STATE/packages" ] || dpkg --force-confold -i $(kept $(packages installed))
    done
    note "no time daemon runs"
    ! grep -qs ' active$' "$STATE/units" && ! has chronyd
}

# To how it was before the last run: to an earlier setup where there was one.
back() {
    if grep -qs clockstep "$STATE/last.list"; then
        put_back && result done || result "broken ${lacking:-no time daemon runs there}"
    else
        undo
    fi
}

undo() {
    mkdir -p "$STATE" && chmod 700 "$STATE" || exit 1  # copies of keys may be kept there
    result working
    trap '' HUP INT TERM
    [ "$(id -u)" = 0 ] || { result "refused not root there, so nothing can be put back"; exit 1; }
    [ -w "$ROOT/etc" ] || { result "refused /etc is read-only"; exit 1; }
    restore || { result "broken ${lacking:-no time daemon runs there}"; exit 1; }
    result done
}

# Two at once would take each other's way back; a lock of the kernel's ends with whoever holds it.
alone() {
    [ -w "$ROOT/run" ] && has flock || return 0
    umask 077
    exec 9>"$ROOT/run/clockstep-setup.lock"
    umask 022
    flock -n 9 || { echo "another setup is running" >&2; exit 1; }
}

# Does it where no broken connection and no restarted agent ends it.
start() {
    ! systemctl is-active --quiet clockstep-setup || { echo "another setup is running" >&2; exit 1; }
    echo working >"$STATE/result" || exit 1
    rm -f "$STATE/doing"
    exec 9>&-
    systemd-run --quiet --collect --unit clockstep-setup --property KillMode=mixed --property TimeoutStopSec=120 \
        /bin/sh -c "exec /bin/sh '$STATE/setup.sh' $1 >'$STATE/log' 2>&1"
}

# Leaves nothing behind where nothing was done.
clear() { [ -e "$STATE/begun" ] || rm -rf "$STATE"; }

# Whether it goes on is asked first: what ends between two questions has its result by the second.
status() {
    going_on=$(systemctl is-active clockstep-setup)
    cat "$STATE/result" 2>/dev/null || echo none
    echo "$going_on"
    cat "$STATE/doing" 2>/dev/null
}

case ${1:-apply} in plan|status) ;; *) alone ;; esac
case ${1:-apply} in
plan|status|back|clear) $1 ;;
apply|undo) "${1:-apply}"; cat "$STATE/result" ;;
start) start "$2" ;;
*) echo "usage: sh setup.sh [apply|plan|undo|status]" >&2; exit 2 ;;
esac
