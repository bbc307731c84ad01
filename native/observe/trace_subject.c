/* SPDX-License-Identifier: Apache-2.0 */
/* The process whose calls are recorded: another one, which has stopped. */
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct caller subject;
static char process_path[32]; /* its directory in /proc */

void subject_set(pid_t process, pid_t thread)
{
	subject = (struct caller){ .process = process, .thread = thread };
	snprintf(process_path, sizeof(process_path), "/proc/%d", thread);
}

struct caller caller(void)
{
	return subject;
}

void subject_header(void)
{
	char link[sizeof(process_path) + 4];

	snprintf(link, sizeof(link), "%s/exe", process_path);
	tape_header(subject.process, link);
}

pid_t process_of(pid_t thread)
{
	char path[32], text[256];
	pid_t process = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", thread);
	status = fopen(path, "re");
	while (status && !process && fgets(text, sizeof(text), status))
		if (starts(text, "Tgid:"))
			process = atoi(text + strlen("Tgid:"));
	if (status)
		fclose(status);
	return process;
}

/* Files: another process may change them, so none is remembered. */

/* A link in /proc begins at our root, and the program's may be below. */
static void root_strip(struct file *file)
{
	char link[sizeof(process_path) + 5], root[sizeof(file->room)];
	ssize_t length;

	snprintf(link, sizeof(link), "%s/root", process_path);
	length = readlink(link, root, sizeof(root) - 1);
	root[length < 0 ? 0 : length] = '\0';
	if (length > 1 && starts(file->name, root) &&
	    file->name[length] == '/')
		file->name += length;
}

void file_of(int fd, struct file *file)
{
	file_read(process_path, fd, file);
	if (*file->name == '/' && !is_ours(file))
		root_strip(file);
}

bool file_is_other(int fd)
{
	(void)fd;
	return false;
}

/* Memory */

bool copy(void *to, uintptr_t from, size_t size)
{
	struct iovec local = { .iov_base = to, .iov_len = size };
	struct iovec remote = { .iov_base = (void *)from, .iov_len = size };

	return !size || process_vm_readv((pid_t)subject.thread, &local, 1,
					 &remote, 1, 0) == (ssize_t)size;
}

bool copy_used(void *to, uintptr_t from, size_t size)
{
	return copy(to, from, size);
}
