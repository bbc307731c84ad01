/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the tape being made. */
#ifndef KVMIRQ_TAPE_LINE_H
#define KVMIRQ_TAPE_LINE_H

/* Inline functions of a fortified libc would be ours defined twice. */
#undef _FORTIFY_SOURCE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LINE_ROOM 1024 /* of a line, beside its bytes in hex */
#define SMALL_ROOM(size) ((size) * 3 + LINE_ROOM) /* holds so many bytes */

/* Bytes of the program, and room for a line that shows them. */
struct room {
	unsigned char *bytes;
	size_t size;
	char *line;
	size_t line_size;
	size_t mapped;
};

/*
 * In small, of at least SMALL_ROOM(0), or in a mapping if that is too small.
 * False: nothing can be mapped, and the room has as many bytes as small holds.
 */
bool room_make(struct room *room, void *small, size_t small_size, size_t size);
void room_leave(const struct room *room);

/* The thread whose call is recorded. */
struct caller {
	long process;
	long thread;
};

/* Ends early rather than overflow, and shows it. */
struct line {
	char *start;
	char *at;
	char *end;
};

/* Inline: most texts are constants, and so are their lengths. */
static inline void put(struct line *line, const char *text)
{
	size_t length = strlen(text);
	size_t left = (size_t)(line->end - line->at);

	if (length <= left) {
		memcpy(line->at, text, length);
		line->at += length;
	} else {
		memcpy(line->at, text, left);
		line->at += left;
	}
}

void put_number(struct line *line, long long value);
static inline void put_key(struct line *line, const char *key)
{
	put(line, ",\"");
	put(line, key);
	put(line, "\":");
}

static inline void put_field(struct line *line, const char *key,
			     long long value)
{
	put_key(line, key);
	put_number(line, value);
}

void put_text(struct line *line, const char *key, const char *text);
void put_bytes(struct line *line, const char *key, bool readable,
	       const unsigned char *bytes, size_t size);
void begin(struct line *line, char *room, size_t size, struct caller by);
/* @file: its name; empty: not open */
void put_call(struct line *line, const char *call, int fd, const char *file);
void end(struct line *line, long long result, int error);
void end_line(struct line *line);

#endif
