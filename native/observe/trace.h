/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_TRACE_H
#define KVMIRQ_TRACE_H

#include "tape_record.h"

#include <sys/ptrace.h>

/* trace_subject.c: the thread that stopped. */

void subject_set(pid_t process, pid_t thread);
/* The file of its program, a link in /proc. */
void subject_header(void);
/* The process of a thread; 0: the thread has ended. */
pid_t process_of(pid_t thread);

/* trace_calls.c: the calls that are recorded. */

/* A call of the subject that has not returned. */
struct call {
	struct call *outer; /* which a signal handler interrupted */
	const struct known *known;
	uint64_t number;
	uint64_t instruction; /* behind the call's */
	uint64_t stack;
	uint64_t arguments[6];
	long timeout; /* of a poll, in nanoseconds */
	/*
	 * The kernel makes the call again, or it returns EINTR: a handler that
	 * returns decides.
	 */
	bool interrupted;
	struct file file;
	union {
		struct ioctl_call ioctl;
		struct {
			struct transfer transfer;
			struct kept kept;
		};
	};
};

/*
 * The filter that stops at these calls, and allows all others. False, with
 * errno: it was not installed.
 */
bool filter_install(void);
/* NULL: nothing is to be done when it returns. */
struct call *call_new(const struct __ptrace_syscall_info *stop);
/* @result: of the call, or a negative errno */
void call_end(struct call *call, int64_t result);
void call_drop(struct call *call);

/* trace_stops.c */

/*
 * Records what the program and all processes that it starts do, until they have
 * ended. The program stops at calls of the filter; its first exec() starts the
 * tape. SIGTERM for us ends them all.
 *
 * @error: why the kernel did not say at which call a thread stopped, or 0
 * Returns how the program ended, as waitpid() has it.
 */
int trace(pid_t program, int *error);

#endif
