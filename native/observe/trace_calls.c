/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#define X32 0x40000000
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Programs read eventfds with up to so much room, and files with more. */
#define LONGEST 512
#define LONGEST_AT 8 /* of a device's registers */

/* The calls. Before each, false: nothing is to be done when it returns. */

static int fd_of(const struct call *call)
{
	return (int)call->arguments[0];
}

static bool is_taped(struct call *call)
{
	file_of(fd_of(call), &call->file);
	return is_ours(&call->file) || is_eventfd(&call->file);
}

static bool ioctl_starts(struct call *call)
{
	file_of(fd_of(call), &call->file);
	return ioctl_before(&call->ioctl, fd_of(call), &call->file,
			    call->arguments[1] & 0xffffffff,
			    call->arguments[2]);
}

static void ioctl_ends(struct call *call, int64_t result, int error)
{
	ioctl_after(&call->ioctl, (int)result, error);
}

static bool transfer_starts(struct call *call, enum function function,
			    uint64_t offset)
{
	if (!is_taped(call))
		return false;
	call->transfer = (struct transfer){
		.function = function,
		.fd = fd_of(call),
		.one = { (void *)call->arguments[1], call->arguments[2] },
		.count = 1,
		.offset = (off_t)offset,
	};
	transfer_before(&call->transfer, &call->kept);
	return true;
}

static bool read_starts(struct call *call)
{
	return transfer_starts(call, READ, 0);
}

static bool write_starts(struct call *call)
{
	return transfer_starts(call, WRITE, 0);
}

static bool pread_starts(struct call *call)
{
	return transfer_starts(call, PREAD, call->arguments[3]);
}

static bool pwrite_starts(struct call *call)
{
	return transfer_starts(call, PWRITE, call->arguments[3]);
}

static void transfer_ends(struct call *call, int64_t result, int error)
{
	transfer_after(&call->transfer, &call->kept, &call->file, result,
		       error);
}

static bool close_starts(struct call *call)
{
	record_close(fd_of(call));
	return false;
}

static void fcntl_ends(struct call *call, int64_t result, int error)
{
	record_fcntl(fd_of(call), (int)call->arguments[1],
		     (int)call->arguments[2], (int)result, error);
}

static void dup_ends(struct call *call, int64_t result, int error)
{
	record_dup("dup", fd_of(call), 0, 0, (int)result, error);
}

static void dup3_ends(struct call *call, int64_t result, int error)
{
	record_dup("dup3", fd_of(call), (int)call->arguments[1],
		   (int)call->arguments[2], (int)result, error);
}

static bool is_wanted(struct call *call)
{
	(void)call;
	return true;
}

/* As the open() of C libraries, when it is from the current directory. */
static void openat_ends(struct call *call, int64_t result, int error)
{
	record_open(fd_of(call) == AT_FDCWD ? "open" : "openat",
		    call->arguments[1], (int)call->arguments[2], (int)result,
		    error);
}

static void eventfd2_ends(struct call *call, int64_t result, int error)
{
	record_eventfd((unsigned int)call->arguments[0],
		       (int)call->arguments[1], (int)result, error);
}

/* The kernel writes to the time. */
static bool ppoll_starts(struct call *call)
{
	struct timespec time;

	call->timeout = -1;
	if (call->arguments[2]) {
		if (!copy(&time, call->arguments[2], sizeof(time)))
			return false;
		call->timeout = poll_nanoseconds(&time);
	}
	return true;
}

static void ppoll_ends(struct call *call, int64_t result, int error)
{
	record_poll("ppoll", call->arguments[0],
		    (unsigned int)call->arguments[1],
		    call->timeout, (int)result, error);
}

static bool mmap_starts(struct call *call)
{
	file_of((int)call->arguments[4], &call->file);
	return is_ours(&call->file);
}

static void mmap_ends(struct call *call, int64_t result, int error)
{
	record_mmap((int)call->arguments[4], call->arguments[1],
		    (int)call->arguments[3], (off_t)call->arguments[5],
		    result < 0 ? -1 : 0, error);
}

/* Calls that only architectures before arm64 have. */
#ifdef __NR_open
static void dup2_ends(struct call *call, int64_t result, int error)
{
	record_dup("dup2", fd_of(call), (int)call->arguments[1], 0,
		   (int)result, error);
}

static void open_ends(struct call *call, int64_t result, int error)
{
	record_open("open", call->arguments[0], (int)call->arguments[1],
		    (int)result, error);
}

static void eventfd_ends(struct call *call, int64_t result, int error)
{
	record_eventfd((unsigned int)call->arguments[0], 0, (int)result, error);
}

static void poll_ends(struct call *call, int64_t result, int error)
{
	int timeout = (int)call->arguments[2];

	record_poll("poll", call->arguments[0],
		    (unsigned int)call->arguments[1],
		    timeout < 0 ? -1 : timeout * 1000000L, (int)result, error);
}
#endif

/*
 * A stop costs more than most calls. So the filter looks at the low half of one
 * argument, and few calls on other files stop.
 */
static const struct known {
	long number;
	bool (*starts)(struct call *call);
	void (*ends)(struct call *call, int64_t result, int error);
	enum { ALWAYS, ONE_OF, AT_MOST } test;
	uint32_t values[2];
	unsigned int argument;
	uint32_t mask;
} known_calls[] = {
	{ __NR_ioctl, ioctl_starts, ioctl_ends, ONE_OF,
	  { KVMIO << 8, VFIO_TYPE << 8 }, 1, 0xff00 },
	{ __NR_read, read_starts, transfer_ends, AT_MOST, { LONGEST }, 2, ~0U },
	{ __NR_write, write_starts, transfer_ends, AT_MOST,
	  { LONGEST }, 2, ~0U },
	{ __NR_pread64, pread_starts, transfer_ends, AT_MOST,
	  { LONGEST_AT }, 2, ~0U },
	{ __NR_pwrite64, pwrite_starts, transfer_ends, AT_MOST,
	  { LONGEST_AT }, 2, ~0U },
	{ __NR_close, close_starts, NULL, ALWAYS, { 0 }, 0, 0 },
	{ __NR_fcntl, is_taped, fcntl_ends, ONE_OF,
	  { F_DUPFD, F_DUPFD_CLOEXEC }, 1, ~0U },
	{ __NR_dup, is_taped, dup_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_dup3, is_taped, dup3_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_openat, is_wanted, openat_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_eventfd2, is_wanted, eventfd2_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_ppoll, ppoll_starts, ppoll_ends, ALWAYS, { 0 }, 0, 0 },
	/* Of a file: the highest bit of the descriptor is 0. */
	{ __NR_mmap, mmap_starts, mmap_ends, ONE_OF, { 0, 0 }, 4, 1U << 31 },
#ifdef __NR_open
	{ __NR_dup2, is_taped, dup2_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_open, is_wanted, open_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_eventfd, is_wanted, eventfd_ends, ALWAYS, { 0 }, 0, 0 },
	{ __NR_poll, is_wanted, poll_ends, ALWAYS, { 0 }, 0, 0 },
#endif
};

#define KNOWN (sizeof(known_calls) / sizeof(*known_calls))

struct call *call_new(const struct __ptrace_syscall_info *stop)
{
	const struct known *known = known_calls;
	struct call *call;

	while (known < known_calls + KNOWN &&
	       known->number != (long)stop->seccomp.nr)
		known++;
	if (known == known_calls + KNOWN || !tape_is_open())
		return NULL;
	call = malloc(sizeof(*call));
	if (!call)
		return NULL;
	call->outer = NULL;
	call->known = known;
	call->number = stop->seccomp.nr;
	call->instruction = stop->instruction_pointer;
	call->stack = stop->stack_pointer;
	memcpy(call->arguments, stop->seccomp.args, sizeof(call->arguments));
	call->interrupted = false;
	if (known->starts(call))
		return call;
	free(call);
	return NULL;
}

void call_end(struct call *call, int64_t result)
{
	int error = result < 0 && result >= -4095 ? (int)-result : 0;

	call->known->ends(call, error ? -1 : result, error);
	free(call);
}

void call_drop(struct call *call)
{
	const struct known *known = call->known;

	if (known->ends == ioctl_ends)
		room_leave(&call->ioctl.room);
	else if (known->starts == write_starts ||
		 known->starts == pwrite_starts)
		room_leave(&call->kept.room);
	free(call);
}

/* The filter */

#define STATEMENT(...) (*next++ = (struct sock_filter)BPF_STMT(__VA_ARGS__))
#define JUMP(...) (*next++ = (struct sock_filter)BPF_JUMP(__VA_ARGS__))
#define LOAD(at) STATEMENT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(at))
#define RETURN(action) STATEMENT(BPF_RET | BPF_K, action)

#define LENGTH 7 /* of the part for a call */

static struct sock_filter *filter_put(struct sock_filter *next,
				      const struct known *known)
{
	struct sock_filter *start = next;

	JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)known->number, 0,
	     known->test == ALWAYS ? 1 : 6);
	if (known->test != ALWAYS) {
		LOAD(offsetof(struct seccomp_data, args) +
		     known->argument * sizeof(uint64_t));
		STATEMENT(BPF_ALU | BPF_AND | BPF_K, known->mask);
	}
	if (known->test == ONE_OF) {
		JUMP(BPF_JMP | BPF_JEQ | BPF_K, known->values[0], 1, 0);
		JUMP(BPF_JMP | BPF_JEQ | BPF_K, known->values[1], 0, 1);
	} else if (known->test == AT_MOST) {
		JUMP(BPF_JMP | BPF_JGT | BPF_K, known->values[0], 1, 0);
		start->jf = 5;
	}
	RETURN(SECCOMP_RET_TRACE);
	if (known->test != ALWAYS)
		RETURN(SECCOMP_RET_ALLOW);
	return next;
}

bool filter_install(void)
{
	static struct sock_filter filter[KNOWN * LENGTH + 8];
	struct sock_fprog whole = { .filter = filter };
	struct sock_filter *next = filter;

	/* Calls of another architecture, such as 32 bits, are not recorded. */
	LOAD(offsetof(struct seccomp_data, arch));
	JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	RETURN(SECCOMP_RET_ALLOW);
	LOAD(offsetof(struct seccomp_data, nr));
#ifdef X32
	/* As a kernel answers that has no x32. */
	JUMP(BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1);
	RETURN(SECCOMP_RET_ERRNO | ENOSYS);
#endif
	for (const struct known *known = known_calls;
	     known < known_calls + KNOWN; known++)
		next = filter_put(next, known);
	RETURN(SECCOMP_RET_ALLOW);
	whole.len = (unsigned short)(next - filter);
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole);
}
