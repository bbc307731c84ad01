/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes tracing a program hard: threads, signals within calls, processes,
 * exec and filters. It is linked statically and dynamically, and both tapes
 * must be the same. Says what is wrong, or nothing.
 *
 *   traced CASE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define RESET_PAGE 0xfffff000UL
#define HLT 0xf4

static int failures;

static void expect(const char *what, long result, long expected, int error)
{
	int found = errno;

	if (result == expected && (result != -1 || found == error))
		return;
	printf("%s: %ld, errno %d\n", what, result, found);
	failures++;
}

/* Until a thread sleeps in the kernel, or a process is stopped. */
static void await(pid_t process, pid_t thread, const char *states)
{
	char path[64], text[512];
	char state = '\0';
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", process, thread);
	while (!state || !strchr(states, state)) {
		stat = fopen(path, "r");
		if (!stat)
			return;
		if (fgets(text, sizeof(text), stat))
			state = strrchr(text, ')')[2];
		fclose(stat);
	}
}

static int add(int fd)
{
	uint64_t one = 1;

	return (int)write(fd, &one, sizeof(one));
}

static int take(int fd)
{
	uint64_t count;

	return (int)read(fd, &count, sizeof(count));
}

/* Threads, one after the other, and each with calls of its own */

static void *signals_its_fd(void *fd)
{
	expect("thread", add((int)(intptr_t)fd), 8, 0);
	expect("dup2", dup2((int)(intptr_t)fd, 700), 700, 0);
	return NULL;
}

static void threads(void)
{
	for (int i = 0; i < 40; i++) {
		int fd = eventfd(0, 0);
		pthread_t thread;

		pthread_create(&thread, NULL, signals_its_fd,
			       (void *)(intptr_t)fd);
		pthread_join(thread, NULL);
		expect("read", take(fd), 8, 0);
		close(fd);
	}
}

/* Busy threads, and one that began before them */

#define BUSY 8
#define FEW 100
#define STARVED 20000 /* calls of a busy thread meanwhile */

static pthread_barrier_t all_run;
static volatile bool served;

static void *makes_few(void *unused)
{
	int fd = eventfd(0, 0);

	pthread_barrier_wait(&all_run);
	for (int i = 0; i < FEW; i++)
		expect("few", add(fd), 8, 0);
	served = true;
	return unused;
}

static void *is_busy(void *unused)
{
	int fd = eventfd(0, 0);
	int calls = 0;

	pthread_barrier_wait(&all_run);
	while (!served && calls < STARVED) {
		expect("busy", add(fd), 8, 0);
		calls++;
	}
	expect("others are served", served, true, 0);
	return unused;
}

static void busy(void)
{
	pthread_t ones[1 + BUSY];

	pthread_barrier_init(&all_run, NULL, 1 + BUSY);
	for (int i = 0; i <= BUSY; i++)
		pthread_create(&ones[i], NULL, i ? is_busy : makes_few, NULL);
	for (int i = 0; i <= BUSY; i++)
		pthread_join(ones[i], NULL);
}

/* Signals within calls */

static int blocked, written;
static volatile pid_t sleeper;
static volatile int handled;

static void handler(int signal)
{
	(void)signal;
	expect("handler", add(written), 8, 0);
	handled++;
}

static void *sleeps_in_read(void *nothing)
{
	sleeper = (pid_t)syscall(SYS_gettid);
	if (take(blocked) != 8)
		expect("interrupted", -1, -1, EINTR);
	return nothing;
}

static void *sleeps_in_poll(void *nothing)
{
	struct pollfd one = { .fd = blocked, .events = POLLIN };

	sleeper = (pid_t)syscall(SYS_gettid);
	expect("poll", poll(&one, 1, -1), -1, EINTR);
	return nothing;
}

static void interrupt(void *(*sleeps)(void *), int flags, bool again)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	sleeper = 0;
	pthread_create(&thread, NULL, sleeps, NULL);
	while (!sleeper)
		;
	await(getpid(), sleeper, "S");
	handled = 0;
	pthread_kill(thread, SIGUSR1);
	while (!handled)
		;
	if (again) {
		await(getpid(), sleeper, "S");
		expect("end", add(blocked), 8, 0);
	}
	pthread_join(thread, NULL);
}

static void signals(void)
{
	blocked = eventfd(0, 0);
	written = eventfd(0, 0);
	interrupt(sleeps_in_read, 0, false);
	interrupt(sleeps_in_read, SA_RESTART, true);
	interrupt(sleeps_in_poll, SA_RESTART, false);
}

/* A stop of the whole process within a call */

static void stop(void)
{
	struct sigaction action = { .sa_handler = handler };
	pid_t parent = getpid(), child;

	blocked = eventfd(0, 0);
	written = eventfd(0, 0);
	sigaction(SIGUSR1, &action, NULL);
	child = fork();
	if (!child) {
		await(parent, parent, "S");
		kill(parent, SIGSTOP);
		await(parent, parent, "Tt");
		kill(parent, SIGCONT);
		await(parent, parent, "S");
		_exit(kill(parent, SIGUSR1) ? 1 : 0);
	}
	expect("read", take(blocked), -1, EINTR);
	waitpid(child, NULL, 0);
}

/* A stop of the whole process within a poll, which restart_syscall() ends */

static pid_t stopper;

static void *ends_poll(void *fd)
{
	waitpid(stopper, NULL, 0);
	await(getpid(), getpid(), "S");
	expect("end", add((int)(intptr_t)fd), 8, 0);
	return NULL;
}

static void restart(void)
{
	struct pollfd one = { .fd = eventfd(0, 0), .events = POLLIN };
	pid_t parent = getpid();
	pthread_t thread;

	stopper = fork();
	if (!stopper) {
		await(parent, parent, "S");
		kill(parent, SIGSTOP);
		await(parent, parent, "Tt");
		kill(parent, SIGCONT);
		_exit(0);
	}
	pthread_create(&thread, NULL, ends_poll, (void *)(intptr_t)one.fd);
	expect("poll", poll(&one, 1, 60000), 1, 0);
	pthread_join(thread, NULL);
}

#ifdef __x86_64__
/* The numbers of x32, as on a kernel that has none */
static void x32(void)
{
	long number = 0x40000000 | SYS_getppid;

	expect("x32", syscall(number), -1, ENOSYS);
	add(eventfd(0, 0));
}
#endif

/* Processes that SIGTERM does not end; the second says its number */

static void stubborn(void)
{
	signal(SIGTERM, SIG_IGN);
	if (!fork())
		eventfd((unsigned int)getpid(), 0);
	alarm(100); /* when a test has failed */
	for (;;)
		pause();
}

/* A handler that leaves a call for another one like it */

static sigjmp_buf before;

static void leave(int signal)
{
	(void)signal;
	siglongjmp(before, 1);
}

static void left(void)
{
	struct sigaction action = { .sa_handler = leave,
				    .sa_flags = SA_RESTART };
	int fds[] = { eventfd(0, 0), eventfd(1, 0) };
	pid_t parent = getpid(), child;

	sigaction(SIGUSR1, &action, NULL);
	child = fork();
	if (!child) {
		await(parent, parent, "S");
		_exit(kill(parent, SIGUSR1) ? 1 : 0);
	}
	/* The same instruction, with the same stack. */
	for (volatile int i = 0; i < 2; i++)
		if (!sigsetjmp(before, 1))
			expect("read", take(fds[i]), 8, 0);
	waitpid(child, NULL, 0);
}

/* KVM_RUN that halts until a signal comes */

static int vcpu;

static void nothing(int signal)
{
	(void)signal;
}

static void *runs(void *unused)
{
	sleeper = (pid_t)syscall(SYS_gettid);
	expect("KVM_RUN", ioctl(vcpu, KVM_RUN, 0), -1, EINTR);
	return unused;
}

static void guest(void)
{
	struct sigaction action = { .sa_handler = nothing,
				    .sa_flags = SA_RESTART };
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = RESET_PAGE,
		.memory_size = 4096,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;
	void *run;

	memset(page, HLT, 4096);
	region.userspace_addr = (uintptr_t)page;
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);
	expect("irqchip", ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0, 0);
	expect("memory", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), 0, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	expect("kvm_run", run == MAP_FAILED, 0, 0);
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&thread, NULL, runs, NULL);
	while (!sleeper)
		;
	await(getpid(), sleeper, "S");
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	close(vcpu);
	close(vm);
	close(kvm);
}

/* Processes */

static void processes(void)
{
	int fd = eventfd(0, 0);
	int status;
	pid_t child = fork();

	if (!child)
		_exit(add(fd) == 8 ? 3 : 4);
	waitpid(child, &status, 0);
	expect("fork", WEXITSTATUS(status), 3, 0);
	child = fork();
	if (!child) {
		add(fd);
		raise(SIGKILL);
	}
	waitpid(child, &status, 0);
	expect("killed", WTERMSIG(status), SIGKILL, 0);
	child = vfork();
	if (!child) {
		execl("/proc/self/exe", "traced", "add", NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	expect("vfork", WEXITSTATUS(status), 9, 0);
}

/* Exec by a thread that is not the first, while another one waits */

static void *execs(void *fd)
{
	await(getpid(), sleeper, "S");
	expect("before exec", add((int)(intptr_t)fd), 8, 0);
	execl("/proc/self/exe", "traced", "add", NULL);
	return NULL;
}

static void exec(void)
{
	pthread_t sleeping, thread;

	blocked = eventfd(0, 0);
	pthread_create(&sleeping, NULL, sleeps_in_read, NULL);
	while (!sleeper)
		;
	pthread_create(&thread, NULL, execs,
		       (void *)(intptr_t)eventfd(0, 0));
	for (;;)
		pause();
}

/* The program after an exec */
static void add_once(void)
{
	expect("after exec", add(eventfd(0, 0)), 8, 0);
	exit(failures ? 1 : 9);
}

/* A filter of the program's own, and a handler of SIGSYS */

static volatile int trapped;

static void sigsys(int signal, siginfo_t *info, void *context)
{
	ucontext_t *at = context;

	(void)signal;
	trapped = info->si_syscall;
#ifdef __x86_64__
	at->uc_mcontext.gregs[REG_RAX] = 77;
#else
	at->uc_mcontext.regs[0] = 77;
#endif
}

static void trap(unsigned int number)
{
	struct sigaction action = { .sa_sigaction = sigsys,
				    .sa_flags = SA_SIGINFO };
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog whole = { .len = 4, .filter = filter };

	sigaction(SIGSYS, &action, NULL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	expect("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole), 0,
	       0);
}

static void filtered(void)
{
	int fd = eventfd(0, 0);

	trap(SYS_getppid);
	expect("getppid", syscall(SYS_getppid), 77, 0);
	expect("trapped", trapped, SYS_getppid, 0);
	expect("write", add(fd), 8, 0);
	expect("read", take(fd), 8, 0);
}

/* The call that is trapped is one of the tape. */
static void refused(void)
{
	int fd = eventfd(0, 0);

	trap(SYS_ioctl);
	expect("ioctl", syscall(SYS_ioctl, fd, KVM_CREATE_VM, 0), 77, 0);
	expect("trapped", trapped, SYS_ioctl, 0);
	expect("write", add(fd), 8, 0);
}

/* The file may be in a directory that is the root only here. */
static void version(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	expect("version", ioctl(kvm, KVM_GET_API_VERSION, 0), KVM_API_VERSION,
	       0);
	close(kvm);
}

/* The most bytes that are recorded, and one more; see known_calls[]. */
static void limits(void)
{
	char bytes[513], found[513];
	int fd = eventfd(2, EFD_SEMAPHORE);

	memset(bytes, 0xff, sizeof(bytes)); /* no kernel takes such a count */
	for (size_t size = 512; size <= 513; size++) {
		expect("read", read(fd, found, size), 8, 0);
		expect("write", write(fd, bytes, size), -1, EINVAL);
	}
	for (size_t size = 8; size <= 9; size++) {
		expect("pwrite", pwrite(fd, bytes, size, 0), -1, ESPIPE);
		expect("pread", pread(fd, bytes, size, 0), -1, ESPIPE);
	}
}

/* Memory that ends within an argument */
static void edges(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int fd = eventfd(0, 0);

	munmap(page + 4096, 4096);
	expect("irqfd", ioctl(vm, KVM_IRQFD, page + 4092), -1, EFAULT);
	expect("routes", ioctl(vm, KVM_SET_GSI_ROUTING, page + 4088), -1,
	       EINVAL);
	expect("write", write(fd, page + 4092, 8), -1, EFAULT);
	expect("open", open(page + 4096, O_RDONLY), -1, EFAULT);
	expect("open", openat(AT_FDCWD, "/dev/iommu-none", O_RDONLY), -1,
	       ENOENT);
	expect("close", close(4000), -1, EBADF);
	expect("dup", fcntl(fd, F_DUPFD, 800), 800, 0);
	expect("flags", fcntl(fd, F_GETFL), O_RDWR, 0);
}

static void killed(void)
{
	add(eventfd(0, 0));
	raise(SIGKILL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "threads", threads },	    { "signals", signals },
		{ "stop", stop },	    { "guest", guest },
		{ "processes", processes }, { "exec", exec },
		{ "add", add_once },	    { "filtered", filtered },
		{ "refused", refused },	    { "edges", edges },
		{ "killed", killed },	    { "busy", busy },
		{ "left", left },	    { "version", version },
		{ "limits", limits },	    { "restart", restart },
		{ "stubborn", stubborn },
#ifdef __x86_64__
		{ "x32", x32 },
#endif
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (argc == 2 && !strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return failures ? 1 : 7;
		}
	return 2;
}
