/* SPDX-License-Identifier: Apache-2.0 */
/* Types of a module, which continue those of kernel.c. */
#include "kernel.h"

struct twice;
struct inner { struct outer outer; struct waiter *waiters[4]; number_t gsi; } an_inner;

int inner_wake(struct inner *inner, struct waiter *waiter, const struct twice *twice)
{
	return inner->gsi + (int)waiter->flags + (twice != 0);
}

__attribute__((noinline)) static int renamed(struct waiter *other)
{
	return other->flags + 3;
}

int use_in_module(struct waiter *waiter)
{
	return renamed(waiter);
}
