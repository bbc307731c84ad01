/* SPDX-License-Identifier: Apache-2.0 */
/* The process whose calls are recorded: of the preloaded library, its own. */
#include "tape.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SMALLEST_PAGE 4096

static __thread struct caller own __attribute__((tls_model("initial-exec")));

struct caller caller(void)
{
	long thread = syscall(SYS_gettid);

	/* Another thread, a child of fork() or one of vfork(). */
	if (own.thread != thread)
		own = (struct caller){ .thread = thread, .process = getpid() };
	return own;
}

__attribute__((constructor)) static void start(void)
{
	if (tape_start())
		tape_header(caller().process, "/proc/self/exe");
}

/* Its files */

/*
 * Names of files of KVM, VFIO and eventfds by descriptor: reading a link costs
 * as much as ten calls. A word of the table is a count of changes and the place
 * of a name, 0 for none, OTHER for a file that is none of these. Names stay;
 * when there are too many, or a descriptor is too large, links are read.
 */

#define MAX_NAMED 4096
#define MAX_NAMES 512
#define NAME_ROOM 48
#define PLACE 0xffffu
#define OTHER PLACE

static _Atomic uint32_t known_files[MAX_NAMED];
static char names[MAX_NAMES][NAME_ROOM];
static _Atomic uint32_t names_taken = 1;
static _Atomic bool name_whole[MAX_NAMES];

static uint32_t place_of(const char *name)
{
	uint32_t taken = atomic_load(&names_taken);
	uint32_t place;

	for (place = 1; place < taken && place < MAX_NAMES; place++)
		if (atomic_load(&name_whole[place]) &&
		    !strcmp(names[place], name))
			return place;
	if (strlen(name) >= NAME_ROOM || taken >= MAX_NAMES)
		return 0;
	place = atomic_fetch_add(&names_taken, 1);
	if (place >= MAX_NAMES)
		return 0;
	strcpy(names[place], name);
	atomic_store(&name_whole[place], true);
	return place;
}

void file_forget_from(unsigned int first, unsigned int last)
{
	for (unsigned int fd = first; fd <= last && fd < MAX_NAMED; fd++) {
		uint32_t word = atomic_load(&known_files[fd]);

		while (!atomic_compare_exchange_weak(
			&known_files[fd], &word, (word | PLACE) + 1))
			;
	}
}

void file_forget(int fd)
{
	file_forget_from((unsigned int)fd, (unsigned int)fd);
}

bool file_is_other(int fd)
{
	return fd >= 0 && fd < MAX_NAMED &&
	       (atomic_load(&known_files[fd]) & PLACE) == OTHER;
}

/* A number that was another file is looked at again. */
void file_of(int fd, struct file *file)
{
	bool kept = fd >= 0 && fd < MAX_NAMED;
	uint32_t word = kept ? atomic_load(&known_files[fd]) : 0;
	uint32_t place = word & PLACE;

	if (place && place != OTHER) {
		file->name = names[place];
		return;
	}
	file_read("/proc/self", fd, file);
	place = is_ours(file) || is_eventfd(file) ? place_of(file->name) :
		*file->name			  ? OTHER :
						    0;
	if (kept)
		atomic_compare_exchange_strong(&known_files[fd], &word,
					       (word & ~PLACE) | place);
}

/* Its memory */

/* One word of each page, by a call that refuses all but the address. */
static bool is_readable(uintptr_t from, size_t size)
{
	uintptr_t last = from + size - 1;

	if (!size || last < from)
		return !size;
	for (uintptr_t at = from & ~(uintptr_t)7; at <= last;
	     at = (at | (SMALLEST_PAGE - 1)) + 1)
		if (syscall(SYS_rt_sigprocmask, ~0, at, NULL,
			    sizeof(uint64_t)) != -1 ||
		    errno != EINVAL)
			return false;
	return true;
}

bool copy(void *to, uintptr_t from, size_t size)
{
	struct iovec local = { .iov_base = to, .iov_len = size };
	struct iovec remote = { .iov_base = (void *)from, .iov_len = size };

	if (size <= SMALLEST_PAGE) {
		if (!from || !is_readable(from, size))
			return !size;
		memcpy(to, (const void *)from, size);
		return true;
	}
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) ==
	       (ssize_t)size;
}

bool copy_used(void *to, uintptr_t from, size_t size)
{
	memcpy(to, (const void *)from, size);
	return true;
}
