# Which time servers chronyd would ask, and which of them do not answer.

ASK_BY_PERL='use Socket qw(:all);
alarm 8;
my ($error, @found) = getaddrinfo(@ARGV, {socktype => SOCK_DGRAM});
exit 2 if $error || !@found;
my ($line, $said);
for my $to (grep { defined } @found[0 .. 2]) {
    socket($line, $to->{family}, SOCK_DGRAM, 0) && connect($line, $to->{addr}) or next;
    send($line, "\x23" . "\0" x 47, 0) or next;
    my $ready = "";
    vec($ready, fileno($line), 1) = 1;
    exit 0 if select($ready, undef, undef, 1.5) && defined recv($line, $said, 512, 0) && length $said >= 48;
}
exit 1'
ASK_BY_PYTHON='import signal, socket, sys
signal.alarm(8)
try:
    found = socket.getaddrinfo(*sys.argv[1:], type=socket.SOCK_DGRAM)
except OSError:
    sys.exit(2)
for family, kind, _, _, to in found[:3]:
    try:
        line = socket.socket(family, kind)
        line.settimeout(1.5)
        line.connect(to)
        line.send(b"\x23" + bytes(47))
        if len(line.recv(512)) >= 48:
            sys.exit()
    except OSError:
        pass
sys.exit(1)'

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
