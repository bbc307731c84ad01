/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write to a pipe without a reader or past a limit on file sizes raises a
 * signal in this thread. It is taken back, unless the program has one waiting.
 *
 * rt_sigpending() mixes signals of the thread and of the process: where one for
 * the process is blocked and waits, ours is left to the program too. A signal
 * handler that leaves by longjmp() while the tape's pipe is full leaves SIGPIPE
 * and SIGXFSZ blocked in that thread.
 */
#include "tape.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BIT(signal) (1ULL << ((signal)-1)) /* in the kernel's sigset_t */

void quiet_begin(struct quiet *quiet)
{
	const uint64_t ours = BIT(SIGPIPE) | BIT(SIGXFSZ);

	*quiet = (struct quiet){ 0 };
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &ours, &quiet->mask,
		sizeof(quiet->mask));
	if (quiet->mask & ours)
		syscall(SYS_rt_sigpending, &quiet->waiting,
			sizeof(quiet->waiting));
}

void quiet_end(const struct quiet *quiet, int result)
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
