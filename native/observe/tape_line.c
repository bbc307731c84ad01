/* SPDX-License-Identifier: Apache-2.0 */
#include "tape_line.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void put_number(struct line *line, long long value)
{
	char digits[24];
	char *at = &digits[sizeof(digits) - 1];
	unsigned long long rest = value < 0 ? 0 - (unsigned long long)value
					    : (unsigned long long)value;

	*at = '\0';
	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		*--at = '-';
	put(line, at);
}

void put_text(struct line *line, const char *key, const char *text)
{
	put_key(line, key);
	put(line, "\"");
	for (; *text && line->at < line->end; text++) {
		bool plain = *text >= ' ' && *text <= '~' && *text != '"' &&
			     *text != '\\';

		*line->at++ = plain ? *text : '?';
	}
	put(line, "\"");
}

static void put_hex(struct line *line, const char *key,
		    const unsigned char *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	put_key(line, key);
	put(line, "\"");
	for (size_t i = 0; i < size && line->end - line->at > 1; i++) {
		*line->at++ = digits[bytes[i] >> 4];
		*line->at++ = digits[bytes[i] & 15];
	}
	put(line, "\"");
}

void put_bytes(struct line *line, const char *key, bool readable,
	       const unsigned char *bytes, size_t size)
{
	if (readable) {
		put_hex(line, key, bytes, size);
	} else {
		put_key(line, key);
		put(line, "null");
	}
}

void begin(struct line *line, char *room, size_t size, struct caller by)
{
	*line = (struct line){ room, room, room + size - 1 };
	put(line, "{\"pid\":");
	put_number(line, by.process);
	put_field(line, "tid", by.thread);
}

void put_call(struct line *line, const char *call, int fd, const char *file)
{
	put_text(line, "call", call);
	put_field(line, "fd", fd);
	if (*file) {
		put_text(line, "file", file);
	} else {
		put_key(line, "file");
		put(line, "null");
	}
}

void end(struct line *line, long long result, int error)
{
	put_field(line, "result", result);
	put_field(line, "errno", result == -1 ? error : 0);
	end_line(line);
}

void end_line(struct line *line)
{
	put(line, "}");
	*line->at++ = '\n';
}

bool room_make(struct room *room, void *small, size_t small_size, size_t size)
{
	size_t needed = size * 3 + LINE_ROOM;
	void *start = small;
	bool made = true;

	room->mapped = 0;
	if (needed > small_size) {
		start = (void *)syscall(SYS_mmap, NULL, needed,
					PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
		made = start != MAP_FAILED;
		if (made) {
			room->mapped = needed;
		} else {
			start = small;
			size = (small_size - LINE_ROOM) / 3;
		}
	}
	room->bytes = start;
	room->size = size;
	room->line = (char *)start + size;
	room->line_size = size * 2 + LINE_ROOM;
	return made;
}

void room_leave(const struct room *room)
{
	if (room->mapped)
		syscall(SYS_munmap, room->bytes, room->mapped);
}
