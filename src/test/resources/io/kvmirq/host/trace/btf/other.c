/* SPDX-License-Identifier: Apache-2.0 */
/* Another file of the same kernel, with other types and functions of the same names. */
#include "kernel.h"

struct twice { long first, second; } another_struct;
struct differs { int both, two; } a_different_struct;

__attribute__((noinline)) static int renamed(struct waiter *sleeper)
{
	return sleeper->flags + 2;
}

__attribute__((noinline)) static int different(long level)
{
	return level + 2;
}

int use_other(struct waiter *waiter)
{
	return renamed(waiter) + different(3);
}
