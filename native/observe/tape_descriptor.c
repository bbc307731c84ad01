/* SPDX-License-Identifier: Apache-2.0 */
/* The tape's descriptor, among those of the program. */
#include "tape.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	char path[PATH_MAX]; /* absolute; empty: a descriptor was given */
	volatile int fd; /* -1: nothing is recorded, or no more */
	int kept; /* the first fd */
	int access; /* to the path, when it is opened again */
	dev_t dev;
	ino_t ino;
} tape = { .fd = -1, .kept = -1 };

bool tape_is_open(void)
{
	return tape.fd >= 0;
}

void tape_end(void)
{
	tape.fd = -1;
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

int tape_take(void)
{
	int fd = tape.fd;

	if (tape_is(fd))
		return fd;
	/* Waits for no reader: a FIFO may have none left. */
	fd = *tape.path ? tape_open(tape.path, O_NONBLOCK | tape.access) : -1;
	if (fd >= 0 && !tape_is(fd)) {
		syscall(SYS_close, fd);
		fd = -1;
	}
	return fd;
}

void tape_leave(int fd)
{
	if (fd >= 0 && fd != tape.kept)
		syscall(SYS_close, fd);
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

int tape_find(const char *name, int flags)
{
	int fd, high;

	if (strspn(name, "0123456789") == strlen(name))
		return atoi(name);
	remember(name);
	fd = tape_open(name, flags);
	/* Out of the way of numbers that a program expects to get. */
	high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 512);
	if (high < 0)
		return fd;
	syscall(SYS_close, fd);
	return high;
}

void tape_keep(int fd, const struct stat *file, int access)
{
	tape.dev = file->st_dev;
	tape.ino = file->st_ino;
	tape.access = access;
	tape.kept = fd;
	tape.fd = fd;
}
