/* SPDX-License-Identifier: Apache-2.0 */
#include "tape_calls.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>

static int ioctl_recorded(int fd, unsigned long request, uintptr_t argument,
			  const struct file *file, int error)
{
	unsigned char small[SMALL_ROOM(SMALL * 2)];
	bool cut, readable, written;
	size_t size = argument_size(request, argument, &cut);
	unsigned char *before, *after;
	struct room room;
	struct line line;
	int ret;

	if (!room_make(&room, small, sizeof(small), size * 2)) {
		errno = error;
		return NEXT(ioctl)(fd, request, argument);
	}
	before = room.bytes;
	after = before + size;
	readable = copy(before, argument, size);
	begin(&line, room.line, room.line_size, "ioctl", fd, file->name);
	put_field(&line, "request", (long long)request);
	put_field(&line, "value", (long long)argument);
	if (cut)
		put(&line, ",\"cut\":true");
	if (size) {
		put_bytes(&line, "in", readable, before, size);
		put_pointee(&line, request, argument);
	}
	errno = error;
	ret = NEXT(ioctl)(fd, request, argument);
	error = errno;
	if (ret > 0 && file_is_other(ret)) /* it may be a new file */
		file_forget(ret);
	written = size && (_IOC_DIR(request) & _IOC_READ || is_vfio(request)) &&
		  copy(after, argument, size);
	if (written && (!readable || memcmp(before, after, size)))
		put_bytes(&line, "out", true, after, size);
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
