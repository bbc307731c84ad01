/* SPDX-License-Identifier: Apache-2.0 */
#include "tape_record.h"

#include <linux/ioctl.h>

bool ioctl_before(struct ioctl_call *call, int fd, const struct file *file,
		  unsigned long request, uintptr_t argument)
{
	struct line *line = &call->line;
	struct room *room = &call->room;
	bool cut;
	size_t size = argument_size(request, argument, &cut);

	if (!room_make(room, call->small, sizeof(call->small), size * 2))
		return false;
	call->request = request;
	call->argument = argument;
	call->size = size;
	call->readable = copy(room->bytes, argument, size);
	begin(line, room->line, room->line_size, caller());
	put_call(line, "ioctl", fd, file->name);
	put_field(line, "request", (long long)request);
	put_field(line, "value", (long long)argument);
	if (cut)
		put(line, ",\"cut\":true");
	if (size) {
		put_bytes(line, "in", call->readable, room->bytes, size);
		put_pointee(line, request, argument);
	}
	return true;
}

void ioctl_after(struct ioctl_call *call, int result, int error)
{
	unsigned char *before = call->room.bytes;
	unsigned char *after = before + call->size;
	bool written = call->size &&
		       (_IOC_DIR(call->request) & _IOC_READ ||
			is_vfio(call->request)) &&
		       copy(after, call->argument, call->size);

	if (written &&
	    (!call->readable || memcmp(before, after, call->size)))
		put_bytes(&call->line, "out", true, after, call->size);
	end(&call->line, result, error);
	tape_append(&call->line);
	room_leave(&call->room);
}
