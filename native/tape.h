/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVMIRQ_TAPE_H
#define KVMIRQ_TAPE_H

/* Inline functions of a fortified libc would be ours defined twice. */
#undef _FORTIFY_SOURCE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* tape_line.c: a line of the tape being made. */

#define LINE_ROOM 1024 /* of a line, beside two arguments in hex */

/* Ends early rather than overflow, and shows it. */
struct line {
	char *start;
	char *at;
	char *end;
};

void put(struct line *line, const char *text);
void put_number(struct line *line, long long value);
void put_field(struct line *line, const char *key, long long value);
void put_true(struct line *line, const char *key);
void put_text(struct line *line, const char *key, const char *text);
void put_bytes(struct line *line, const char *key, bool readable,
	       const unsigned char *bytes, size_t size);
void begin(struct line *line, char *room, size_t size, const char *call,
	   int fd, const char *file);
void end(struct line *line, long long result, int error);
void end_line(struct line *line);

/* tape_file.c: the tape. */

bool tape_is_open(void);
void tape_append(const struct line *line);

/* tape_argument.c: what is recorded, and what of the program's memory. */

struct file {
	char name[256]; /* empty: not open */
};

bool starts(const char *text, const char *prefix);
void file_of(int fd, struct file *file);
bool is_eventfd(const struct file *file);
bool is_node(const char *path);
bool is_vfio_device(const struct file *file);
bool is_ours(const struct file *file);
bool is_vfio(unsigned long request);

/* False, not a signal, where the program has no such memory. */
bool copy(void *to, uintptr_t from, size_t size);

/*
 * How much to record of the structure that the argument points to; 0: it may
 * not point. Sets cut when the structure is longer.
 */
size_t argument_size(unsigned long request, uintptr_t argument, bool *cut);

/* What an address in the structure points to, where that is recorded. */
void put_pointee(struct line *line, unsigned long request, uintptr_t argument);

#endif
