/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_TAPE_H
#define KVMIRQ_TAPE_H

#include "tape_line.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

static inline bool starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* tape_descriptor.c: the tape's descriptor, among those of the program. */

/* Opens what the environment names, a path or a number; -1 on failure. */
int tape_find(const char *name, int flags);
/* Lines go there. @access: O_WRONLY or O_RDWR, to open the path again with */
void tape_keep(int fd, const struct stat *file, int access);
bool tape_is_open(void);
/* No more lines. */
void tape_end(void);
/* The descriptor, or the file opened again; -1 if it is not there. */
int tape_take(void);
void tape_leave(int fd);

/* tape_quiet.c: until its end, no write to the tape raises a signal. */

struct quiet {
	uint64_t mask;
	uint64_t waiting;
};

void quiet_begin(struct quiet *quiet);
/* @result: of what may have raised a signal, 0 or -errno */
void quiet_end(const struct quiet *quiet, int result);

/* tape_map.c: a tape in shared memory. */

/* Whether the file was prepared for it, and nobody can shorten it. */
bool map_open(int fd);
bool map_is_open(void);
/* False: nobody reads, or a limit is reached; the tape says so. */
bool map_append(const struct line *line);

/* tape_file.c: the tape. */

/* Opens what the environment names. */
bool tape_start(void);
/* @link: to the file of the program whose calls follow */
void tape_header(long process, const char *link);
void tape_append(const struct line *line);

/* tape_kind.c: names of files, and which of them are recorded. */

struct file {
	const char *name; /* empty: not open */
	char room[256];
};

/* @process: its directory in /proc */
void file_read(const char *process, int fd, struct file *file);
bool is_eventfd(const struct file *file);
bool is_node(const char *path);
bool is_vfio_device(const struct file *file);
bool is_ours(const struct file *file);

/* tape_argument.c: what is recorded of the program's memory. */

bool is_vfio(unsigned long request);

/*
 * How much to record of the structure that the argument points to; 0: it may
 * not point. Sets cut when the structure is longer.
 */
size_t argument_size(unsigned long request, uintptr_t argument, bool *cut);

/* The memory behind an address in the structure, where it is recorded. */
void put_pointee(struct line *line, unsigned long request, uintptr_t argument);

/*
 * The thread whose call is recorded, its files and its memory. tape_self.c: the
 * one that makes the call, for the preloaded library. trace_subject.c: the one
 * that stopped, for the tracer.
 */

struct caller caller(void);
void file_of(int fd, struct file *file);
/* Whether the number was found to be no file of the tape; false if unsure. */
bool file_is_other(int fd);
/* To be called before and after a number may become another file. */
void file_forget(int fd);
void file_forget_from(unsigned int first, unsigned int last);

/*
 * False, not a signal, where the program has no such memory; but a thread that
 * unmaps it meanwhile gets the signal.
 */
bool copy(void *to, uintptr_t from, size_t size);
/* Where the kernel has just read or written. */
bool copy_used(void *to, uintptr_t from, size_t size);

#endif
