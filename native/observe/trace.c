/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program and records its calls by ptrace, so that a program can be
 * statically linked:
 *
 *	KVMIRQ_TAPE=FILE KVMIRQ_TAPE_LENGTHS=... \
 *		kvmirqtrace REPORT PARENT [PROGRAM ARGUMENT...]
 *
 * PARENT is the process that starts this one. The file REPORT gets a line if
 * the program was not started. Without PROGRAM it only tries whether one could
 * be recorded. The tape is that of libkvmirqtape.so, made by
 * the same code: only the thread whose calls it records is another one. The
 * exit code is the program's, or 128 plus the number of the signal that ended
 * it.
 *
 * A child installs a seccomp filter that stops it at the calls of a tape, and
 * becomes the program. The program dies with this process, and this process
 * with PARENT.
 */
#include "trace.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED 3 /* exit code: the program was not started */

#define OPTIONS \
	(PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | \
	 PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | \
	 PTRACE_O_EXITKILL)

static FILE *report;

/* The report says where it failed and why. */
static int failed(const char *step, int error)
{
	fprintf(report, "failed %s %d\n", step, error);
	fclose(report);
	return FAILED;
}

/* What a child tells its parent, which has told it to go on. */
struct told {
	int error;
	enum { FILTER, EXEC } step;
};

static _Noreturn void child(int socket, pid_t parent, const sigset_t *signals,
			    char **words)
{
	struct told told = { .step = FILTER };
	char go;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent ||
	    recv(socket, &go, sizeof(go), 0) != sizeof(go))
		_exit(FAILED);
	unsetenv("KVMIRQ_TAPE");
	unsetenv("KVMIRQ_TAPE_LIMIT");
	unsetenv("KVMIRQ_TAPE_LENGTHS");
	if (filter_install()) {
		if (!*words)
			_exit(close(-1) != -1); /* it stops here */
		sigprocmask(SIG_SETMASK, signals, NULL);
		execvp(words[0], words);
		told.step = EXEC;
	}
	told.error = errno;
	send(socket, &told, sizeof(told), MSG_NOSIGNAL);
	_exit(FAILED);
}

/* Whether memory of the program can be read, as by a filter of a container. */
static bool reads_memory(pid_t program)
{
	static const long known = 1;
	long found = 0;

	subject_set(program, program);
	return copy(&found, (uintptr_t)&known, sizeof(known)) && found == known;
}

static int run(char **words, pid_t parent)
{
	static const char *const steps[] = { "filter", "exec" };
	struct told told;
	pid_t self = getpid(), program;
	int sockets[2], status, error;
	sigset_t ours, before;

	sigemptyset(&ours);
	/* The program has these from the terminal. */
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGQUIT);
	sigaddset(&ours, SIGHUP);
	sigprocmask(SIG_BLOCK, &ours, &before);
	sigdelset(&before, SIGQUIT); /* blocked by Java, not by its user */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
		return failed("parent", ESRCH);
	if (*words && !tape_start())
		return failed("tape", errno);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return failed("socket", errno);
	program = fork();
	if (program == -1)
		return failed("fork", errno);
	if (!program) {
		close(sockets[0]);
		child(sockets[1], self, &before, words);
	}
	close(sockets[1]);
	/* If one fails, the child ends with the socket. */
	if (ptrace(PTRACE_SEIZE, program, NULL, (long)OPTIONS))
		return failed("ptrace", errno);
	if (!reads_memory(program))
		return failed("memory", errno);
	send(sockets[0], "", 1, MSG_NOSIGNAL);
	status = trace(program, &error);
	if (recv(sockets[0], &told, sizeof(told), 0) == sizeof(told))
		return failed(steps[told.step], told.error);
	if (!*words && error)
		return failed("stop", error);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

int main(int count, char **words)
{
	if (count < 3)
		return FAILED;
	report = fopen(words[1], "we");
	if (!report)
		return FAILED;
	return run(words + 3, (pid_t)strtol(words[2], NULL, 10));
}
