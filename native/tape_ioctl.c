/* SPDX-License-Identifier: Apache-2.0 */
#include "tape_calls.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

/* Room for an argument before and after the call, and for the line. */
struct room {
	size_t size;
	unsigned char *before;
	unsigned char *after;
	char *line;
	size_t line_size;
	void *mapping;
	size_t mapping_size;
	unsigned char small[SMALL * 6 + LINE_ROOM];
};

static bool room_make(struct room *room, size_t size)
{
	size_t line_size = size * 4 + LINE_ROOM;
	unsigned char *start = room->small;

	room->mapping = NULL;
	if (size > SMALL) {
		room->mapping_size = size * 2 + line_size;
		start = (unsigned char *)syscall(
			SYS_mmap, NULL, room->mapping_size,
			PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			0L);
		if ((void *)start == MAP_FAILED)
			return false;
		room->mapping = start;
	}
	room->size = size;
	room->before = start;
	room->after = start + size;
	room->line = (char *)start + size * 2;
	room->line_size = line_size;
	return true;
}

static void room_leave(struct room *room)
{
	if (room->mapping)
		syscall(SYS_munmap, room->mapping, room->mapping_size);
}

static int ioctl_recorded(int fd, unsigned long request, uintptr_t argument,
			  const struct file *file, int error)
{
	bool cut, readable, written;
	size_t size = argument_size(request, argument, &cut);
	struct room room;
	struct line line;
	int ret;

	if (!room_make(&room, size)) {
		errno = error;
		return NEXT(ioctl)(fd, request, argument);
	}
	readable = copy(room.before, argument, size);
	begin(&line, room.line, room.line_size, "ioctl", fd, file->name);
	put_field(&line, "request", (long long)request);
	put_field(&line, "value", (long long)argument);
	if (cut)
		put(&line, ",\"cut\":true");
	if (size) {
		put_bytes(&line, "in", readable, room.before, size);
		put_pointee(&line, request, argument);
	}
	errno = error;
	ret = NEXT(ioctl)(fd, request, argument);
	error = errno;
	if (ret > 0 && file_is_other(ret)) /* it may be a new file */
		file_forget(ret);
	written = size && (_IOC_DIR(request) & _IOC_READ || is_vfio(request)) &&
		  copy(room.after, argument, size);
	if (written && (!readable || memcmp(room.before, room.after, size)))
		put_bytes(&line, "out", true, room.after, size);
	end(&line, ret, error);
	tape_append(&line);
	room_leave(&room);
	errno = error;
	return ret;
}

EXPORT int ioctl(int fd, unsigned long wide, ...)
{
	unsigned long request = wide & 0xffffffff;
	bool known = _IOC_TYPE(request) == KVMIO || is_vfio(request);
	int error = errno;
	uintptr_t argument;
	struct file file;
	va_list more;

	va_start(more, wide);
	argument = va_arg(more, uintptr_t);
	va_end(more);
	if (tape_is_open() && (known || !file_is_other(fd))) {
		file_of(fd, &file);
		if (known || is_ours(&file))
			return ioctl_recorded(fd, request, argument, &file,
					      error);
		errno = error;
	}
	return NEXT(ioctl)(fd, wide, argument);
}
