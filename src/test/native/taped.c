/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of every kind that the recorder must see, or must not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
/* Volatile: compilers would warn of it. */
static void *volatile nowhere = (void *)8;

static void expect(const char *what, long result, long expected, int error)
{
	int found = errno;

	if (result == expected && (result != -1 || found == error))
		return;
	printf("%s: %ld, errno %d\n", what, result, found);
	failures++;
}

int main(void)
{
	uint64_t one = 1;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int first = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int second = eventfd(5, 0);
	int plain = open("/dev/null", O_WRONLY);
	struct kvm_irqfd irqfd = { .fd = (uint32_t)first, .gsi = 24 };
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	struct pollfd fds = { .fd = second, .events = POLLIN };
	struct timespec soon = { .tv_nsec = 2000000 };
	struct kvm_device_attr attr = { .group = 1, .attr = 1 };
	int32_t file = second;

	expect("irqchip", ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0, 0);
	expect("assign", ioctl(vm, KVM_IRQFD, &irqfd), 0, 0);
	expect("assign again", ioctl(vm, KVM_IRQFD, &irqfd), -1, EBUSY);
	irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
	expect("deassign", ioctl(vm, KVM_IRQFD, &irqfd), 0, 0);
	expect("bad pointer", ioctl(vm, KVM_IRQFD, nowhere), -1, EFAULT);
	expect("no file", ioctl(-1, KVM_IRQFD, &irqfd), -1, EBADF);
	expect("device", ioctl(vm, KVM_CREATE_DEVICE, &device), 0, 0);
	attr.addr = (uintptr_t)&file;
	ioctl((int)device.fd, KVM_SET_DEVICE_ATTR, &attr);

	expect("write", write(first, &one, sizeof(one)), 8, 0);
	expect("not an eventfd", write(plain, &one, sizeof(one)), 8, 0);
	expect("poll", ppoll(&fds, 1, &soon, NULL), 1, 0);
	expect("read", read(second, &one, sizeof(one)), 8, 0);
	expect("poll empty", ppoll(&fds, 1, &soon, NULL), 0, 0);
	expect("bad read", read(first, nowhere, sizeof(one)), -1, EFAULT);

	expect("close", close(second), 0, 0);
	second = eventfd(0, 0);
	expect("same number", second, fds.fd, 0);
	expect("write", write(second, &one, sizeof(one)), 8, 0);
	errno = ERANGE;
	expect("dup", fcntl(second, F_DUPFD_CLOEXEC, 900), 900, 0);
	expect("errno kept", errno, ERANGE, 0);
	expect("no node", open("/dev/vfio/none", O_RDWR), -1, ENOENT);

	/* A closed tape must not be written into whatever takes its number. */
	for (int fd = 500; fd < 600; fd++)
		close(fd);
	fflush(stdout);
	if (fork() == 0) {
		expect("child", write(first, &one, sizeof(one)), 8, 0);
		_exit(failures);
	}
	wait(NULL);
	return failures ? 1 : 7;
}
