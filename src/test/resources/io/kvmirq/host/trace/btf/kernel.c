/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types as a kernel has them. kernel.btf is what an encoder of the kernel's build makes of them:
 *   gcc -g -r kernel.c other.c -o k.o && pahole --btf_encode_detached=kernel.btf k.o
 *   gcc -g -c module.c -o m.o && pahole --btf_base=kernel.btf --btf_encode_detached=module.btf m.o
 * layout.txt is what the compiler says of them: gcc layout.c && ./a.out > layout.txt
 */
#include "kernel.h"

struct outer an_outer;
struct irte_like an_entry;
union twice { int small; long large; } a_union;
struct differs { int one, both; } a_struct;
enum route a_route;

int wake(struct waiter *waiter, unsigned mode, const volatile number_t sync, void *key)
{
	return waiter->func(waiter, mode, sync, key);
}

void signal_one(struct outer **where, const struct irte_like *const entry)
{
	(*where)->count += entry->vector;
}

__attribute__((noinline)) static int renamed(struct waiter *waiter)
{
	return waiter->flags + 1;
}

__attribute__((noinline)) static int different(int level)
{
	return level + 1;
}

int use(struct waiter *waiter)
{
	return renamed(waiter) + different(3);
}
