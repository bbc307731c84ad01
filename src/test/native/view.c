/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kernel.ViewBench: the device's side of a
 * virtqueue with C11 atomics, as vhost has it.
 */
#include <jni.h>
#include <stdatomic.h>
#include <stdint.h>

enum { SIZE = 256 };

struct queue {
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
		uint16_t next;
	} desc[SIZE];
	uint16_t avail_flags;
	_Atomic uint16_t avail_idx;
	uint16_t avail[SIZE];
	uint16_t used_flags;
	_Atomic uint16_t used_idx;
	struct {
		uint32_t id;
		uint32_t len;
	} used[SIZE];
};

JNIEXPORT jlong JNICALL Java_io_kvmirq_kernel_ViewBench_queueInC(
	JNIEnv *env, jclass class __attribute__((unused)), jobject memory,
	jint count)
{
	struct queue *queue = (*env)->GetDirectBufferAddress(env, memory);
	uint16_t last = 0;
	uint64_t sum = 0;

	atomic_store_explicit(&queue->avail_idx, 0, memory_order_release);
	for (jint i = 1; i <= count; i++) {
		uint16_t head;

		atomic_store_explicit(&queue->avail_idx, (uint16_t)i,
				      memory_order_release);
		if (atomic_load_explicit(&queue->avail_idx,
					 memory_order_acquire) == last)
			return -1;
		head = queue->avail[last % SIZE] % SIZE;
		sum += queue->desc[head].addr + queue->desc[head].len;
		queue->used[last % SIZE].id = head;
		queue->used[last % SIZE].len = queue->desc[head].len;
		atomic_store_explicit(&queue->used_idx, ++last,
				      memory_order_release);
	}
	return (jlong)sum;
}
