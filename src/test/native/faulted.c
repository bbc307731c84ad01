/* SPDX-License-Identifier: Apache-2.0 */
/* Bears some faults and not others; how it goes on is its argument. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENDS_WITH 7

/* A filter of the program's own: this request gives EPERM. */
static long refuse(unsigned int request, unsigned long flags)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };

	return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static _Noreturn void wait_for_ever(void)
{
	printf("ready %d\n", getpid());
	fflush(stdout);
	for (;;)
		pause();
}

int main(int count, char **words)
{
	const char *then = count > 1 ? words[1] : "end";
	struct kvm_irq_routing none = { 0 };
	sigset_t blocked;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm;

	/* The launcher blocks signals, and its program does not. */
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	if (sigismember(&blocked, SIGTERM) || sigismember(&blocked, SIGCHLD))
		return 9;
	do {
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
	} while (vm == -1 && errno == EINTR);
	if (vm == -1)
		return 1;
	if (ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		for (;;)
			pause();
	if (ioctl(vm, KVM_SET_GSI_ROUTING, &none)) {
		fprintf(stderr, "no routes: %s\n", strerror(errno));
		abort();
	}
	ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP);
	if (!strcmp(then, "fork")) {
		if (!fork())
			_exit(ioctl(kvm, KVM_CHECK_EXTENSION, 0) != -1);
		wait(&vm);
		return WEXITSTATUS(vm);
	}
	if (!strcmp(then, "exec"))
		execl(words[0], words[0], "end", NULL);
	if (!strcmp(then, "leave") && !fork()) {
		setsid();
		wait_for_ever();
	}
	if (!strcmp(then, "wait"))
		wait_for_ever();
	if (!strcmp(then, "work"))
		for (;; usleep(10000))
			ioctl(kvm, KVM_CHECK_EXTENSION, 0);
	if (!strcmp(then, "filter"))
		return refuse(KVM_GET_API_VERSION, 0) ||
		       ioctl(kvm, KVM_GET_API_VERSION, 0) != -1 ||
		       errno != EPERM ||
		       ioctl(kvm, KVM_CHECK_EXTENSION, 0) != -1 ||
		       errno != EIO;
	if (!strcmp(then, "listen"))
		return refuse(0, SECCOMP_FILTER_FLAG_NEW_LISTENER) != -1 ||
		       errno != EBUSY;
	return ENDS_WITH;
}
