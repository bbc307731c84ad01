/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdio.h>
#include "kernel.h"
struct inner { struct outer outer; struct waiter *waiters[4]; number_t gsi; };
#define AT(type, member) \
	printf("%s %s %zu %zu\n", #type, #member, offsetof(struct type, member), sizeof(((struct type *)0)->member))

int main(void)
{
	AT(outer, count);
	AT(outer, wait);
	AT(outer, wait.private);
	AT(outer, wait.func);
	AT(outer, type);
	AT(outer, msi);
	AT(outer, msi.address_hi);
	AT(outer, msi.data);
	AT(outer, irqchip);
	AT(outer, pin);
	AT(outer, name);
	AT(outer, next);
	AT(outer, entry);
	AT(outer, entry.high);
	AT(waiter, private);
	AT(inner, outer);
	AT(inner, outer.msi.data);
	AT(inner, outer.entry.high);
	AT(inner, waiters);
	AT(inner, gsi);
}
