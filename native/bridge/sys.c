/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

/*
 * Any system call, numbered as the machine has it; the caller encodes the
 * arguments, and gives 0 for those that the call does not have. Returns the
 * kernel's own result: -errno from -4095 to -1.
 */
int64_t kvmirq_call(int64_t number, uint64_t a, uint64_t b, uint64_t c,
		    uint64_t d, uint64_t e, uint64_t f)
{
	return kvmirq_syscall(number, (long)a, (long)b, (long)c, (long)d,
			      (long)e, (long)f);
}
