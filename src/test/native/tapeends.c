/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tape whose writes fail, linked with the recorder. Says what is wrong,
 * or nothing.
 *
 *   KVMIRQ_TAPE=FILE tapeends torn|signal|fifo
 *
 * fifo: FILE is a FIFO, whose only reader is descriptor 3.
 */
#include "tape.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE "0123456789012345678901234567890123456789\n"

static int handled;
static bool full;

static void handler(int signal)
{
	(void)signal;
	handled++;
}

/* The disk is full, and another process sends a signal meanwhile. */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long a[5];
	va_list more;

	va_start(more, number);
	for (int i = 0; i < 5; i++)
		a[i] = va_arg(more, long);
	va_end(more);
	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "syscall");
	if (full && number == SYS_write) {
		kill(getpid(), SIGPIPE);
		errno = ENOSPC;
		return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4]);
}

static long long size(void)
{
	struct stat now;

	return stat(getenv("KVMIRQ_TAPE"), &now) ? -1 : (long long)now.st_size;
}

static void line(void)
{
	char text[] = LINE;
	struct line made = { text, text + strlen(text), text + sizeof(text) };

	tape_append(&made);
}

static void torn(void)
{
	struct rlimit limit;
	long long before = size();

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = (rlim_t)before + 5;
	setrlimit(RLIMIT_FSIZE, &limit);
	line();
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
	line();
	if (tape_is_open() || size() != before + 5)
		printf("%lld bytes after the torn line\n",
		       size() - before - 5);
}

static void signalled(void)
{
	signal(SIGPIPE, handler);
	full = true;
	line();
	if (handled != 1)
		printf("%d signals of 1\n", handled);
}

/* The program has closed our descriptor, and the reader has left. */
static void fifo(void)
{
	alarm(10);
	close(3);
	close(512);
	line();
}

int main(int argc, char **argv)
{
	const char *test = argc == 2 ? argv[1] : "";

	if (!tape_start() || !tape_is_open())
		printf("no tape\n");
	else if (!strcmp(test, "torn"))
		torn();
	else if (!strcmp(test, "signal"))
		signalled();
	else
		fifo();
	return 0;
}
