/* The witness: tells what a guest's clock says, over two virtio-serial ports, and shares nothing with the product.
 *
 *   witness stream   writes "sequence realtime_ns monotonic_ns" every 10 ms, in the cgroup named by the third argument;
 *                    a stamp that finds nobody listening is dropped, never queued, so that every stamp is fresh
 *   witness echo     answers each line, a nonce, by "nonce realtime_ns"
 *
 * Ports are found by name in /sys/class/virtio-ports, which needs no udev.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 10000000L
#define SECOND_NS 1000000000L
#define CLASS "/sys/class/virtio-ports"

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void nap(long ns)
{
	struct timespec span = { ns / SECOND_NS, ns % SECOND_NS };
	nanosleep(&span, NULL);
}

static int named(const char *entry, const char *wanted)
{
	char path[512], name[128] = "";
	snprintf(path, sizeof path, CLASS "/%s/name", entry);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	if (fgets(name, sizeof name, file))
		name[strcspn(name, "\n")] = 0;
	fclose(file);
	return strcmp(name, wanted) == 0;
}

static int open_port(const char *wanted)
{
	for (;; nap(100 * 1000 * 1000L)) {
		DIR *ports = opendir(CLASS);
		struct dirent *entry;
		int fd = -1;
		while (ports && fd < 0 && (entry = readdir(ports)))
			if (named(entry->d_name, wanted)) {
				char path[512];
				snprintf(path, sizeof path, "/dev/%s", entry->d_name);
				fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
			}
		if (ports)
			closedir(ports);
		if (fd >= 0)
			return fd;
	}
}

static int enter(const char *cgroup)
{
	char path[512];
	mkdir(cgroup, 0755);
	snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
	FILE *file = fopen(path, "w");
	if (!file || fprintf(file, "0\n") < 0 || fclose(file)) {
		perror(path);
		return -1;
	}
	return 0;
}

static void stream(int port)
{
	struct timespec due;
	char line[96];
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (uint64_t sequence = 0;; sequence++) {
		int64_t stamp = now_ns(CLOCK_REALTIME);
		int length = snprintf(line, sizeof line, "%" PRIu64 " %" PRId64 " %" PRId64 "\n", sequence, stamp, now_ns(CLOCK_MONOTONIC));
		if (write(port, line, length) < 0 && errno != EAGAIN && errno != EPIPE)
			perror("stream");
		due.tv_nsec += PERIOD_NS;
		if (due.tv_nsec >= SECOND_NS) {
			due.tv_nsec -= SECOND_NS;
			due.tv_sec++;
		}
		if (due.tv_sec * SECOND_NS + due.tv_nsec < now_ns(CLOCK_MONOTONIC)) /* held up: no burst of stale beats */
			clock_gettime(CLOCK_MONOTONIC, &due);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
}

/* Wait until the host connects: poll(2) would say POLLHUP at once, and a nap costs a guest that nobody listens to. */
static void await_host(int port)
{
	struct timespec limit = { .tv_sec = 1 };
	sigset_t change;
	struct pollfd waiting = { .fd = port };
	sigemptyset(&change);
	sigaddset(&change, SIGIO);
	while (poll(&waiting, 1, 0) > 0 && waiting.revents & POLLHUP)
		sigtimedwait(&change, NULL, &limit);
}

/* The host's coming and going is a signal (drivers/char/virtio_console.c: send_sigio_to_port). */
static void tell_of_changes(int port)
{
	sigset_t change;
	sigemptyset(&change);
	sigaddset(&change, SIGIO);
	sigprocmask(SIG_BLOCK, &change, NULL);
	fcntl(port, F_SETOWN, getpid());
	fcntl(port, F_SETFL, O_ASYNC | O_NONBLOCK);
}

static void echo(int port)
{
	char heard[256], answer[sizeof heard + 32], *end;
	size_t filled = 0;
	tell_of_changes(port);
	for (;;) {
		struct pollfd waiting = { .fd = port, .events = POLLIN };
		poll(&waiting, 1, -1);
		ssize_t got = read(port, heard + filled, sizeof heard - filled);
		if (got <= 0) {
			await_host(port);
			filled = 0;
			continue;
		}
		filled += got;
		while ((end = memchr(heard, '\n', filled))) {
			int64_t stamp = now_ns(CLOCK_REALTIME);
			int nonce = end - heard;
			int length = snprintf(answer, sizeof answer, "%.*s %" PRId64 "\n", nonce, heard, stamp);
			if (write(port, answer, length) != length && errno != EAGAIN && errno != EPIPE)
				perror("echo");
			filled -= nonce + 1;
			memmove(heard, end + 1, filled);
		}
		if (filled == sizeof heard)
			filled = 0;
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "stream") == 0) {
		if (enter(argv[2]))
			return 1;
		stream(open_port("clockstep.witness.stream"));
	} else if (argc == 2 && strcmp(argv[1], "echo") == 0) {
		echo(open_port("clockstep.witness.echo"));
	}
	fprintf(stderr, "usage: witness stream CGROUP | echo\n");
	return 2;
}
