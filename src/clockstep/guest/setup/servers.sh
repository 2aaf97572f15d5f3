# shellcheck disable=SC2086  # a number
# shellcheck disable=SC2086  # a number
# Which time servers chronyd would ask, and which of them do not answer.

ASK_BY_PERL='__ANSWERS_PL__'
ASK_BY_PYTHON='__ANSWERS_PY__'

silent= asked=0

# Each server's name and port, of the configuration that is there and of the one that chrony's package brings.
servers() {
    {
        if [ -n "$conf" ]; then
            configuration 2>/dev/null
        else
            case $ID in debian) echo 'pool 2.debian.pool.ntp.org' ;; ubuntu) echo 'pool ntp.ubuntu.com' ;;
            *) echo "pool 2.$ID.pool.ntp.org" ;; esac
        fi
        cat "$ROOT"/etc/chrony/sources.d/*.sources "$ROOT"/run/chrony-dhcp/*.sources 2>/dev/null
    } | awk 'tolower($1) ~ /^(server|pool|peer)$/ {
        port = 123
        for (i = 3; i < NF; i++) if ($i == "port") port = $(i + 1)
        if (!seen[$2 " " port]++) print $2, port
    }'
}

# Writes which servers do not answer, and why, into $silent, and how many there are into $asked. All are asked at once.
# Nothing is asked where neither perl nor python is there, or nothing is to be replaced.
ask_servers() {
    silent='' asked=0
    by_interpreter 0 0 >/dev/null || return 0
    [ -z "$version" ] || [ -n "$(replaced)" ] || return 0
    silent=$(servers | {
        while read -r name port; do
            { by_interpreter "$ASK_BY_PERL" "$ASK_BY_PYTHON" "$name" "$port" >/dev/null 2>&1
            case $? in 0) echo "answers $name" ;; 2|142) echo "$name is not resolved" ;; *) echo "$name does not answer" ;; esac
            } &
        done
        wait
    })
    asked=$(echo "$silent" | grep -c .)
    silent=$(echo "$silent" | grep -v '^answers ')
}

# Whether no server answers, and nothing else could be followed.
without_time() {
    [ -z "$clock$module" ] && [ $asked -gt 0 ] && [ "$(echo "$silent" | grep -c .)" = $asked ]
}
