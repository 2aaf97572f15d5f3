/* The hand: does in a guest what the lab asks, whether or not an agent, a network or an sshd is there.
 *
 *   hand serve   reads "NONCE\nSCRIPT\0" from its port, runs the script by sh(1) and answers its output, on either
 *                stream, then "\0NONCE CODE\n"; the script "step NS" adds nanoseconds to the clock, in one call of
 *                clock_adjtime(2), without starting anything
 *   hand blank   fills free memory with zeros, which take no room in what is kept of it
 */
#include "port.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>
#include <sys/wait.h>

#define SCRIPT_MAX 65536
#define STEP "step "
#define LEFT_FREE (16L << 20)

static int step(int64_t by_ns)
{
	struct timex change = { .modes = ADJ_SETOFFSET | ADJ_NANO };
	change.time.tv_sec = by_ns / SECOND_NS;
	change.time.tv_usec = by_ns % SECOND_NS;
	if (change.time.tv_usec < 0) {
		change.time.tv_sec--;
		change.time.tv_usec += SECOND_NS;
	}
	if (clock_adjtime(CLOCK_REALTIME, &change) < 0) {
		perror("clock_adjtime");
		return 1;
	}
	return 0;
}

/* Write all, unless the host has gone. */
static void answer(int port, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t wrote = write(port, text, length);
		if (wrote < 0 && errno == EAGAIN) {
			struct pollfd room = { .fd = port, .events = POLLOUT };
			poll(&room, 1, -1);
			if (room.revents & POLLHUP)
				return;
		} else if (wrote < 0) {
			return;
		} else {
			text += wrote;
			length -= wrote;
		}
	}
}

static void end(int port, const char *nonce, int code)
{
	char line[128];
	int length = snprintf(line, sizeof line, "%c%s %d\n", 0, nonce, code);
	answer(port, line, length);
}

static void run(int port, const char *nonce, const char *script)
{
	char said[4096];
	int ends[2], status = 0;
	ssize_t got;
	if (pipe(ends) < 0)
		return;
	pid_t child = fork();
	if (child == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], said, sizeof said)) > 0)
		answer(port, said, got);
	close(ends[0]);
	waitpid(child, &status, 0);
	end(port, nonce, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int blank(void)
{
	struct sysinfo room;
	sysinfo(&room);
	long size = room.freeram * room.mem_unit - LEFT_FREE;
	if (size <= 0)
		return 0;
	void *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return all == MAP_FAILED;
}

static void serve(int port)
{
	static char heard[SCRIPT_MAX];
	char *stop, *line;
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
		while ((stop = memchr(heard, 0, filled))) {
			if ((line = memchr(heard, '\n', stop - heard))) {
				*line = 0;
				if (strncmp(line + 1, STEP, sizeof STEP - 1) == 0)
					end(port, heard, step(strtoll(line + sizeof STEP, NULL, 10)));
				else
					run(port, heard, line + 1);
			}
			filled -= stop + 1 - heard;
			memmove(heard, stop + 1, filled);
		}
		if (filled == sizeof heard)
			filled = 0;
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "blank") == 0)
		return blank();
	if (argc == 2 && strcmp(argv[1], "serve") == 0) {
		setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
		serve(open_port("clockstep.lab.hand"));
	}
	fprintf(stderr, "usage: hand serve | blank\n");
	return 2;
}
