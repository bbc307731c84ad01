/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tape in memory that processes share: a memfd that kvmirq tape prepared,
 * with a head and then slots. A thread takes a slot by adding its size to the
 * head's end, so slots lie in the order in which calls ended, over all threads
 * and processes; then it writes the slot without a system call. A killed
 * program leaves each slot whole, empty (zeros) or marked as open.
 *
 * A process of the program that has fewer rights writes to the same memory, so
 * the head is not trusted: a wrong one spoils the tape and nothing else. What
 * is written to is this process's own affair: a window of the file, which
 * nobody can shorten (F_SEAL_SHRINK) and whose memory is allocated before it
 * is touched.
 *
 * A window is opened while kvmirq tape holds its lock on the file, and while
 * the file takes less memory than a limit. The reader releases the memory of
 * the slots that it has read: io.kvmirq.recording.SlotFile.
 */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAGIC "KVMIRQ\1\n"
#define OPEN (1ULL << 63) /* of a slot's first word: its line is not whole */
#define WINDOW (1ULL << 20)
#define LARGEST_PAGE 65536ULL
#define LAST (1ULL << 62) /* of offsets: sums of two do not overflow */
#define BLOCK 512ULL /* of st_blocks */

struct head {
	char magic[8];
	_Atomic uint64_t end; /* where the next slot begins */
	uint64_t unused;
	_Atomic uint64_t full; /* not 0: lines are missing at the end */
	uint64_t reserved[4];
};

static struct head *head; /* NULL: not prepared */
static uint64_t most = LAST; /* bytes of memory that the file may take */

/* The part of the tape that a thread writes to. */
struct window {
	uint64_t start;
	uint64_t next; /* memory before it may have been released */
	size_t size;
	char *at;
};

static __thread struct window own __attribute__((tls_model("initial-exec")));
/* True in a signal handler that came while the window was in use. */
static __thread volatile bool busy __attribute__((tls_model("initial-exec")));
/* Ends a thread's window with the thread. */
static pthread_key_t windows;

static void window_close(struct window *window)
{
	char *at = window->at;

	window->at = NULL;
	if (at)
		syscall(SYS_munmap, at, window->size);
}

static void window_of_ended_thread(void *window)
{
	window_close(window);
}

bool map_open(int fd)
{
	long seals = syscall(SYS_fcntl, fd, F_GET_SEALS, 0L);
	const char *limit = getenv("KVMIRQ_TAPE_LIMIT");
	struct head now;
	void *mapped;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) ||
	    syscall(SYS_pread64, fd, &now, sizeof(now), 0L) != sizeof(now) ||
	    memcmp(now.magic, MAGIC, sizeof(now.magic)))
		return false;
	mapped = (void *)syscall(SYS_mmap, NULL, sizeof(now),
				 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
	if (mapped == MAP_FAILED ||
	    pthread_key_create(&windows, window_of_ended_thread))
		return false;
	if (limit)
		most = strtoull(limit, NULL, 10);
	head = mapped;
	return true;
}

bool map_is_open(void)
{
	return head;
}

/* Whether a slot can begin at @at, an end that any process may have written. */
static bool is_slot(uint64_t at, size_t size)
{
	return at >= sizeof(struct head) && !(at % sizeof(uint64_t)) &&
	       at <= LAST - size;
}

/* Whether the reader holds its lock; also if a filter forbids to ask. */
static bool has_reader(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return syscall(SYS_fcntl, fd, F_GETLK, &lock) ||
	       lock.l_type != F_UNLCK;
}

/* 0 or -errno. */
static int allocate(int fd, uint64_t from, size_t size)
{
	struct stat file;

	if (!has_reader(fd))
		return -ESRCH;
	if (fstat(fd, &file))
		return -errno;
	if ((uint64_t)file.st_blocks * BLOCK + size > most)
		return -ENOSPC;
	while (syscall(SYS_fallocate, fd, 0, from, size))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static bool holds(const struct window *window, uint64_t at, size_t size)
{
	return window->at && at >= window->next && size <= window->size &&
	       at - window->start <= window->size - size;
}

/* 0 or -errno. */
static int window_open(struct window *window, int fd, uint64_t at, size_t size)
{
	uint64_t start = at & ~(LARGEST_PAGE - 1);
	size_t length = (size_t)(at - start) + size;
	int ret;

	if (length < WINDOW)
		length = WINDOW;
	ret = allocate(fd, start, length);
	if (ret)
		return ret;
	window->at = (char *)syscall(SYS_mmap, NULL, length,
				     PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				     start);
	if ((void *)window->at == MAP_FAILED) {
		window->at = NULL;
		return -ENOMEM;
	}
	window->start = start;
	window->next = start;
	window->size = length;
	return 0;
}

static void slot_write(struct window *window, uint64_t at,
		       const struct line *line)
{
	size_t length = (size_t)(line->at - line->start);
	char *slot = window->at + (at - window->start);

	atomic_store_explicit((_Atomic uint64_t *)slot, length | OPEN,
			      memory_order_relaxed);
	memcpy(slot + sizeof(uint64_t), line->start, length);
	atomic_store_explicit((_Atomic uint64_t *)slot, length,
			      memory_order_release);
	window->next = at + sizeof(uint64_t) + length;
}

/* Maps the slot. 0 or -errno. */
static int slot_open(struct window *window, uint64_t at, size_t size)
{
	struct quiet quiet;
	int ret = -EBADF;
	int fd;

	quiet_begin(&quiet);
	fd = tape_take();
	window_close(window);
	if (fd >= 0)
		ret = window_open(window, fd, at, size);
	if (!ret && window == &own)
		pthread_setspecific(windows, window);
	tape_leave(fd);
	quiet_end(&quiet, ret);
	return ret;
}

bool map_append(const struct line *line)
{
	size_t size = sizeof(uint64_t) +
		      (((size_t)(line->at - line->start) + 7) & ~(size_t)7);
	uint64_t at = atomic_fetch_add(&head->end, size);
	struct window other = { 0 };
	bool nested = busy;
	struct window *window = nested ? &other : &own;
	int ret = 0;

	busy = true;
	atomic_signal_fence(memory_order_seq_cst);
	if (!is_slot(at, size))
		ret = -EINVAL;
	else if (!holds(window, at, size))
		ret = slot_open(window, at, size);
	if (ret)
		atomic_store(&head->full, 1);
	else
		slot_write(window, at, line);
	window_close(&other);
	atomic_signal_fence(memory_order_seq_cst);
	busy = nested;
	return !ret;
}
