/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program and answers chosen ioctls of it with an errno:
 *
 *	kvmirqfault REPORT LIMIT PARENT RULE... -- PROGRAM ARGUMENT...
 *
 * A rule is REQUEST:ERRNO:NTH. The errno 0 counts only, the nth 0 is each
 * call. LIMIT is in milliseconds, 0 for none; PARENT is the process that
 * starts this one. The file REPORT gets one line for each rule, and how the
 * program ended.
 *
 * A child installs a seccomp filter that notifies of these requests, hands
 * the listener to its parent and becomes the program. The parent answers each
 * notification: with an errno, or the call goes on in the kernel. Requests
 * are in a register, so no memory of the program is read.
 *
 * The program dies with this process, unless it changed its user, and this
 * process with PARENT. A call made after that, by another process of the
 * program, answers ENOSYS.
 */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define MAX_RULES 1024
#define GRACE 5000 /* milliseconds from SIGTERM to SIGKILL */
#define AGAIN 10 /* milliseconds from one SIGKILL to the next */

static struct rule {
	uint32_t request;
	int error; /* 0: only counted */
	unsigned long nth; /* 0: each */
	unsigned long seen;
	unsigned long used;
	unsigned long after; /* seen since a rule answered */
	unsigned long first; /* which call of all the first one was */
} rules[MAX_RULES];

static unsigned int rule_count;
static unsigned long calls;
static bool faulted;
static struct launch launch;

static bool rule_parse(const char *text)
{
	struct rule *rule = &rules[rule_count];
	char *end;

	if (rule_count == MAX_RULES)
		return false;
	rule->request = (uint32_t)strtoul(text, &end, 0);
	if (*end++ != ':')
		return false;
	rule->error = (int)strtoul(end, &end, 10);
	if (*end++ != ':')
		return false;
	rule->nth = strtoul(end, &end, 10);
	rule_count++;
	return *end == '\0';
}

/* The child */

/* Calls of another architecture, such as 32 bits, go on uncounted. */
static int listener_new(void)
{
	static struct sock_filter filter[2 * MAX_RULES + 8];
	struct sock_fprog whole = { .filter = filter };
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	struct sock_filter *next = filter;
	int fd;

#define STATEMENT(...) (*next++ = (struct sock_filter)BPF_STMT(__VA_ARGS__))
#define JUMP(...) (*next++ = (struct sock_filter)BPF_JUMP(__VA_ARGS__))
#define LOAD(field) \
	STATEMENT(BPF_LD | BPF_W | BPF_ABS, \
		  offsetof(struct seccomp_data, field))
#define IS(value, yes, no) JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(action) STATEMENT(BPF_RET | BPF_K, action)
	LOAD(arch);
	IS(ARCH, 1, 0);
	RETURN(SECCOMP_RET_ALLOW);
	LOAD(nr);
	IS(__NR_ioctl, 1, 0);
	RETURN(SECCOMP_RET_ALLOW);
	/* The low half, which is all that the kernel looks at. */
	LOAD(args[1]);
	for (unsigned int i = 0; i < rule_count; i++) {
		IS(rules[i].request, 0, 1);
		RETURN(SECCOMP_RET_USER_NOTIF);
	}
	RETURN(SECCOMP_RET_ALLOW);
	whole.len = (unsigned short)(next - filter);

	/* A signal of the program must not let it make a call twice. */
	fd = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
			  flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			  &whole);
	if (fd == -1 && errno == EINVAL)
		fd = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags,
				  &whole);
	return fd;
}

/* Message of a child to its parent: the step that failed, or a listener. */
struct told {
	int error;
	enum { LISTENER, RIGHTS, FILTER, EXEC } step;
};

static bool tell(int socket, struct told told, int fd)
{
	struct iovec data = { .iov_base = &told, .iov_len = sizeof(told) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *rights;

		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &fd, sizeof(int));
	}
	return sendmsg(socket, &message, 0) == sizeof(told);
}

static _Noreturn void child(char **words)
{
	struct told told = { .step = RIGHTS };
	int fd;

	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		told.step = FILTER;
		fd = listener_new();
		if (fd >= 0 && tell(launch.socket, (struct told){ 0 }, fd)) {
			close(fd);
			launch_exec(&launch, words);
			told.step = EXEC;
		}
	}
	told.error = errno;
	tell(launch.socket, told, -1);
	_exit(FAILED);
}

/* The parent */

/* The end of the socket is the exec: it closes the child's end. */
static bool hear(int socket, struct told *told, int *fd)
{
	struct iovec data = { .iov_base = told, .iov_len = sizeof(*told) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *rights;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof(*told))
		return false;
	rights = CMSG_FIRSTHDR(&message);
	if (rights && rights->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(rights), sizeof(int));
	return true;
}

/*
 * A call that a signal interrupted is not counted: it comes again. The answer
 * is of one rule, or of none.
 */
static void count(uint32_t request, struct rule *answer)
{
	calls++;
	for (unsigned int i = 0; i < rule_count; i++) {
		struct rule *rule = &rules[i];

		if (rule->request != request)
			continue;
		if (!rule->seen++)
			rule->first = calls;
		rule->after += faulted;
	}
	if (answer) {
		answer->used++;
		faulted = true;
	}
}

/* The first rule that has an errno for the next call of this request. */
static struct rule *answer_of(uint32_t request)
{
	for (unsigned int i = 0; i < rule_count; i++) {
		struct rule *rule = &rules[i];

		if (rule->request == request && rule->error &&
		    (!rule->nth || rule->seen + 1 == rule->nth))
			return rule;
	}
	return NULL;
}

/* Kernels may know longer notifications than these headers. */
static struct {
	struct seccomp_notif *call;
	struct seccomp_notif_resp *answer;
	struct seccomp_notif_sizes sizes;
} notice;

static bool notice_allocate(void)
{
	struct seccomp_notif_sizes *sizes = &notice.sizes;

	if (syscall(__NR_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, sizes))
		return false;
	if (sizes->seccomp_notif < sizeof(*notice.call))
		sizes->seccomp_notif = sizeof(*notice.call);
	if (sizes->seccomp_notif_resp < sizeof(*notice.answer))
		sizes->seccomp_notif_resp = sizeof(*notice.answer);
	notice.call = malloc(sizes->seccomp_notif);
	notice.answer = malloc(sizes->seccomp_notif_resp);
	return notice.call && notice.answer;
}

/* False: this kernel lets no call go on, as before Linux 5.5. */
static bool answer(int listener)
{
	struct rule *rule;
	uint32_t request;

	memset(notice.call, 0, notice.sizes.seccomp_notif);
	memset(notice.answer, 0, notice.sizes.seccomp_notif_resp);
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notice.call))
		return true; /* ENOENT: the caller was killed */
	request = (uint32_t)notice.call->data.args[1];
	rule = answer_of(request);
	notice.answer->id = notice.call->id;
	if (rule)
		notice.answer->error = -rule->error;
	else
		notice.answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, notice.answer))
		return errno != EINVAL;
	count(request, rule);
	return true;
}

/* The parent of a process; -1: it has ended. */
static pid_t parent_of(const char *process)
{
	char path[64], *rest;
	char text[512];
	FILE *stat;
	size_t length;
	int parent;

	snprintf(path, sizeof(path), "/proc/%.16s/stat", process);
	stat = fopen(path, "re");
	if (!stat)
		return -1;
	length = fread(text, 1, sizeof(text) - 1, stat);
	fclose(stat);
	text[length] = '\0';
	/* The name may have spaces and parentheses in it. */
	rest = strrchr(text, ')');
	return rest && sscanf(rest, ") %*c %d", &parent) == 1 ? parent : -1;
}

/*
 * Processes that the program left are our children, by
 * PR_SET_CHILD_SUBREAPER; others become ours when their parent ends. False:
 * /proc shows none. A list of children is not in every kernel
 * (CONFIG_PROC_CHILDREN).
 */
static bool signal_children(int signal)
{
	DIR *processes = opendir("/proc");
	pid_t self = getpid();
	struct dirent *entry;
	bool found = false, program_met = false;

	while (processes && (entry = readdir(processes))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || parent_of(entry->d_name) != self)
			continue;
		found |= kill(pid, signal) == 0;
		program_met |= pid == launch.program;
	}
	if (processes)
		closedir(processes);
	/* The numbers in /proc may be those of another pid namespace. */
	if (!program_met && launch.program)
		kill(launch.program, signal);
	return found || launch.program;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* Whether all processes of the program have ended. */
static bool reap(int *status)
{
	int ended;
	pid_t pid;

	while ((pid = waitpid(-1, &ended, WNOHANG)) > 0) {
		if (pid != launch.program)
			continue;
		launch.program = 0; /* it has ended */
		*status = ended;
	}
	return pid == -1;
}

static bool is_told_to_end(int signals)
{
	struct signalfd_siginfo signal;

	return read(signals, &signal, sizeof(signal)) == sizeof(signal) &&
	       signal.ssi_signo == SIGTERM;
}

static int report_end(int status, bool late)
{
	bool signalled = WIFSIGNALED(status);
	int code = signalled ? WTERMSIG(status) : WEXITSTATUS(status);

	for (unsigned int i = 0; i < rule_count; i++)
		fprintf(launch.report, "rule %lu %lu %lu %lu\n", rules[i].seen,
			rules[i].used, rules[i].after, rules[i].first);
	fprintf(launch.report, "%s %d %s\n", signalled ? "signal" : "exit", code,
		late ? "late" : "itself");
	return launch_reported(&launch, signalled ? 128 + code : code);
}

/* Until all processes of the program have ended. */
static int supervise(int listener, int signals, int64_t limit)
{
	int64_t end = limit ? now() + limit : INT64_MAX;
	int64_t grace;
	bool late = false;
	int status = 0;

	while (!reap(&status)) {
		struct pollfd fds[] = { { .fd = listener, .events = POLLIN },
					{ .fd = signals, .events = POLLIN } };
		int64_t left = end - now();

		if (left <= 0) {
			late = true;
			if (!signal_children(SIGKILL))
				return launch_failed(&launch, "children", 0);
			left = AGAIN;
		}
		if (poll(fds, 2, end == INT64_MAX ? -1 : (int)left) <= 0)
			continue;
		if (fds[0].revents & POLLIN) {
			if (!answer(listener)) {
				signal_children(SIGKILL);
				return launch_failed(&launch, "continue",
						     EINVAL);
			}
		} else if (fds[0].revents) {
			listener = -1; /* no process has the filter */
		}
		if (fds[1].revents && is_told_to_end(signals)) {
			signal_children(SIGTERM);
			grace = now() + GRACE;
			/* Not later because of one more signal. */
			if (grace < end)
				end = grace;
		}
	}
	return report_end(status, late);
}

static int run(char **words, int64_t limit)
{
	static const char *const steps[] = { "listener", "rights", "filter",
					     "exec" };
	struct told told = { 0 };
	int signals, code, listener = -1;
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGTERM);
	if (!launch_guard(&launch, &ours))
		return launch_failed(&launch, "parent", ESRCH);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		return launch_failed(&launch, "subreaper", errno);
	if (!notice_allocate())
		return launch_failed(&launch, "filter", errno);
	signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals == -1)
		return launch_failed(&launch, "socket", errno);
	code = launch_fork(&launch);
	if (code >= 0)
		return code;
	if (!launch.program)
		child(words);
	while (hear(launch.socket, &told, &listener))
		;
	close(launch.socket);
	if (told.error || listener == -1) {
		waitpid(launch.program, NULL, 0);
		return launch_failed(&launch, steps[told.step], told.error);
	}
	return supervise(listener, signals, limit);
}

int main(int count, char **words)
{
	int next = 4;

	if (count < 4 || !launch_open(&launch, words[1], words[3]))
		return FAILED;
	for (; next < count && strcmp(words[next], "--"); next++)
		if (!rule_parse(words[next]))
			return launch_failed(&launch, "rule", EINVAL);
	if (next + 1 >= count)
		return launch_failed(&launch, "program", EINVAL);
	return run(words + next + 1, strtoll(words[2], NULL, 10));
}
