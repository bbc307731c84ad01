/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a program under this process, whose parent has to be a given one. The
 * program dies with this process, and this process with its parent. A file
 * says why a program was not started.
 */
#ifndef KVMIRQ_LAUNCH_H
#define KVMIRQ_LAUNCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define FAILED 3 /* exit code: the program was not started */
#define UNREPORTED 4 /* exit code: the report could not be written */

struct launch {
	FILE *report;
	pid_t parent;
	pid_t self;
	sigset_t before; /* signals that the program has blocked */
	pid_t program; /* 0 in the program */
	int socket; /* between this process and the program, until its exec */
};

/* @parent: the number of the process that starts this one */
bool launch_open(struct launch *launch, const char *report, const char *parent);

/* Ends the report, which may be in a full filesystem. */
int launch_reported(const struct launch *launch, int code);
/* The report says where it failed and why. */
int launch_failed(const struct launch *launch, const char *step, int error);

/*
 * Blocks the signals and those that the program has from the terminal. False,
 * with errno: the parent has ended.
 */
bool launch_guard(struct launch *launch, sigset_t *signals);

/* A socket and the child that becomes the program. -1 or an exit code. */
int launch_fork(struct launch *launch);

/* In the child: becomes the program. Returns on failure, with errno. */
void launch_exec(const struct launch *launch, char **words);

#endif
