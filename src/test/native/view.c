/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.kernel.ViewBench: the device's side of a
 * virtqueue with C11 atomics, as vhost has it. A driver offers a batch, and
 * the device takes one descriptor after another.
 */
#include <jni.h>
#include <stdatomic.h>
#include <stdint.h>

enum { SIZE = 256, BATCH = 64 };

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
	uint32_t last = 0;
	uint64_t sum = 0;

	for (jint done = 0; done < count; done += BATCH) {
		atomic_store_explicit(&queue->avail_idx,
				      (uint16_t)(done + BATCH),
				      memory_order_release);
		for (;;) {
			uint16_t available = atomic_load_explicit(
				&queue->avail_idx, memory_order_acquire);

			if (available == (uint16_t)last)
				break;
			while ((uint16_t)last != available) {
				uint16_t head = queue->avail[last % SIZE] % SIZE;
				uint32_t len = queue->desc[head].len;

				sum += queue->desc[head].addr + len;
				queue->used[last % SIZE].id = head;
				queue->used[last % SIZE].len = len;
				last++;
			}
			atomic_store_explicit(&queue->used_idx, available,
					      memory_order_release);
		}
	}
	return (jlong)sum;
}
