/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tape in memory that processes share: a file that kvmirq tape prepared,
 * with a head and then slots. A thread takes a slot by adding its size to the
 * head's end, so slots lie in the order in which calls ended, over all threads
 * and processes; then it writes the slot without a system call. A killed
 * program leaves each slot whole, empty (zeros) or marked as open. Blocks are
 * allocated before memory is touched: a full disk ends the tape, it raises no
 * SIGBUS (except on a file system that copies on write, or has no blocks to
 * allocate). Read by io.kvmirq.recording.SlotFile.
 */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAGIC "KVMIRQ\1\n"
#define OPEN (1ULL << 63) /* of a slot's first word: its line is not whole */
#define GROWTH (1ULL << 20)
#define WINDOW (1ULL << 20)
#define LARGEST_PAGE 65536ULL

struct head {
	char magic[8];
	_Atomic uint64_t end; /* where the next slot begins */
	_Atomic uint64_t allocated; /* up to where memory may be touched */
	_Atomic uint64_t full; /* not 0: lines are missing at the end */
	uint64_t reserved[4];
};

static struct head *head; /* NULL: not prepared */

/* The part of the tape that a thread writes to. */
struct window {
	uint64_t start;
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
	struct head now;
	void *mapped;

	if (syscall(SYS_pread64, fd, &now, sizeof(now), 0L) != sizeof(now) ||
	    memcmp(now.magic, MAGIC, sizeof(now.magic)))
		return false;
	mapped = (void *)syscall(SYS_mmap, NULL, sizeof(now),
				 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
	if (mapped == MAP_FAILED ||
	    pthread_key_create(&windows, window_of_ended_thread))
		return false;
	head = mapped;
	return true;
}

bool map_is_open(void)
{
	return head;
}

/* Appends zeros, which shortens the file for nobody. 0 or -errno. */
static int extend(int fd, uint64_t needed)
{
	static const char zeros[4096];
	long size;

	while ((size = syscall(SYS_lseek, fd, 0L, SEEK_END)) >= 0 &&
	       (uint64_t)size < needed)
		if (syscall(SYS_write, fd, zeros, sizeof(zeros)) < 0 &&
		    errno != EINTR)
			return -errno;
	return size < 0 ? -errno : 0;
}

static int fallocated(int fd, uint64_t from, uint64_t size)
{
	while (syscall(SYS_fallocate, fd, 0, from, size))
		if (errno != EINTR)
			return -errno;
	return 0;
}

/*
 * Up to the needed end, if the disk has no more. A limit on the size of files
 * raises a signal each time, so there it ends.
 */
static int allocate(int fd, uint64_t from, uint64_t needed)
{
	int ret = fallocated(fd, from, needed - from + GROWTH);

	if (!ret)
		return (int)GROWTH;
	if (ret == -EFBIG)
		return ret;
	return ret == -EOPNOTSUPP ? extend(fd, needed) :
				    fallocated(fd, from, needed - from);
}

static int grow(int fd, uint64_t needed)
{
	uint64_t from = atomic_load(&head->allocated);
	uint64_t to;
	int more;

	if (needed <= from)
		return 0;
	more = allocate(fd, from, needed);
	if (more < 0)
		return more;
	to = needed + (uint64_t)more;
	while (from < to &&
	       !atomic_compare_exchange_weak(&head->allocated, &from, to))
		;
	return 0;
}

static bool holds(const struct window *window, uint64_t at, size_t size)
{
	return window->at && at >= window->start &&
	       at + size <= window->start + window->size;
}

static bool window_open(struct window *window, int fd, uint64_t at, size_t size)
{
	uint64_t start = at & ~(LARGEST_PAGE - 1);
	size_t length = (size_t)(at - start) + size;

	if (length < WINDOW)
		length = WINDOW;
	window->at = (char *)syscall(SYS_mmap, NULL, length,
				     PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				     start);
	if ((void *)window->at == MAP_FAILED) {
		window->at = NULL;
		return false;
	}
	window->start = start;
	window->size = length;
	return true;
}

static void slot_write(const struct window *window, uint64_t at,
		       const struct line *line)
{
	size_t length = (size_t)(line->at - line->start);
	char *slot = window->at + (at - window->start);

	atomic_store_explicit((_Atomic uint64_t *)slot, length | OPEN,
			      memory_order_relaxed);
	memcpy(slot + sizeof(uint64_t), line->start, length);
	atomic_store_explicit((_Atomic uint64_t *)slot, length,
			      memory_order_release);
}

/* Allocates the slot, and maps it. 0 or -errno. */
static int slot_open(struct window *window, uint64_t at, size_t size)
{
	struct quiet quiet;
	int fd = tape_take(&quiet);
	int ret = fd < 0 ? -EBADF : grow(fd, at + size);

	if (!ret && !holds(window, at, size)) {
		window_close(window);
		if (!window_open(window, fd, at, size))
			ret = -ENOMEM;
		else if (window == &own)
			pthread_setspecific(windows, window);
	}
	tape_leave(fd, &quiet, ret);
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
	if (!holds(window, at, size) ||
	    at + size > atomic_load(&head->allocated))
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
