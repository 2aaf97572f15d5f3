/* The witness: tells what a guest's clock says, over two virtio-serial ports, and shares nothing with the product.
 *
 *   witness stream   writes "sequence realtime_ns monotonic_ns" every 10 ms, in the cgroup named by the third argument;
 *                    while nobody listens it writes none, so that none is queued and every stamp is fresh
 *   witness echo     answers each line, a nonce, by "nonce realtime_ns"
 */
#include "port.h"

#define PERIOD_NS 10000000L

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
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
	tell_of_changes(port);
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (uint64_t sequence = 0;; sequence++) {
		int64_t stamp = now_ns(CLOCK_REALTIME);
		int length = snprintf(line, sizeof line, "%" PRIu64 " %" PRId64 " %" PRId64 "\n", sequence, stamp, now_ns(CLOCK_MONOTONIC));
		if (write(port, line, length) < 0)
			await_host(port); /* returns at once when it is the queue that is full */
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
