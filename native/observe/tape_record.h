/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and their lines, whoever sees the calls. An error is the errno of a
 * result of -1. A call that writes to the program's memory, or lasts, has a
 * part before and a part after it.
 */
#ifndef KVMIRQ_TAPE_RECORD_H
#define KVMIRQ_TAPE_RECORD_H

#include "tape.h"

#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* tape_record.c: calls that open, close and map files. */

void record_close(int fd);
void record_fcntl(int fd, int command, int value, int result, int error);
void record_dup(const char *call, int from, int to, int flags, int result,
		int error);
void record_open(const char *call, uintptr_t path, int flags, int result,
		 int error);
void record_mmap(int fd, size_t length, int flags, off_t offset, int result,
		 int error);
void record_eventfd(unsigned int count, int flags, int result, int error);

/* tape_ioctl.c */

#define SMALL 1024 /* bytes of an argument that the stack holds */

struct ioctl_call {
	unsigned long request;
	uintptr_t argument;
	size_t size;
	bool readable;
	struct room room;
	struct line line;
	unsigned char small[SMALL_ROOM(SMALL * 2)];
};

/* False: there is no room for the argument, so the call is not recorded. */
bool ioctl_before(struct ioctl_call *call, int fd, const struct file *file,
		  unsigned long request, uintptr_t argument);
void ioctl_after(struct ioctl_call *call, int result, int error);

/* tape_data.c: bytes that are read and written. */

#define FEW 128 /* bytes of data that the stack holds */

enum function {
	READ,
	PREAD,
	READV,
	PREADV,
	PREADV2,
	EVENTFD_READ,
	WRITE, /* from here on the kernel reads */
	PWRITE,
	WRITEV,
	PWRITEV,
	PWRITEV2,
	EVENTFD_WRITE,
};

struct transfer {
	enum function function;
	int fd;
	bool several; /* buffers; else one */
	struct iovec one;
	const struct iovec *vectors; /* the program's, not looked at yet */
	int count;
	off_t offset;
	int flags;
};

/* The kept bytes of a transfer, and room for its line. */
struct kept {
	struct room room;
	size_t length; /* that is asked for */
	bool cut;
	bool known; /* the program has such memory */
	unsigned char few[SMALL_ROOM(FEW)];
};

void transfer_before(const struct transfer *transfer, struct kept *kept);
void transfer_after(const struct transfer *transfer, struct kept *kept,
		    const struct file *file, ssize_t result, int error);

/* tape_poll.c */

/* Whether it is surely not recorded. */
bool poll_ignores(int fd);
long poll_nanoseconds(const struct timespec *time);
void record_poll(const char *call, uintptr_t fds, unsigned long count,
		 long timeout, int result, int error);

#endif
