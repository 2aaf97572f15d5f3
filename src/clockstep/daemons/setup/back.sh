# Putting it back, and the way in.

# How it was before this run: an earlier setup, or none and, where this run installed chrony, the packages.
put_back() {
    note "putting back what was there"
    look
    if grep -qs clockstep "$STATE/last.list"; then
        owned | while read -r file; do rm -f "$ROOT$file"; done
        tar -C "$ROOT/" -xf "$STATE/last.tar"
        systemctl daemon-reload
        systemctl restart "$unit"
        touch "$STATE/done"
        ensure_daemon
    else
        restore
    fi
}

# What was kept for the way back is kept until it was of use.
restore() {
    remove_all
    ensure_daemon && [ -z "$lacking" ] || return 1
    for one in last.tar last.list begun done units installed evicted etc-chrony.tar packages no-ptp_kvm differing conf \
        errors said; do
        rm -rf "${STATE:?}/$one"
    done
}

remove_all() {
    look
    owned | while read -r file; do marked "$ROOT$file" && rm -f "$ROOT$file"; done
    for one in chrony chronyd; do rmdir "$ROOT/etc/systemd/system/$one.service.d" 2>/dev/null; done
    rmdir "$ROOT/etc/chrony/clockstep.d" "$ROOT/etc/chrony-clockstep.d" 2>/dev/null
    if [ -n "$conf" ] && grep -q '^# Written by clockstep setup' "$ROOT$conf"; then
        unincluded "$ROOT$conf" >"$STATE/conf" && replace "$ROOT$conf" <"$STATE/conf"
    fi
    systemctl daemon-reload
    udevadm control --reload 2>/dev/null
    if [ ! -s "$STATE/installed" ]; then
        :
    elif [ -s "$STATE/evicted" ] || grep -qs ' active$' "$STATE/units"; then
        uninstall_chrony
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
        DEBIAN_FRONTEND=noninteractive dpkg --purge $(sort -u "$STATE/installed") || dpkg --purge chrony
        [ ! -e "$STATE/etc-chrony.tar" ] || tar -C "$ROOT/etc" -xf "$STATE/etc-chrony.tar"
        for package in $(sort -u "$STATE/evicted"); do
            note "installing $package again"
            DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i "$STATE"/packages/"${package%%:*}"_*.deb ||
                lacking="$package could not be installed again"
        done
    else
        rpm -e $(cat "$STATE/installed")
    fi
}

restore_units() {
    [ -e "$STATE/units" ] || return 0
    while read -r one enabled active; do
        is_unit $one || continue
        case $enabled in enabled) systemctl enable $one ;; disabled) systemctl disable $one ;; esac
        case $active in active) systemctl restart $one ;; *) systemctl stop $one ;; esac
    done <"$STATE/units"
}

# Whatever was there before, none is worse than some.
ensure_daemon() {
    for again in no yes; do
        [ -z "$(running $PROGRAMS)" ] || return 0
        for one in $UNITS; do is_unit $one && systemctl start $one && return 0; done
        [ ! -e "$STATE/packages" ] || dpkg --force-confold -i "$STATE"/packages/chrony_*.deb
    done
    note "no time daemon runs"
    return 1
}

# To how it was before the last run: to an earlier setup where there was one.
back() {
    if grep -qs clockstep "$STATE/last.list"; then
        put_back && result done || result "failed ${lacking:-no time daemon runs there}"
    else
        undo
    fi
}

undo() {
    mkdir -p "$STATE" || exit 1
    result working
    trap '' HUP INT TERM
    [ "$(id -u)" = 0 ] || { result "refused not root there, so nothing can be put back"; exit 1; }
    [ -w "$ROOT/etc" ] || { result "refused /etc cannot be written there: it is read-only"; exit 1; }
    restore || { result "failed ${lacking:-no time daemon runs there}"; exit 1; }
    result done
}

# Does it where no broken connection and no restarted agent ends it.
start() {
    ! systemctl is-active --quiet clockstep-setup || { echo "another setup is at work" >&2; exit 1; }
    echo working >"$STATE/result" || exit 1
    rm -f "$STATE/doing"
    systemd-run --quiet --collect --unit clockstep-setup --property KillMode=mixed --property TimeoutStopSec=120 \
        /bin/sh -c "exec /bin/sh '$STATE/setup.sh' $1 >'$STATE/log' 2>&1"
}

status() {
    cat "$STATE/result" 2>/dev/null || echo none
    systemctl is-active clockstep-setup
    cat "$STATE/doing" 2>/dev/null
}

case ${1:-apply} in
plan|status|back) $1 ;;
apply|undo) "${1:-apply}"; cat "$STATE/result" ;;
start) start "$2" ;;
*) echo "usage: sh setup.sh [apply|plan|undo|status]" >&2; exit 2 ;;
esac
