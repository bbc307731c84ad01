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
#include "launch.h"
#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS \
	(PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | \
	 PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | \
	 PTRACE_O_EXITKILL)

/* Message of a child to its parent, which has told it to go on. */
struct told {
	int error;
	enum { FILTER, EXEC } step;
};

static _Noreturn void child(const struct launch *launch, char **words)
{
	struct told told = { .step = FILTER };
	char go;

	if (recv(launch->socket, &go, sizeof(go), 0) != sizeof(go))
		_exit(FAILED);
	unsetenv("KVMIRQ_TAPE");
	unsetenv("KVMIRQ_TAPE_LIMIT");
	unsetenv("KVMIRQ_TAPE_LENGTHS");
	if (filter_install()) {
		if (!*words)
			_exit(close(-1) != -1); /* it stops here */
		launch_exec(launch, words);
		told.step = EXEC;
	}
	told.error = errno;
	send(launch->socket, &told, sizeof(told), MSG_NOSIGNAL);
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

static int run(struct launch *launch, char **words)
{
	static const char *const steps[] = { "filter", "exec" };
	struct told told;
	int status, error, code;
	sigset_t ours;

	sigemptyset(&ours);
	if (!launch_guard(launch, &ours))
		return launch_failed(launch, "parent", ESRCH);
	if (*words && !tape_start())
		return launch_failed(launch, "tape", errno);
	code = launch_fork(launch);
	if (code >= 0)
		return code;
	if (!launch->program)
		child(launch, words);
	/* If one fails, the child ends with the socket. */
	if (ptrace(PTRACE_SEIZE, launch->program, NULL, (long)OPTIONS))
		return launch_failed(launch, "ptrace", errno);
	if (!reads_memory(launch->program))
		return launch_failed(launch, "memory", errno);
	send(launch->socket, "", 1, MSG_NOSIGNAL);
	status = trace(launch->program, &error);
	if (recv(launch->socket, &told, sizeof(told), 0) == sizeof(told))
		return launch_failed(launch, steps[told.step], told.error);
	if (!*words && error)
		return launch_failed(launch, "stop", error);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

int main(int count, char **words)
{
	struct launch launch;

	if (count < 3 || !launch_open(&launch, words[1], words[2]))
		return FAILED;
	return run(&launch, words + 3);
}
