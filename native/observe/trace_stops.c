/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stops of a traced program. A thread that makes a recorded call stops
 * before it, by the filter, and most stop again when it returns.
 *
 * A signal may interrupt a call. Until the thread is back from the handler,
 * the kernel's answer does not say what the program sees: the call may be made
 * again, or return EINTR. The thread then stops at each call, and at the end of
 * rt_sigreturn() its registers tell. A handler that leaves by longjmp() leaves
 * no line of the call, and the thread slow until another call begins there.
 *
 * A thread goes on when the line of its call is on the tape. So what one thread
 * tells another stands there in this order.
 */
#include "trace.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE 5 /* seconds from SIGTERM to SIGKILL */
#define BUCKETS 1024
#define DEPTH 16 /* of calls that signal handlers interrupted */

/* Old headers lack it. */
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

/* Results that only tracers see: the call is made again, or it is EINTR. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

struct thread {
	struct thread *next;
	pid_t id;
	pid_t process;
	size_t place; /* of its stop in taken, if that is its own */
	struct call *call; /* the innermost */
	bool returns; /* from a signal handler */
};

static struct thread *threads[BUCKETS];
static bool started;
static int error_of_stop;

static struct thread **place_of(pid_t id)
{
	struct thread **at = &threads[(unsigned int)id % BUCKETS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static void calls_drop(struct thread *thread)
{
	while (thread->call) {
		struct call *call = thread->call;

		thread->call = call->outer;
		call_drop(call);
	}
	thread->returns = false;
}

static void thread_remove(pid_t id)
{
	struct thread **at = place_of(id);
	struct thread *thread = *at;

	if (!thread)
		return;
	*at = thread->next;
	calls_drop(thread);
	free(thread);
}

/* New ones stop before the call that made them says so, or after. */
static struct thread *thread_of(pid_t id)
{
	struct thread **at = place_of(id);

	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			abort(); /* the kernel ends the program */
		(*at)->id = id;
		(*at)->process = process_of(id);
	}
	return *at;
}

/* A thread that was killed meanwhile does not go on, and is not asked. */
static void go_on(const struct thread *thread, int signal)
{
	ptrace(thread->call ? PTRACE_SYSCALL : PTRACE_CONT, thread->id, NULL,
	       (long)signal);
}

static bool stop_of(const struct thread *thread,
		    struct __ptrace_syscall_info *stop)
{
	return ptrace(PTRACE_GET_SYSCALL_INFO, thread->id, sizeof(*stop),
		      stop) > 0;
}

/* Calls */

static bool is_at(const struct call *call,
		  const struct __ptrace_syscall_info *stop)
{
	return call->instruction == stop->instruction_pointer &&
	       call->stack == stop->stack_pointer;
}

/* Whether what begins where a call did is that call. */
static bool is_again(const struct call *call,
		     const struct __ptrace_syscall_info *stop)
{
	return stop->entry.nr == SYS_restart_syscall ||
	       (stop->entry.nr == call->number &&
		!memcmp(stop->entry.args, call->arguments,
			sizeof(call->arguments)));
}

static int depth_of(const struct call *call)
{
	int depth = 0;

	for (; call; call = call->outer)
		depth++;
	return depth;
}

static void at_call(struct thread *thread)
{
	struct __ptrace_syscall_info stop;
	struct call *call = thread->call;

	if (!stop_of(thread, &stop)) {
		if (errno != ESRCH)
			error_of_stop = errno;
		return;
	}
	if (!started || stop.op != PTRACE_SYSCALL_INFO_SECCOMP)
		return;
	if (call && !call->interrupted)
		return; /* made again */
	if (depth_of(call) >= DEPTH)
		calls_drop(thread); /* handlers have left by longjmp() */
	call = call_new(&stop);
	if (call) {
		call->outer = thread->call;
		thread->call = call;
	}
}

static void end_of_call(struct thread *thread, int64_t result)
{
	struct call *call = thread->call;

	thread->call = call->outer;
	call_end(call, result);
}

static bool is_made_again(int64_t result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR ||
	       result == -ERESTARTNOHAND || result == -ERESTART_RESTARTBLOCK;
}

/* Before a call only while one is interrupted. */
static void at_entry_or_exit(struct thread *thread)
{
	struct __ptrace_syscall_info stop;
	struct call *call = thread->call;

	if (!call || !stop_of(thread, &stop))
		return;
	if (stop.op == PTRACE_SYSCALL_INFO_ENTRY) {
		thread->returns = stop.entry.nr == SYS_rt_sigreturn;
		if (!is_at(call, &stop))
			return;
		if (is_again(call, &stop)) {
			call->interrupted = false;
			return;
		}
		thread->call = call->outer; /* a handler left it */
		call_drop(call);
	} else if (stop.op == PTRACE_SYSCALL_INFO_EXIT) {
		if (thread->returns ? is_at(call, &stop) : !call->interrupted) {
			call->interrupted = is_made_again(stop.exit.rval);
			if (!call->interrupted)
				end_of_call(thread, stop.exit.rval);
		}
		thread->returns = false;
	}
}

/* All other threads are gone, and this one has the number of the first. */
static void at_exec(struct thread *thread)
{
	unsigned long former = 0;

	ptrace(PTRACE_GETEVENTMSG, thread->id, NULL, &former);
	if ((pid_t)former != thread->id)
		thread_remove((pid_t)former);
	calls_drop(thread);
	started = true;
	subject_header();
}

/* Stops */

static bool is_group_stop(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN ||
	       signal == SIGTTOU;
}

static void stopped(pid_t id, int status)
{
	struct thread *thread = thread_of(id);
	int event = status >> 16;
	int signal = WSTOPSIG(status);

	subject_set(thread->process, id);
	if (event == PTRACE_EVENT_STOP && is_group_stop(signal)) {
		ptrace(PTRACE_LISTEN, id, NULL, 0L);
		return;
	}
	if (event == PTRACE_EVENT_SECCOMP)
		at_call(thread);
	else if (event == PTRACE_EVENT_EXEC)
		at_exec(thread);
	else if (signal == (SIGTRAP | 0x80))
		at_entry_or_exit(thread);
	else if (!event) {
		go_on(thread, signal);
		return;
	}
	go_on(thread, 0);
}

/*
 * Stops that have been waited for. The kernel looks for a stop in one order
 * always: if each stop were served at once, threads that stop often would keep
 * others from it.
 */
static struct {
	struct stop {
		pid_t id;
		int status;
	} *stops;
	size_t count, room;
} taken;

/* The last of a thread counts: it was killed meanwhile, or others by exec(). */
static void take(pid_t id, int status)
{
	struct thread *thread = thread_of(id);

	if (thread->place < taken.count &&
	    taken.stops[thread->place].id == id) {
		taken.stops[thread->place].status = status;
		return;
	}
	if (taken.count == taken.room) {
		taken.room = taken.room * 2 + 16;
		taken.stops = realloc(taken.stops,
				      taken.room * sizeof(*taken.stops));
		if (!taken.stops)
			abort(); /* the kernel ends the program */
	}
	thread->place = taken.count;
	taken.stops[taken.count++] = (struct stop){ id, status };
}

static volatile sig_atomic_t told;

/* The wait may begin after the signal: one more ends it. */
static void tell(int signal)
{
	(void)signal;
	told = true;
	alarm(1);
}

static void signal_processes(int signal)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (struct thread *one = threads[i]; one; one = one->next)
			if (one->id == one->process)
				kill(one->id, signal);
}

static void end_processes(void)
{
	static time_t limit;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!limit) {
		limit = now.tv_sec + GRACE;
		signal_processes(SIGTERM);
	} else if (now.tv_sec >= limit) {
		signal_processes(SIGKILL);
	}
}

int trace(pid_t program, int *error)
{
	struct sigaction quiet = { .sa_handler = SIG_DFL,
				   .sa_flags = SA_NOCLDSTOP };
	struct sigaction ending = { .sa_handler = tell };
	int status, last = 0;
	pid_t id;

	sigaction(SIGCHLD, &quiet, NULL);
	sigaction(SIGALRM, &ending, NULL);
	sigaction(SIGTERM, &ending, NULL);
	while ((id = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (told)
			end_processes();
		for (; id > 0; id = waitpid(-1, &status, __WALL | WNOHANG))
			take(id, status);
		for (size_t i = 0; i < taken.count; i++) {
			id = taken.stops[i].id;
			status = taken.stops[i].status;
			waitpid(id, &status, __WALL | WNOHANG); /* a later one */
			if (WIFSTOPPED(status)) {
				stopped(id, status);
				continue;
			}
			thread_remove(id);
			if (id == program)
				last = status;
		}
		taken.count = 0;
	}
	*error = error_of_stop;
	return last;
}
