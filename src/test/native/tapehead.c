/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tape in shared memory whose head another process writes, linked with
 * the recorder. Says what is wrong, or nothing.
 *
 *   tapehead heads COUNT SEED   so many random heads, a line after each
 *   tapehead race COUNT SEED    another process writes the head meanwhile
 *   tapehead back COUNT SEED    the head's end goes back so many times
 *   tapehead read COUNT SEED    words of the head release no memory
 *
 * Each mapping of the tape lies between pages that cannot be touched.
 */
#include "tape.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARD 65536L
#define PAGE 4096L
#define SHORT 2000
#define LONG (3UL << 19) /* more than a window */
#define SLOTS 8 /* words of the head: magic, end, unused, full */

static uint64_t state;
static uint64_t *head;
static int tape;
/* Of the last mapping. */
static uint64_t offset, length;
static long allocations;

static long real(long number, long a, long b, long c, long d, long e, long f)
{
	static long (*next)(long, ...);

	if (!next)
		next = (__typeof__(next))dlsym(RTLD_NEXT, "syscall");
	return next(number, a, b, c, d, e, f);
}

static long rounded(long size)
{
	return (size + PAGE - 1) & ~(PAGE - 1);
}

static long guarded(long size, long protection, long flags, long fd, long at)
{
	long room = rounded(size) + 2 * GUARD;
	long start = real(SYS_mmap, 0, room, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long mapped = real(SYS_mmap, start + GUARD, size, protection,
			   flags | MAP_FIXED, fd, at);

	if (mapped == -1)
		real(SYS_munmap, start, room, 0, 0, 0, 0);
	offset = (uint64_t)at;
	length = (uint64_t)size;
	return mapped;
}

/*
 * Memory of the file is made by touching it, which takes less time. Arguments
 * are read that the caller did not give.
 */
__attribute__((no_sanitize_address)) long syscall(long number, ...)
{
	long a[6];
	va_list more;

	va_start(more, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(more, long);
	va_end(more);
	if (number == SYS_mmap && a[4] >= 0)
		return guarded(a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_munmap)
		return real(number, a[0] - GUARD, rounded(a[1]) + 2 * GUARD, 0,
			    0, 0, 0);
	if (number == SYS_fallocate && !a[1] && ++allocations)
		return real(number, a[0], 0, a[2] + a[3] - 1, 1, 0, 0);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static uint64_t random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Near a limit mostly: of integers, of the file, or of the last mapping. */
static uint64_t word(void)
{
	uint64_t near = random64() % 64 - 32;

	if (random64() % 2)
		near *= 8;
	switch (random64() % 6) {
	case 0:
		return random64();
	case 1:
		return (1ULL << random64() % 64) + near;
	case 2:
		return offset + near;
	case 3:
		return offset + length + near - random64() % SHORT;
	case 4:
		return random64() % (1 << 24);
	default:
		return near;
	}
}

static void head_write(void)
{
	for (int i = 1; i < SLOTS; i++)
		__atomic_store_n(&head[i], word(), __ATOMIC_RELAXED);
}

static bool appended(size_t size)
{
	static char text[LONG];
	struct line line = { text, text + size, text + sizeof(text) };

	memset(text, (int)('a' + random64() % 26), SHORT);
	return map_append(&line);
}

static size_t any_size(void)
{
	return random64() % 1000 ? 1 + random64() % SHORT : LONG;
}

static void check_slot(uint64_t at, size_t size)
{
	uint64_t found = 0;

	if (pread(tape, &found, sizeof(found), (off_t)at) != sizeof(found) ||
	    found != size)
		printf("%zu bytes at %#llx have the word %#llx\n", size,
		       (unsigned long long)at, (unsigned long long)found);
}

static void heads(long count)
{
	for (long i = 0; i < count; i++) {
		size_t size = any_size();
		uint64_t at;

		head_write();
		at = head[1];
		if (i % 16 == 0 && !ftruncate(tape, (off_t)(random64() % 64)))
			printf("the file was cut\n");
		if (appended(size)) {
			check_slot(at, size);
			if (at < 64 || at % 8)
				printf("a slot at %llu\n",
				       (unsigned long long)at);
		} else if (!head[3])
			printf("no line at %#llx, and it is not said\n",
			       (unsigned long long)at);
		if (i % 256 == 0)
			fallocate(tape,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  PAGE, INT64_MAX - PAGE);
	}
}

static void race(long count)
{
	pid_t other = fork();

	if (!other)
		for (prctl(PR_SET_PDEATHSIG, SIGKILL);;) {
			head_write();
			fallocate(tape,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				  INT64_MAX);
		}
	for (long i = 0; i < count; i++)
		appended(any_size());
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
}

/* The reader may have released the memory there. */
static void back(long count)
{
	for (long i = 0; i < count; i++) {
		long before = allocations;

		head[1] = PAGE;
		if (!appended(SHORT) || allocations == before)
			printf("the memory was not asked for again\n");
	}
}

static void read_by_nobody(long count)
{
	head[1] = 2 * GUARD;
	appended(SHORT);
	for (long i = 0; i < count; i++) {
		for (int j = 2; j < SLOTS; j++)
			head[j] = 1ULL << 40;
		appended(LONG);
		check_slot(2 * GUARD, SHORT);
	}
}

/* The tape of a reader, which holds its lock as long as this process is. */
static bool prepare(void)
{
	static const uint64_t empty[SLOTS - 1] = { 64, 64 };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char name[32], ready;
	int pipes[2][2];

	tape = memfd_create("tapehead", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (write(tape, "KVMIRQ\1\n", 8) != 8 ||
	    write(tape, empty, sizeof(empty)) != sizeof(empty) ||
	    fcntl(tape, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) ||
	    pipe(pipes[0]) || pipe(pipes[1]))
		return false;
	if (!fork()) {
		close(pipes[0][1]);
		_exit(fcntl(tape, F_SETLK, &lock) ||
		      write(pipes[1][1], "", 1) != 1 ||
		      read(pipes[0][0], &ready, 1));
	}
	head = mmap(NULL, sizeof(empty), PROT_READ | PROT_WRITE, MAP_SHARED,
		    tape, 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", tape);
	return read(pipes[1][0], &ready, 1) == 1 && head != MAP_FAILED &&
	       !setenv("KVMIRQ_TAPE", name, 1) && tape_start();
}

int main(int argc, char **argv)
{
	if (argc != 4 || !prepare() || !map_is_open()) {
		printf("no tape\n");
		return 1;
	}
	state = strtoull(argv[3], NULL, 10) | 1;
	if (!strcmp(argv[1], "race"))
		race(atol(argv[2]));
	else if (!strcmp(argv[1], "back"))
		back(atol(argv[2]));
	else if (!strcmp(argv[1], "read"))
		read_by_nobody(atol(argv[2]));
	else
		heads(atol(argv[2]));
	return 0;
}
