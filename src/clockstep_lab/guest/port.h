/* What the lab's programs in a guest share: finding a virtio-serial port, and waiting for the host to open it.
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

#define SECOND_NS 1000000000L
#define CLASS "/sys/class/virtio-ports"

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
