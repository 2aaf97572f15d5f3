## The same as step.pl; 69 where this Python cannot do it.
import os, re, sys, time
try:
    import ctypes, fcntl, struct
    call = ctypes.CDLL(None, use_errno=True).adjtimex
except (ImportError, OSError, AttributeError):
    sys.exit(69)
if ctypes.sizeof(ctypes.c_long) != 8 or sys.byteorder != "little":
    sys.exit(69)
def adjtimex(packed):
    if call(packed) >= 0:
        return True
    sys.stderr.write("adjtimex: %s\n" % os.strerror(ctypes.get_errno()))
    return False
def remember(memory, line):
    line = ("\n%s\n" % line).encode()
    if os.write(memory, line) != len(line):
        raise OSError("a step cannot be remembered")
def opened(path):
    os.umask(0o77)
    if not os.path.isdir(os.path.dirname(path)):
        os.mkdir(os.path.dirname(path))
    memory = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    for _ in range(100):
        try:
            fcntl.flock(memory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return memory
        except BlockingIOError:
            time.sleep(0.01)
    raise BlockingIOError
def step(path, *words):
    memory = None
    try:
        memory = opened(path)
        return carried_out(memory, *words)
    except BlockingIOError:
        return 75
    except OSError as error:
        sys.stderr.write("%s\n" % error)
        return 77
    finally:
        if memory is not None:
            os.close(memory)
def carried_out(memory, token, by_s=None, by_ns=0, at_s=0, at_ns=0, window=0):
    known = os.pread(memory, 1 << 17, 0).decode("ascii", "replace")
    fate = re.findall("^%s (.+)$" % token, known, re.M)
    if fate:
        print(fate[-1])
        return 76
    if len(known) > 1 << 16:
        os.ftruncate(memory, 0)
        os.write(memory, known[-4096:].encode())
    if by_s is None:
        remember(memory, token + " closed")
        print("closed")
        return 76
    if any(one > token for one in re.findall(r"^(%s\w{16}) begun$" % token[:-16], known, re.M)):
        return 75
    now = ctypes.create_string_buffer(208)
    if not adjtimex(now):
        return 77
    status, = struct.unpack_from("i", now, 40)
    s, ns, tick = struct.unpack_from("3q", now, 72)
    elapsed = (s - int(at_s)) * 10**9 + (ns if status & 0x2000 else ns * 1000) - int(at_ns)
    if abs(elapsed) > int(window):
        return 75
    by_s, by_ns, modes = int(by_s), int(by_ns), 0x2100
    if abs(tick - 10000) > 10:
        modes |= 0x4000
        by_ns -= elapsed * (tick - 10000) // tick
    by_s, by_ns = by_s + by_ns // 10**9, by_ns % 10**9
    packed = ctypes.create_string_buffer(struct.pack("I68x3q112x", modes, by_s, by_ns, 10000), 208)
    remember(memory, token + " begun")
    if not adjtimex(packed):
        remember(memory, token + " closed")
        return 77
    done = "done %d %d" % (by_s, by_ns)
    try:
        remember(memory, token + " " + done)
    except OSError:
        pass
    print(done)
    return 0
