/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define BIT(signal) (1ULL << ((signal)-1)) /* in the kernel's sigset_t */

#define OWN "/proc/self/"

/* The tape */

static struct {
	char path[PATH_MAX]; /* absolute; empty: a descriptor was given */
	volatile int fd; /* -1: nothing is recorded, or no more */
	int kept; /* the first fd */
	dev_t dev;
	ino_t ino;
} tape = { .fd = -1, .kept = -1 };

bool tape_is_open(void)
{
	return tape.fd >= 0;
}

static int tape_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path,
			    O_APPEND | O_CLOEXEC | O_NOCTTY | flags);
}

/* A program may have closed our descriptor, and its number be another file. */
static bool tape_is(int fd)
{
	struct stat now;

	return !fstat(fd, &now) && now.st_dev == tape.dev &&
	       now.st_ino == tape.ino;
}

/* -errno. A line that finds a pipe full that does not wait is left out. */
static int write_all(int fd, const char *line, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t ret = syscall(SYS_write, fd, line + done,
				      length - done);

		if (ret > 0)
			done += (size_t)ret;
		else if (ret == 0 || errno != EINTR)
			return ret == 0			? -EIO :
			       errno == EAGAIN && !done ? 0 :
							  -errno;
	}
	return 0;
}

/*
 * A write to a pipe without a reader or past a limit on file sizes raises a
 * signal in this thread. It is taken back, unless the program has one waiting.
 * After a failed write the tape ends, maybe within a line: a line after it
 * would be torn too.
 *
 * rt_sigpending() mixes signals of the thread and of the process: where one for
 * the process is blocked and waits, ours is left to the program too. A signal
 * handler that leaves by longjmp() while the tape's pipe is full leaves SIGPIPE
 * and SIGXFSZ blocked in that thread.
 */
static void quiet_begin(struct quiet *quiet)
{
	const uint64_t ours = BIT(SIGPIPE) | BIT(SIGXFSZ);

	*quiet = (struct quiet){ 0 };
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &ours, &quiet->mask,
		sizeof(quiet->mask));
	if (quiet->mask & ours)
		syscall(SYS_rt_sigpending, &quiet->waiting,
			sizeof(quiet->waiting));
}

/* @result: of what may have raised a signal */
static void quiet_end(const struct quiet *quiet, int result)
{
	const struct timespec now = { 0 };
	uint64_t raised = result == -EPIPE ? BIT(SIGPIPE) :
			  result == -EFBIG ? BIT(SIGXFSZ) :
					     0;

	if (raised & ~quiet->waiting)
		syscall(SYS_rt_sigtimedwait, &raised, NULL, &now,
			sizeof(raised));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &quiet->mask, NULL,
		sizeof(quiet->mask));
}

static void tape_write(int fd, const struct line *line)
{
	struct quiet quiet;
	int ret;

	quiet_begin(&quiet);
	ret = write_all(fd, line->start, (size_t)(line->at - line->start));
	if (ret < 0)
		tape.fd = -1;
	quiet_end(&quiet, ret);
}

/* Ours, or the file opened again; -1 if it is not there. */
static int descriptor(void)
{
	int fd = tape.fd;

	if (tape_is(fd))
		return fd;
	/* Waits for no reader: a FIFO may have none left. */
	fd = *tape.path ? tape_open(tape.path,
				      O_NONBLOCK | (map_is_open() ? O_RDWR :
								    O_WRONLY)) : -1;
	if (fd >= 0 && !tape_is(fd)) {
		syscall(SYS_close, fd);
		fd = -1;
	}
	return fd;
}

static void leave(int fd)
{
	if (fd >= 0 && fd != tape.kept)
		syscall(SYS_close, fd);
}

int tape_take(struct quiet *quiet)
{
	quiet_begin(quiet);
	return descriptor();
}

void tape_leave(int fd, const struct quiet *quiet, int result)
{
	leave(fd);
	quiet_end(quiet, result);
}

void tape_append(const struct line *line)
{
	int fd;

	if (tape.fd < 0) /* another thread's write failed */
		return;
	if (map_is_open()) {
		if (!map_append(line))
			tape.fd = -1;
		return;
	}
	fd = descriptor();
	if (fd >= 0)
		tape_write(fd, line);
	leave(fd);
}

/* The beginning */

void tape_header(const char *link)
{
	char room[LINE_ROOM];
	struct line line = { room, room, room + sizeof(room) - 1 };
	char program[256];
	ssize_t length;
	struct utsname system;

	if (uname(&system))
		return;
	length = readlink(link, program, sizeof(program) - 1);
	program[length < 0 ? 0 : length] = '\0';
	put(&line, "{\"header\":{\"pid\":");
	put_number(&line, caller().process);
	put_text(&line, "program", program);
	put_text(&line, "arch", system.machine);
	put_text(&line, "kernel", system.release);
	put(&line, "}");
	end_line(&line);
	tape_append(&line);
}

/* The program may change its environment and its directory. */
static void remember(const char *name)
{
	size_t length = 0;

	if (*name != '/') {
		if (!getcwd(tape.path, sizeof(tape.path) - 1)) {
			*tape.path = '\0';
			return;
		}
		length = strlen(tape.path);
		tape.path[length++] = '/';
	}
	if (length + strlen(name) < sizeof(tape.path))
		strcpy(tape.path + length, name);
	else
		*tape.path = '\0'; /* too long to open again */
}

/*
 * A name below /proc is that of a file of kvmirq tape, which has none itself: a
 * tape in shared memory. One in /proc/self is any file of this program.
 */
bool tape_start(void)
{
	const char *name = getenv("KVMIRQ_TAPE");
	struct stat now;
	bool shared = false;
	int fd, high;

	if (!name || !*name)
		return false;
	if (strspn(name, "0123456789") == strlen(name)) {
		fd = atoi(name);
	} else {
		remember(name);
		shared = !strncmp(name, "/proc/", strlen("/proc/"));
		fd = tape_open(name, shared ? O_RDWR | O_NONBLOCK : O_WRONLY);
		/* Out of the way of numbers that a program expects to get. */
		high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 512);
		if (high >= 0) {
			syscall(SYS_close, fd);
			fd = high;
		}
	}
	if (fstat(fd, &now))
		return false;
	/* Once kvmirq tape has ended, the name is another's. */
	if (shared && !map_open(fd) && strncmp(name, OWN, strlen(OWN))) {
		syscall(SYS_close, fd);
		return false;
	}
	tape.dev = now.st_dev;
	tape.ino = now.st_ino;
	tape.kept = fd;
	tape.fd = fd;
	return true;
}
