/* SPDX-License-Identifier: Apache-2.0 */
#include "launch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

bool launch_open(struct launch *launch, const char *report, const char *parent)
{
	launch->parent = (pid_t)strtol(parent, NULL, 10);
	launch->self = getpid();
	launch->report = fopen(report, "we");
	return launch->report;
}

int launch_reported(const struct launch *launch, int code)
{
	bool lost = ferror(launch->report);

	return fclose(launch->report) || lost ? UNREPORTED : code;
}

int launch_failed(const struct launch *launch, const char *step, int error)
{
	fprintf(launch->report, "failed %s %d\n", step, error);
	return launch_reported(launch, FAILED);
}

bool launch_guard(struct launch *launch, sigset_t *signals)
{
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGQUIT);
	sigaddset(signals, SIGHUP);
	sigprocmask(SIG_BLOCK, signals, &launch->before);
	/* Blocked by Java, not by its user. */
	sigdelset(&launch->before, SIGQUIT);
	return !prctl(PR_SET_PDEATHSIG, SIGTERM) && getppid() == launch->parent;
}

int launch_fork(struct launch *launch)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return launch_failed(launch, "socket", errno);
	launch->program = fork();
	if (launch->program == -1)
		return launch_failed(launch, "fork", errno);
	close(sockets[launch->program ? 1 : 0]);
	launch->socket = sockets[launch->program ? 0 : 1];
	if (!launch->program && (prctl(PR_SET_PDEATHSIG, SIGKILL) ||
				 getppid() != launch->self))
		_exit(FAILED);
	return -1;
}

void launch_exec(const struct launch *launch, char **words)
{
	sigprocmask(SIG_SETMASK, &launch->before, NULL);
	execvp(words[0], words);
}
