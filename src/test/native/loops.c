/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other half of io.kvmirq.bench.Coprocess: times calls in a process of its
 * own, such as one with a preloaded library. For each line "OPERATION COUNT" it
 * prints the nanoseconds of one of so many calls. A second thread sleeps, as a
 * VMM has several: the kernel then counts the users of descriptors.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define GUEST_BYTES (1 << 16)
#define GSI 4
#define MSI_ADDRESS 0xfee00000
#define VECTOR 0x31
#define PIECE (1 << 20)

static int vm, vcpu, signalled, empty, other;
static const char *file;
static char piece[PIECE];
/* Read by nobody: keeps the sums from being left out. */
static volatile uint64_t answers;

static int made(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static void open_vm(void)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_BYTES,
	};
	int kvm = made(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	size_t size = (size_t)made(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "size");
	struct kvm_run *run;

	vm = made(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	made(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	region.userspace_addr = (uintptr_t)mmap(NULL, GUEST_BYTES,
						PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS,
						-1, 0);
	made(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "memory");
	vcpu = made(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		made(-1, "kvm_run");
	run->immediate_exit = 1;
	signalled = made(eventfd(0, EFD_NONBLOCK), "eventfd");
	empty = made(eventfd(0, EFD_NONBLOCK), "eventfd");
	other = made(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
}

static void call(const char *operation)
{
	struct kvm_irq_level level = { .irq = GSI };
	struct kvm_msi message = { .address_lo = MSI_ADDRESS, .data = VECTOR };
	uint64_t one = 1;
	struct iovec vector = { &one, sizeof(one) };
	struct pollfd fds[] = { { .fd = empty, .events = POLLIN },
				{ .fd = other, .events = POLLIN } };

	if (strcmp(operation, "write") == 0)
		answers += (uint64_t)write(signalled, &one, sizeof(one));
	else if (strcmp(operation, "count") == 0)
		answers += (uint64_t)eventfd_write(signalled, 1);
	else if (strcmp(operation, "vector") == 0)
		answers += (uint64_t)writev(signalled, &vector, 1);
	else if (strcmp(operation, "poll") == 0)
		answers += (uint64_t)poll(fds, 2, 0);
	else if (strcmp(operation, "other") == 0)
		answers += (uint64_t)write(other, &one, sizeof(one));
	else if (strcmp(operation, "others") == 0)
		answers += (uint64_t)poll(&fds[1], 1, 0);
	else if (strcmp(operation, "read") == 0)
		answers += (uint64_t)read(empty, &one, sizeof(one));
	else if (strcmp(operation, "line") == 0)
		answers += (uint64_t)ioctl(vm, KVM_IRQ_LINE, &level);
	else if (strcmp(operation, "message") == 0)
		answers += (uint64_t)ioctl(vm, KVM_SIGNAL_MSI, &message);
	else if (strcmp(operation, "extension") == 0)
		answers += (uint64_t)ioctl(vm, KVM_CHECK_EXTENSION, 0);
	else if (strcmp(operation, "run") == 0)
		answers += (uint64_t)ioctl(vcpu, KVM_RUN, 0);
	else
		exit(2);
}

/* Reads the file, and with sum adds up its numbers, digit by digit. */
static void scan(int sum)
{
	int fd = made(open(file, O_RDONLY | O_CLOEXEC), file);
	uint64_t number = 0;
	ssize_t got;

	while ((got = read(fd, piece, PIECE)) > 0) {
		for (ssize_t i = 0; sum && i < got; i++) {
			unsigned digit = (unsigned char)piece[i] - (unsigned)'0';

			if (digit < 10) {
				number = number * 10 + digit;
			} else {
				answers += number;
				number = 0;
			}
		}
	}
	close(fd);
}

static void *sleeps(void *argument)
{
	pause();
	return argument;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int argc, char **argv)
{
	char operation[32];
	pthread_t thread;
	long count;

	if (argc > 1)
		file = argv[1];
	else
		open_vm();
	pthread_create(&thread, NULL, sleeps, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%31s %ld", operation, &count) == 2) {
		int64_t start = now();

		for (long i = 0; i < count; i++) {
			if (file)
				scan(strcmp(operation, "sum") == 0);
			else
				call(operation);
		}
		printf("%.3f\n", (double)(now() - start) / (double)count);
	}
	return 0;
}
