import signal, socket, sys
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
sys.exit(1)
