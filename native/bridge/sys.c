/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "kvmirq.h"

int64_t kvmirq_call(int64_t number, uint64_t a, uint64_t b, uint64_t c,
		    uint64_t d, uint64_t e, uint64_t f)
{
	return kvmirq_syscall(number, (long)a, (long)b, (long)c, (long)d,
			      (long)e, (long)f);
}
