# shellcheck disable=SC2015  # `broken` where nothing could be put back
# shellcheck disable=SC2046,SC2086  # lists of words: packages, units, files
# shellcheck disable=SC2015  # `broken` where nothing could be restored
# shellcheck disable=SC2005  # lines are joined to one
# shellcheck disable=SC2046,SC2086  # lists of words: packages, units, files
# Doing it.

note() { echo "$*" | tee "$STATE/doing"; }
result() { echo "$1" >"$STATE/result.part" && mv -f "$STATE/result.part" "$STATE/result"; sync; }

refuse() { fail "$1"; }

# Ends the work: all that was changed is put back first, and a time daemon runs afterwards.
fail() {
    trap '' HUP INT TERM
    note "failed: $1" >&2
    if [ $changed = yes ]; then
        put_back && result "failed $1" || result "broken $1; and then: ${lacking:-no time daemon runs there}"
    else
        forget
        result "refused $1"
    fi
    exit 1
}

# What was kept for the way back is of no use where nothing was changed; an earlier setup's is.
forget() {
    case $begun in
    anew) rm -rf "$STATE/last.tar" "$STATE/last.list" "$STATE/begun" "$STATE/packages" "$STATE/units" ;;
    again) touch "$STATE/done" ;;
    esac
}

apply() {
    mkdir -p "$STATE" && chmod 700 "$STATE" || exit 1  # copies of keys may be kept there
    result working
    trap 'fail "it was interrupted"' HUP INT TERM
    look
    ask_servers
    said=$(objection)
    [ -z "$said" ] || refuse "$said"
    case $manager in apt-get|dnf) ;; *) refuse "only systems with apt or dnf are set up" ;; esac
    changes || { result done && return; }
    begin
    [ -n "$version" ] || install_chrony
    write_all
    check_all
    start_all
    await || fail "$said"
    touch "$STATE/done"
    result done
}

# Whether there is anything to do: where chronyd is set up already, it is not even restarted.
changes() {
    want "$STATE/wanted"
    differing >"$STATE/differing"
    rm -rf "$STATE/wanted"
    [ -z "$version" ] || cut_short || [ -s "$STATE/differing" ] || [ -n "$(acts)" ]
}

# Keeps how everything was, unless an earlier run was cut short: then it is kept already. What follows may be cut at
# any point.
begin() {
    if cut_short; then
        changed=yes
        ! has dpkg || dpkg --force-confold --configure -a
        look
        [ -z "$version" ] || [ -n "$conf" ] || bring_conf
    else
        note "keeping the current state"
        for file in $(owned) $conf $(sourced); do
            [ ! -e "$ROOT$file" ] || really "$ROOT$file"
        done | sed "s|^$ROOT|.|" >"$STATE/last.list"
        tar -C "$ROOT/" -cf "$STATE/last.tar" -T "$STATE/last.list" || refuse "the current state cannot be kept in $STATE"
        begun=again
        [ -e "$STATE/done" ] || { begun=anew && remember_units; }
        rm -f "$STATE/done"
        sync
        touch "$STATE/begun"
        sync
    fi
}

# Of a package that a power cut left configured by its own account, a file may not have come to the disk. ucf(1), by which
# Debian's chrony writes its chrony.conf, takes one that is missing for one that somebody has removed.
bring_conf() {
    [ "$manager" = apt-get ] || return 0
    note "writing the chrony.conf that its package brings"
    UCF_FORCE_CONFFMISS=1
    export UCF_FORCE_CONFFMISS
    apt --no-download --reinstall -o Dpkg::Options::=--force-confmiss install chrony
    unset UCF_FORCE_CONFFMISS
    look
}

remember_units() {
    for one in $UNITS; do
        is_unit $one || continue
        echo "$one $(systemctl is-enabled $one 2>/dev/null) $(systemctl is-active $one 2>/dev/null)"
    done >"$STATE/units"
}

install_chrony() {
    case $manager in apt-get) install_by_apt ;; dnf) install_by_dnf ;; esac
    look
    [ -n "$version" ] || fail "chrony was installed, but chronyd is missing"
}

refuse_too_old() {
    ! too_old "$offered" || refuse "chrony $offered is the only one available, which is too old: 4.0 or newer is needed"
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o Dir::Cache::archives="$STATE/packages" \
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=0 -o APT::Sandbox::User=root \
        -o DPkg::Lock::Timeout=30 -o Dpkg::Options::=--force-confold "$@" 2>"$STATE/said"
    code=$?
    cat "$STATE/said" >>"$STATE/errors"
    cat "$STATE/said" >&2
    return $code
}

# Everything that is needed to get there and to get back is fetched before anything is removed.
install_by_apt() {
    mkdir -p "$STATE/packages/partial"
    : >"$STATE/errors"
    note "fetching chrony"
    apt --download-only install chrony || { apt update; apt --download-only install chrony; } ||
        refuse "chrony is not available: $(reason)"
    would=$(apt -s install chrony) || refuse "chrony cannot be installed"
    offered=$(echo "$would" | sed -n 's/^Inst chrony (\([0-9.]*\).*/\1/p')
    refuse_too_old
    gone=$(echo "$would" | sed -n 's/^Remv \([^ ]*\).*/\1/p')
    for package in $gone; do
        case " $DAEMONS " in *" ${package%%:*} "*) ;; *) refuse "installing chrony would remove $package, too" ;; esac
    done
    newer="the one that is offered comes by: apt-get install --only-upgrade"
    for package in $gone; do
        version_there=$(dpkg-query -W -f '${Version}' "$package")
        note "fetching $package, to be able to undo this"
        (cd "$STATE/packages" && apt download "$package=$version_there") ||
            refuse "the package needed to undo this is not available, $package $version_there: $(reason); $newer $package"
    done
    add_to "$STATE/installed" $(echo "$would" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p')
    add_to "$STATE/evicted" $gone
    if [ -d "$ROOT/etc/chrony" ] && [ ! -e "$STATE/etc-chrony.tar" ]; then
        tar -C "$ROOT/etc" -cf "$STATE/etc-chrony.tar" chrony || refuse "/etc/chrony cannot be kept in $STATE"
    fi
    sync
    changed=yes
    note "installing chrony${gone:+ instead of $gone}"
    apt --no-download install chrony || fail "chrony could not be installed: $(reason)"
}

# A run that was cut short has written there already.
add_to() {
    list=$1 && shift
    [ $# = 0 ] || printf '%s\n' "$@" >>"$list"
}

# What apt complained of: that something could not be fetched explains the rest.
reason() {
    said=$(grep '^[EW]: Failed to fetch' "$STATE/errors" | tail -n 1)
    [ -n "$said" ] || said=$(grep '^E: ' "$STATE/errors" | tail -n 1)
    echo "$said" | cut -c 4-300
}

# dnf 4 leaves its table out with -q, dnf 5 takes --downloadonly only behind the command. With -C neither asks a
# repository, which may have expired or be out of reach by now; but so dnf 5 gets no key that it lacks from the network:
# then it may ask for that, and go by what it knows of the repository nevertheless.
install_by_dnf() {
    note "fetching chrony"
    said=$(dnf -q -y install --downloadonly chrony 2>&1) || refuse "chrony is not available: $(complaint)"
    said=$(dnf -C --assumeno install chrony 2>&1)
    would=$(echo "$said" | table)
    offered=$(echo "$would" | sed -n 's/^install chrony \([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p')
    [ -n "$offered" ] || refuse "dnf does not say what it would do to install chrony: $(complaint)"
    refuse_too_old
    gone=$(echo $(echo "$would" | sed -n 's/^remove //p'))
    [ -z "$gone" ] || refuse "installing chrony would remove $gone, too"
    changed=yes
    add_to "$STATE/installed" $(echo "$would" | sed -n 's/^install \([^ ]*\).*/\1/p')
    sync
    note "installing chrony"
    said=$(dnf -q -y -C install chrony 2>&1) ||
        said=$(dnf -q -y --setopt='*.metadata_expire=never' install chrony 2>&1) ||
        fail "chrony could not be installed: $(complaint)"
}

# What dnf complained of: dnf 4 calls it an error or a problem, dnf 5 names the reason on a line of its own.
complaint() {
    echo "$said" >&2
    {
        echo "$said" | sed -n -e '/^.*Problem[ 0-9]*: /{ s///; N; s/\n *- /: /; P; }' -e 's/^Error: \([^ ]\)/\1/p' \
            -e '/^No match/p' -e '/^Failed to d/p'
        echo "$said" | tail -n 1
    } | head -n 1 | cut -c 1-300
}

# A line for each package that comes or goes by dnf's table. What a package replaces stands below it, with dnf 5 also
# the old version of an upgraded one.
table() {
    awk '/^[^ ]/ { section = $1 }
        $1 == "replacing" {
            if (NF == 3) sub(/\.[^.]*$/, "", $2)   # dnf 4 adds the architecture to the name
            if ($2 != by) print "remove", $2
            next
        }
        /^ [^ ]/ { by = $1 }
        /^ [^ ]/ && section ~ /^Installing/ { print "install", $1, $3 }
        /^ [^ ]/ && section ~ /^Removing/ { print "remove", $1 }'
}

write_all() {
    if [ -n "$module" ]; then
        changed=yes
        modprobe $module 2>/dev/null && udevadm settle --timeout=5
        find_clock
        if [ -z "$clock" ]; then
            uname -r >"$STATE/no-ptp_kvm"
            find_clock
        fi
    fi
    rm -rf "$STATE/wanted"
    want "$STATE/wanted"
    changed=yes
    differing >"$STATE/differing"
    while read -r file; do
        note "writing $file"
        if [ -e "$wanted$file" ]; then
            mkdir -p "$ROOT${file%/*}" && replace "$ROOT$file" <"$wanted$file"
        else
            rm -f "$ROOT$file"
        fi || fail "$file cannot be written"
        sync
    done <"$STATE/differing"
    rm -f "$ROOT${guarded%.conf}.off"
    rm -rf "$STATE/wanted"
    sync
    if grep -qs "$RULES_FILE" "$STATE/differing"; then
        udevadm control --reload && udevadm trigger --action=change --subsystem-match=ptp && udevadm settle --timeout=10
    fi
    [ -z "$followed" ] || [ -e "$ROOT$followed" ] || fail "$followed did not appear"
}

# Gives a file another content, as a whole, and leaves its owner and mode, and where it is if that is a link.
replace() {
    file_there=$(really "$1")
    part=$(part_of "$file_there")
    [ ! -e "$file_there" ] || cp -p "$file_there" "$part"
    cat >"$part" && mv -f "$part" "$file_there" && { ! has restorecon || restorecon "$file_there"; }
}
really() { readlink -f "$1"; }
part_of() { echo "$1.clockstep-part"; }

# The configuration that counts, with all that it includes, must be the one that is wanted.
check_all() {
    said=$(configuration 2>&1) || fail "chronyd does not accept the configuration: $(echo "$said" | tail -n 1)"
    echo "$said" | awk 'tolower($1) == "makestep" { last = $2 " " $3 } END { exit last != "1 -1" }' ||
        fail "another makestep line of chrony's configuration counts"
    [ -z "$followed$theirs" ] || echo "$said" | grep -qiE "^refclock PHC $followed(:[^ ]*)? " ||
        fail "chronyd does not read $guarded"
    said=$(others_clock)
    [ -z "$said" ] || [ -n "$theirs" ] || fail "chrony's configuration has another hardware clock: $said"
}

start_all() {
    systemctl daemon-reload
    for one in $(replaced); do systemctl disable --now $one; done
    systemctl enable $unit
    note "restarting chronyd"
    systemctl restart $unit || fail "chronyd does not start: $(systemctl status $unit 2>&1 | grep -i fatal | tail -n 1)"
}

# Whether chronyd follows what it is to follow; $said is why not.
await() {
    selected='[#^=],\*,'
    [ -z "$followed" ] || selected='#,\*,PHC'
    until=$(($(cut -d. -f1 /proc/uptime) + PROOF_S))
    while [ "$(cut -d. -f1 /proc/uptime)" -lt $until ]; do
        said=$(timeout 5 chronyc -n -c sources 2>&1)
        echo "$said" | grep -q "^$selected" && return
        sleep 1
    done
    said="chronyd followed nothing within $PROOF_S s; its sources: $(echo "$said" | cut -d, -f1-3 | tr '\n,' '  ')"
    [ -z "$followed" ] || said="chronyd did not follow $followed: ${said#*; }"
    return 1
}
