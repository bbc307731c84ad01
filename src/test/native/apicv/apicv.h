/* SPDX-License-Identifier: Apache-2.0 */
#ifndef APICV_H
#define APICV_H

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define VCPUS 2

/* Ends the program with a sentence, and errno's after it unless that is 0. */
#define fail(...) do { \
	int why = errno; \
\
	printf(__VA_ARGS__); \
	printf(why ? ": %s\n" : "\n", strerror(why)); \
	fflush(stdout); \
	_exit(1); \
} while (0)

/* ---- kernel.c: kernel memory, from /proc/kcore with offsets from BTF ---- */

void kernel_open(void);
void kernel_read(uint64_t address, void *to, size_t size);

/* The posted-interrupt descriptor of each vCPU of this process. */
void kernel_find_pids(uint64_t pids[VCPUS]);

/* ---- vm.c: a VM whose guest obeys, and counts the vectors it takes ---- */

/* The guest's code has these numbers. */
enum command {
	SPIN,
	SPIN_MASKED,	/* with IF=0 */
	HALT,
	HALT_MASKED,
};

/* In guest memory. */
struct page {
	uint32_t command;
	uint32_t unused[255];
	uint32_t taken[256];
};

struct vcpu {
	int fd;
	struct kvm_run *run;
	volatile struct page *page;
	pthread_t thread;
	pid_t tid;
	volatile bool stop;
	sem_t stopped, go;
};

extern int vm;
extern struct vcpu vcpus[VCPUS];

void vm_create(void);

/* KVM_CREATE_VCPU, and no other ioctl of the vCPU. */
void vcpu_create(int id);
void vcpu_set_up(int id);
void vcpu_start(int id, int cpu);

/* Returns when the vCPU's thread is in user space, until vcpu_go(). */
void vcpu_stop(int id);
void vcpu_go(int id);
void vcpu_end_halt(int id);

void vm_signal(int id, uint8_t vector);

/* Returns the eventfd of an irqfd. */
int vm_irqfd(int id, uint8_t vector);

/* Pins a thread, or with 0 the caller. */
void pin(pid_t tid, int cpu);

#endif
