/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.arch.PostingBench: what its loops do to the same
 * words, with C11 atomics as Linux has its locked accesses, and on entries as
 * a C program would shift and mask them.
 *
 * The memory has a descriptor's eight words and behind them an IRR of four.
 * Each function of posting does count operations and returns how many did not
 * answer what is expected; each of entries returns a sum of what it read.
 */
#include <jni.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define IN_C(type, name) \
	JNIEXPORT type JNICALL Java_io_kvmirq_arch_PostingBench_##name##InC
#define ARGS \
	JNIEnv *env __attribute__((unused)), \
		jclass class __attribute__((unused))

enum {
	PIR_WORDS = 4,
	CONTROL = 4,
	IRR = 8,
	VECTORS = 256,
	FIELDS = 11,
};

static const uint64_t on = 1, sn = 2;

typedef _Atomic uint64_t word;

static inline bool set_bit(word *words, unsigned int bit)
{
	uint64_t mask = UINT64_C(1) << (bit & 63);

	return atomic_fetch_or(&words[bit >> 6], mask) & mask;
}

static inline bool deliver(word *pid, unsigned int vector)
{
	if (set_bit(pid, vector))
		return false;
	return !(atomic_fetch_or(&pid[CONTROL], on) & on);
}

static inline uint64_t post(word *pid, unsigned int vector)
{
	uint64_t old, new;
	bool notify;

	set_bit(pid, vector);
	old = atomic_load_explicit(&pid[CONTROL], memory_order_acquire);
	do {
		notify = !(old & (on | sn));
		new = notify ? old | on : old;
	} while (!atomic_compare_exchange_strong(&pid[CONTROL], &old, new));
	return notify ? new : 0;
}

static inline bool sync(word *pid)
{
	bool any = false;

	if (!(atomic_load_explicit(&pid[CONTROL], memory_order_acquire) & on))
		return false;
	atomic_fetch_and(&pid[CONTROL], ~on);
	for (int i = 0; i < PIR_WORDS; i++) {
		if (!atomic_load_explicit(&pid[i], memory_order_acquire))
			continue;
		atomic_fetch_or(&pid[IRR + i], atomic_exchange(&pid[i], 0));
		any = true;
	}
	return any;
}

static inline void discard(word *pid)
{
	atomic_fetch_and(&pid[CONTROL], ~on);
	for (int i = 0; i < PIR_WORDS; i++)
		atomic_exchange(&pid[i], 0);
}

JNIEXPORT jlong JNICALL
Java_io_kvmirq_arch_PostingBench_address(JNIEnv *env,
					 jclass class __attribute__((unused)),
					 jobject direct)
{
	return (jlong)(*env)->GetDirectBufferAddress(env, direct);
}

IN_C(jint, deliver)(ARGS, jlong address, jint count)
{
	word *pid = (word *)address;
	jint wrong = 0;

	for (jint i = 0; i < count; i += VECTORS) {
		for (unsigned int v = 0; v < VECTORS; v++)
			wrong += deliver(pid, v) != (v == 0);
		discard(pid);
	}
	return wrong;
}

IN_C(jint, deliverAndSync)(ARGS, jlong address, jint count)
{
	word *pid = (word *)address;
	jint wrong = 0;

	for (jint i = 0; i < count; i++) {
		wrong += !deliver(pid, i & (VECTORS - 1));
		wrong += !sync(pid);
	}
	return wrong;
}

IN_C(jint, post)(ARGS, jlong address, jint count)
{
	word *pid = (word *)address;
	jint wrong = 0;

	for (jint i = 0; i < count; i += VECTORS) {
		for (unsigned int v = 0; v < VECTORS; v++)
			wrong += (post(pid, v) != 0) != (v == 0);
		discard(pid);
	}
	return wrong;
}

static inline uint64_t field(uint64_t bits, int low, int width)
{
	return bits >> low & (UINT64_MAX >> (64 - width));
}

/* What Irte.decode reads, but for what is reserved. */
static inline uint64_t all_fields(const uint64_t *irte)
{
	uint64_t low = irte[0], high = irte[1];
	uint64_t sum = field(low, 0, 1) + field(low, 1, 1) + field(low, 8, 4) +
		       field(low, 15, 1) + field(low, 16, 8) +
		       field(high, 0, 16) + field(high, 16, 2) +
		       field(high, 18, 2);

	if (field(low, 15, 1))
		return sum + field(low, 14, 1) +
		       (field(high, 32, 32) << 32 | field(low, 38, 26) << 6);
	return sum + field(low, 2, 1) + field(low, 3, 1) + field(low, 4, 1) +
	       field(low, 5, 3) + field(low, 32, 32);
}

IN_C(jlong, decode)(ARGS, jlong address, jint entries, jint count)
{
	const uint64_t *table = (const uint64_t *)address;
	uint64_t sum = 0;

	for (jint i = 0; i < count; i += entries) {
		for (jint k = 0; k < entries; k++)
			sum += all_fields(&table[2 * k]);
	}
	return (jlong)sum;
}

/* What does not fit is refused, as in Java. */
static inline uint64_t with(uint64_t value, int low, int width, bool *fits)
{
	*fits &= value <= UINT64_MAX >> (64 - width);
	return value << low;
}

/* All fields of a posted entry, each a number of its own. */
IN_C(jlong, encodeAll)(ARGS, jlong fields, jlong address, jint entries,
		       jint count)
{
	uint64_t *table = (uint64_t *)address;
	uint64_t sum = 0;
	bool fits = true;

	for (jint i = 0; i < count; i += entries) {
		for (jint k = 0; k < entries; k++) {
			const uint64_t *from =
				(const uint64_t *)fields + FIELDS * k;
			uint64_t *irte = &table[2 * k];

			irte[0] = with(from[0], 0, 1, &fits) |
				  with(from[1], 1, 1, &fits) |
				  with(from[2], 8, 4, &fits) |
				  with(from[3], 14, 1, &fits) |
				  with(from[4], 15, 1, &fits) |
				  with(from[5], 16, 8, &fits) |
				  with(from[6], 38, 26, &fits);
			irte[1] = with(from[7], 0, 16, &fits) |
				  with(from[8], 16, 2, &fits) |
				  with(from[9], 18, 2, &fits) |
				  with(from[10], 32, 32, &fits);
			sum += irte[0] ^ irte[1];
		}
	}
	return fits ? (jlong)sum : -1;
}
