/* SPDX-License-Identifier: Apache-2.0 */
/* Finished calls that open, close and map files, and their lines. */
#include "tape_record.h"

/* A finished call without an argument in memory. */
struct simple {
	const char *call;
	int fd;
	const char *file;
	const char *keys[3];
	long long values[3];
};

static void record(const struct simple *done, long long result, int error)
{
	char room[LINE_ROOM];
	struct line line;

	begin(&line, room, sizeof(room), caller());
	put_call(&line, done->call, done->fd, done->file);
	for (int i = 0; i < 3 && done->keys[i]; i++)
		put_field(&line, done->keys[i], done->values[i]);
	end(&line, result, error);
	tape_append(&line);
}

/* Whether the descriptor is one of the tape's. */
static bool is_recorded(int fd, struct file *file)
{
	file_of(fd, file);
	return is_ours(file) || is_eventfd(file);
}

void record_close(int fd)
{
	struct file file;

	if (is_recorded(fd, &file))
		record(&(struct simple){ .call = "close",
					 .fd = fd,
					 .file = file.name },
		       0, 0);
}

void record_fcntl(int fd, int command, int value, int result, int error)
{
	struct file file;

	if (is_recorded(fd, &file))
		record(&(struct simple){ .call = "fcntl",
					 .fd = fd,
					 .file = file.name,
					 .keys = { "request", "value" },
					 .values = { command, value } },
		       result, error);
}

void record_dup(const char *call, int from, int to, int flags, int result,
		int error)
{
	struct file file;

	if (is_recorded(from, &file))
		record(&(struct simple){ .call = call,
					 .fd = from,
					 .file = file.name,
					 .keys = { "value", "flags" },
					 .values = { to, flags } },
		       result, error);
}

void record_open(const char *call, uintptr_t path, int flags, int result,
		 int error)
{
	struct file file = { .name = file.room };

	if (result >= 0)
		file_of(result, &file);
	else if (copy(file.room, path, 5) && starts(file.room, "/dev/"))
		/* By character: what follows a short name may be unreadable. */
		for (size_t i = 5; i < 64 && file.room[i - 1]; i++)
			if (!copy(&file.room[i], path + i, 1))
				break;
	if (is_node(file.name))
		record(&(struct simple){ .call = call,
					 .fd = -1,
					 .file = file.name,
					 .keys = { "flags" },
					 .values = { flags } },
		       result, error);
}

/* Of a vCPU or device; the address is the program's own affair. */
void record_mmap(int fd, size_t length, int flags, off_t offset, int result,
		 int error)
{
	struct file file;

	file_of(fd, &file);
	if (starts(file.name, "anon_inode:kvm-vcpu") || is_vfio_device(&file))
		record(&(struct simple){ .call = "mmap",
					 .fd = fd,
					 .file = file.name,
					 .keys = { "value", "flags", "offset" },
					 .values = { (long long)length, flags,
						     offset } },
		       result, error);
}

void record_eventfd(unsigned int count, int flags, int result, int error)
{
	record(&(struct simple){ .call = "eventfd",
				 .fd = -1,
				 .file = "",
				 .keys = { "value", "flags" },
				 .values = { count, flags } },
	       result, error);
}
