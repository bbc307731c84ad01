/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the system calls of a program before the kernel makes them, one a line:
 *
 *   syscalls ioctls|all OUT PROGRAM ARGUMENT...
 *
 * "ioctls" are those of KVM and VFIO without KVM_RUN. "all" are also the calls
 * that make eventfds or wait, and calls on descriptors from 1000 on. No tracer
 * shows in /proc. Results are unknown. A child of this process watches.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST (8 + 4096 * sizeof(struct kvm_irq_routing_entry))
#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define JUMP(test, k, yes, no) BPF_JUMP(BPF_JMP | test | BPF_K, k, yes, no)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define WATCH BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#define WATCH_IF(number) JUMP(BPF_JEQ, number, 0, 1), WATCH

static struct sock_filter filter[] = {
	LOAD(nr),
	JUMP(BPF_JEQ, __NR_ioctl, 14, 0),
#define OTHERS 2 /* where "ioctls" allows the rest */
	WATCH_IF(__NR_eventfd2),
	WATCH_IF(__NR_ppoll),
	WATCH_IF(__NR_openat),
	JUMP(BPF_JEQ, __NR_read, 3, 0),
	JUMP(BPF_JEQ, __NR_write, 2, 0),
	JUMP(BPF_JEQ, __NR_fcntl, 1, 0),
	JUMP(BPF_JEQ, __NR_close, 0, 3),
	LOAD(args[0]),
	JUMP(BPF_JGE, 1000, 0, 1),
	WATCH,
	ALLOW,
	LOAD(args[1]),
	JUMP(BPF_JEQ, KVM_RUN, 5, 0),
	BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, _IOC_TYPESHIFT),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, _IOC_TYPEMASK),
	WATCH_IF(KVMIO),
	JUMP(BPF_JEQ, VFIO_TYPE, 1, 0),
	ALLOW,
	WATCH,
};

/* Calls that are no ioctl: which of three arguments are numbers, and which is
 * the address of elements that the next one counts, of so many bytes. */
static const struct shape {
	int nr;
	const char *name;
	bool numbers[3];
	int at;
	size_t element;
} shapes[] = {
	{ __NR_eventfd2, "eventfd2", { true, true, false }, 0, 0 },
	{ __NR_ppoll, "ppoll", { false, true, false }, 0, sizeof(struct pollfd) },
	{ __NR_read, "read", { true, false, true }, 0, 0 },
	{ __NR_write, "write", { true, false, true }, 1, 1 },
	{ __NR_fcntl, "fcntl", { true, true, true }, 0, 0 },
	{ __NR_close, "close", { true, false, false }, 0, 0 },
};

static FILE *out;

static void fail(const char *what)
{
	perror(what);
	_exit(3);
}

/* The bytes of the program's memory; fewer if its end is not mapped. */
static size_t peek(int task, uint64_t from, void *to, size_t size)
{
	struct iovec here = { to, size };
	struct iovec there = { (void *)(uintptr_t)from, size };
	ssize_t got = process_vm_readv(task, &here, 1, &there, 1, 0);

	return got < 0 ? 0 : (size_t)got;
}

static void put_memory(int task, uint64_t from, size_t size)
{
	static unsigned char memory[MOST];

	size = peek(task, from, memory, size < MOST ? size : MOST);
	fprintf(out, " ");
	for (size_t i = 0; i < size; i++)
		fprintf(out, "%02x", memory[i]);
}

/* The kernel's own numbers of eventfds, which outlive their descriptors. */
static void put_ids(int task, uint64_t from, size_t size)
{
	char path[64], text[512];
	int fd, id;
	FILE *file;

	for (uint64_t at = from; at + sizeof(fd) <= from + size; at += sizeof(fd)) {
		peek(task, at, &fd, sizeof(fd));
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", task, fd);
		file = fopen(path, "re");
		id = -1;
		while (file && id < 0 && fgets(text, sizeof(text), file))
			sscanf(text, "eventfd-id: %d", &id);
		fprintf(out, " id=%d", id);
		if (file)
			fclose(file);
	}
}

static void put_ioctl(int task, const struct seccomp_data *call)
{
	uint64_t request = call->args[1], at = call->args[2];
	size_t size = _IOC_SIZE(request);
	struct kvm_device_attr attr;
	uint32_t head = 0;

	fprintf(out, "ioctl %d 0x%x", (int)call->args[0], (unsigned)request);
	peek(task, at, &head, sizeof(head));
	if (request == VFIO_DEVICE_GET_IRQ_INFO || request == VFIO_DEVICE_SET_IRQS)
		size = head;
	else if (request == KVM_SET_GSI_ROUTING)
		size += head * sizeof(struct kvm_irq_routing_entry);
	if (request == KVM_SET_DEVICE_ATTR) {
		/* Its address differs from run to run. */
		peek(task, at, &attr, sizeof(attr));
		put_memory(task, at, offsetof(struct kvm_device_attr, addr));
		put_memory(task, attr.addr, sizeof(int));
	} else if (size) {
		put_memory(task, at, size);
	} else {
		fprintf(out, " value 0x%llx", (unsigned long long)at);
	}
	if (request == KVM_IRQFD)
		put_ids(task, at, sizeof(int));
	else if (request == VFIO_DEVICE_SET_IRQS)
		put_ids(task, at + sizeof(struct vfio_irq_set), size - sizeof(struct vfio_irq_set));
	fprintf(out, "\n");
}

static void put_call(int task, const struct seccomp_data *call)
{
	const struct shape *shape = shapes;
	const __u64 *args = call->args;
	char path[64] = "";

	if (call->nr == __NR_ioctl) {
		put_ioctl(task, call);
		return;
	}
	if (call->nr == __NR_openat) {
		peek(task, args[1], path, sizeof(path) - 1);
		if (strncmp(path, "/dev/vfio", 9) && strcmp(path, "/dev/kvm"))
			return;
		fprintf(out, "openat %s 0x%x\n", path, (unsigned)args[2]);
		return;
	}
	while (shape->nr != call->nr)
		shape++;
	fprintf(out, "%s", shape->name);
	for (int i = 0; i < 3; i++)
		if (shape->numbers[i])
			fprintf(out, " %d", (int)args[i]);
	if (shape->element)
		put_memory(task, args[shape->at],
			   args[shape->at + 1] * shape->element);
	if (call->nr == __NR_ppoll)
		put_memory(task, args[2], 2 * sizeof(long));
	fprintf(out, "\n");
}

/* Until no task has the filter. */
static void watch(int listener)
{
	static union {
		struct seccomp_notif call;
		struct seccomp_notif_resp answer;
		char most[4096];
	} in, back;
	struct pollfd ready = { .fd = listener, .events = POLLIN };

	while (poll(&ready, 1, -1) > 0 && !(ready.revents & POLLHUP)) {
		memset(&in, 0, sizeof(in));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &in))
			continue;
		put_call((int)in.call.pid, &in.call.data);
		if (fflush(out))
			fail("write");
		memset(&back, 0, sizeof(back));
		back.answer.id = in.call.id;
		back.answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &back);
	}
}

int main(int argc, char **argv)
{
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };
	int pair[2], listener, process;
	char ready = 0;

	if (argc < 4)
		return 2;
	if (!strcmp(argv[1], "ioctls"))
		filter[OTHERS] = (struct sock_filter)ALLOW;
	out = fopen(argv[2], "we");
	if (!out || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		fail(argv[2]);
	/* Who watches reads the memory, and takes the listener. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	if (!fork()) {
		process = (int)syscall(SYS_pidfd_open, getppid(), 0);
		if (read(pair[1], &listener, sizeof(listener)) < 0)
			fail("read");
		listener = (int)syscall(SYS_pidfd_getfd, process, listener, 0);
		if (listener < 0 || write(pair[1], &ready, 1) != 1)
			fail("pidfd_getfd");
		close(pair[0]);
		close(pair[1]);
		watch(listener);
		_exit(0);
	}
	close(pair[1]);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (listener < 0 || write(pair[0], &listener, sizeof(listener)) < 0 ||
	    read(pair[0], &ready, 1) != 1)
		fail("seccomp");
	execvp(argv[3], argv + 3);
	fail(argv[3]);
}
