/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a process by their names in /proc, and which of them are recorded. */
#include "tape.h"

#include <unistd.h>

void file_read(const char *process, int fd, struct file *file)
{
	char path[48];
	struct line line = { path, path, path + sizeof(path) - 1 };
	ssize_t length;

	put(&line, process);
	put(&line, "/fd/");
	put_number(&line, fd);
	*line.at = '\0';
	length = readlink(path, file->room, sizeof(file->room) - 1);
	file->room[length < 0 ? 0 : length] = '\0';
	file->name = file->room;
}

bool is_eventfd(const struct file *file)
{
	return !strcmp(file->name, "anon_inode:[eventfd]");
}

bool is_node(const char *path)
{
	return !strcmp(path, "/dev/kvm") || starts(path, "/dev/vfio/") ||
	       !strcmp(path, "/dev/iommu");
}

bool is_vfio_device(const struct file *file)
{
	return starts(file->name, "anon_inode:[vfio-device]") ||
	       starts(file->name, "/dev/vfio/devices/");
}

bool is_ours(const struct file *file)
{
	return is_node(file->name) || starts(file->name, "anon_inode:kvm-") ||
	       is_vfio_device(file);
}
