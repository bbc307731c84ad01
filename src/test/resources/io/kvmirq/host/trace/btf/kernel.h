/* SPDX-License-Identifier: Apache-2.0 */
typedef int number_t;
enum route { IRQCHIP = 1, MSI = 2 };
struct waiter {
	unsigned flags;
	void *private;
	int (*func)(struct waiter *, unsigned, number_t, void *);
};
struct irte_like {
	unsigned long long present : 1, fpd : 1, avail : 6, vector : 8, pad : 48;
	unsigned long long high;
};
struct outer {
	number_t count;
	struct waiter wait;
	struct {
		enum route type;
		union {
			struct { unsigned address_lo, address_hi, data; } msi;
			struct { unsigned irqchip, pin; };
		};
	};
	const char name[3][16];
	const struct outer *next;
	struct irte_like entry;
	unsigned low : 3, high : 7;
};
