/* SPDX-License-Identifier: Apache-2.0 */
/* The tape: where it begins, and lines that are appended to it. */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define OWN "/proc/self/"

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

/* A line after one that was not written whole would be torn too. */
static void tape_write(int fd, const struct line *line)
{
	struct quiet quiet;
	int ret;

	quiet_begin(&quiet);
	ret = write_all(fd, line->start, (size_t)(line->at - line->start));
	if (ret < 0)
		tape_end();
	quiet_end(&quiet, ret);
}

void tape_append(const struct line *line)
{
	int fd;

	if (!tape_is_open()) /* another thread's write failed */
		return;
	if (map_is_open()) {
		if (!map_append(line))
			tape_end();
		return;
	}
	fd = tape_take();
	if (fd >= 0)
		tape_write(fd, line);
	tape_leave(fd);
}

/* The beginning */

void tape_header(long process, const char *link)
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
	put_number(&line, process);
	put_text(&line, "program", program);
	put_text(&line, "arch", system.machine);
	put_text(&line, "kernel", system.release);
	put(&line, "}");
	end_line(&line);
	tape_append(&line);
}

/*
 * A name below /proc is that of a file of kvmirq tape, which has none itself: a
 * tape in shared memory. One in /proc/self is any file of this program.
 */
bool tape_start(void)
{
	const char *name = getenv("KVMIRQ_TAPE");
	struct stat now;
	bool shared;
	int fd;

	if (!name || !*name)
		return false;
	shared = starts(name, "/proc/");
	fd = tape_find(name, shared ? O_RDWR | O_NONBLOCK : O_WRONLY);
	if (fstat(fd, &now))
		return false;
	/* Once kvmirq tape has ended, the name is another's. */
	if (shared && !map_open(fd) && !starts(name, OWN)) {
		syscall(SYS_close, fd);
		return false;
	}
	tape_keep(fd, &now, map_is_open() ? O_RDWR : O_WRONLY);
	return true;
}
