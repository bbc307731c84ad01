/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_TAPE_CALLS_H
#define KVMIRQ_TAPE_CALLS_H

#include "tape.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) EXPORT __attribute__((alias(#name)))

/* tape_preload.c: the functions behind ours. */

struct next {
	__typeof__(&ioctl) ioctl;
	__typeof__(&eventfd) eventfd;
	__typeof__(&eventfd_read) eventfd_read;
	__typeof__(&eventfd_write) eventfd_write;
	__typeof__(&read) read;
	__typeof__(&write) write;
	__typeof__(&pread) pread;
	__typeof__(&pwrite) pwrite;
	__typeof__(&readv) readv;
	__typeof__(&writev) writev;
	__typeof__(&preadv) preadv;
	__typeof__(&pwritev) pwritev;
	__typeof__(&preadv2) preadv2;
	__typeof__(&pwritev2) pwritev2;
	__typeof__(&close) close;
	int (*close_range)(unsigned int first, unsigned int last, int flags);
	void (*closefrom)(int first);
	__typeof__(&fcntl) fcntl;
	__typeof__(&dup) dup;
	__typeof__(&dup2) dup2;
	__typeof__(&dup3) dup3;
	__typeof__(&open) open;
	__typeof__(&openat) openat;
	__typeof__(&poll) poll;
	__typeof__(&ppoll) ppoll;
	__typeof__(&recvmsg) recvmsg;
	__typeof__(&mmap) mmap;
	/* Of fortified programs; they end one that asks for too much. */
	ssize_t (*__read_chk)(int fd, void *to, size_t length, size_t room);
	ssize_t (*__pread_chk)(int fd, void *to, size_t length, off_t offset,
			       size_t room);
	int (*__poll_chk)(struct pollfd *fds, nfds_t count, int timeout,
			  size_t room);
	int (*__ppoll_chk)(struct pollfd *fds, nfds_t count,
			   const struct timespec *timeout,
			   const sigset_t *signals, size_t room);
	int (*__open_2)(const char *path, int flags);
	int (*__openat_2)(int directory, const char *path, int flags);
};

extern struct next next;

void resolve(void);

/* Resolved by our constructor, unless another library's ran first and calls. */
#define NEXT(name) (next.name ? next.name : (resolve(), next.name))

#endif
