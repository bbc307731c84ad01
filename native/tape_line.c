/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The tape */

static struct {
	char path[PATH_MAX]; /* absolute; empty: a descriptor was given */
	int fd; /* -1: nothing is recorded */
	dev_t dev;
	ino_t ino;
} tape = { .fd = -1 };

bool tape_is_open(void)
{
	return tape.fd >= 0;
}

static int tape_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path,
			    O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0600);
}

/* A program may have closed our descriptor, and its number be another file. */
static bool tape_is(int fd)
{
	struct stat now;

	return !fstat(fd, &now) && now.st_dev == tape.dev &&
	       now.st_ino == tape.ino;
}

static void tape_append(const char *line, size_t length)
{
	int fd;

	if (tape_is(tape.fd)) {
		syscall(SYS_write, tape.fd, line, length);
	} else if (*tape.path && (fd = tape_open(tape.path, 0)) >= 0) {
		if (tape_is(fd))
			syscall(SYS_write, fd, line, length);
		syscall(SYS_close, fd);
	}
}

/* A line being made */

void put(struct line *line, const char *text)
{
	while (*text && line->at < line->end)
		*line->at++ = *text++;
}

void put_number(struct line *line, long long value)
{
	char digits[24];
	char *at = &digits[sizeof(digits) - 1];
	unsigned long long rest = value < 0 ? 0 - (unsigned long long)value
					    : (unsigned long long)value;

	*at = '\0';
	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		*--at = '-';
	put(line, at);
}

static void put_key(struct line *line, const char *key)
{
	put(line, ",\"");
	put(line, key);
	put(line, "\":");
}

void put_field(struct line *line, const char *key, long long value)
{
	put_key(line, key);
	put_number(line, value);
}

void put_true(struct line *line, const char *key)
{
	put_key(line, key);
	put(line, "true");
}

void put_text(struct line *line, const char *key, const char *text)
{
	put_key(line, key);
	put(line, "\"");
	for (; *text; text++) {
		bool plain = *text >= ' ' && *text <= '~' && *text != '"' &&
			     *text != '\\';
		char one[] = { plain ? *text : '?', '\0' };

		put(line, one);
	}
	put(line, "\"");
}

static void put_hex(struct line *line, const char *key,
		    const unsigned char *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	put_key(line, key);
	put(line, "\"");
	for (size_t i = 0; i < size && line->end - line->at > 1; i++) {
		*line->at++ = digits[bytes[i] >> 4];
		*line->at++ = digits[bytes[i] & 15];
	}
	put(line, "\"");
}

void put_bytes(struct line *line, const char *key, bool readable,
	       const unsigned char *bytes, size_t size)
{
	if (readable) {
		put_hex(line, key, bytes, size);
	} else {
		put_key(line, key);
		put(line, "null");
	}
}

void begin(struct line *line, char *room, size_t size, const char *call,
	   int fd, const char *file)
{
	*line = (struct line){ room, room, room + size - 1 };
	put(line, "{\"pid\":");
	put_number(line, getpid());
	put_field(line, "tid", syscall(SYS_gettid));
	put_text(line, "call", call);
	put_field(line, "fd", fd);
	if (*file) {
		put_text(line, "file", file);
	} else {
		put_key(line, "file");
		put(line, "null");
	}
}

void end(struct line *line, long long result, int error)
{
	put_field(line, "result", result);
	put_field(line, "errno", result == -1 ? error : 0);
	put(line, "}");
	*line->at++ = '\n';
	tape_append(line->start, (size_t)(line->at - line->start));
}

/* The beginning */

static void put_header(void)
{
	char room[LINE_ROOM];
	struct line line = { room, room, room + sizeof(room) - 1 };
	char program[256];
	ssize_t length;
	struct utsname system;

	if (uname(&system))
		return;
	length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	program[length < 0 ? 0 : length] = '\0';
	put(&line, "{\"header\":{\"pid\":");
	put_number(&line, getpid());
	put_text(&line, "program", program);
	put_text(&line, "arch", system.machine);
	put_text(&line, "kernel", system.release);
	put(&line, "}}");
	*line.at++ = '\n';
	tape_append(room, (size_t)(line.at - room));
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

__attribute__((constructor)) static void start(void)
{
	const char *name = getenv("KVMIRQ_TAPE");
	struct stat now;
	int fd, high;

	if (!name || !*name)
		return;
	if (strspn(name, "0123456789") == strlen(name)) {
		fd = atoi(name);
	} else {
		remember(name);
		fd = tape_open(name, O_CREAT);
		/* Out of the way of numbers that a program expects to get. */
		high = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 512);
		if (high >= 0) {
			syscall(SYS_close, fd);
			fd = high;
		}
	}
	if (fstat(fd, &now))
		return;
	tape.dev = now.st_dev;
	tape.ino = now.st_ino;
	tape.fd = fd;
	lengths_read(getenv("KVMIRQ_TAPE_LENGTHS"));
	put_header();
}
