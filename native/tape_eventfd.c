/* SPDX-License-Identifier: Apache-2.0 */
#include "tape_calls.h"

EXPORT int eventfd(unsigned int count, int flags)
{
	int fd = NEXT(eventfd)(count, flags);

	if (!tape_is_open())
		return fd;
	file_forget(fd);
	record(&(struct simple){ .call = "eventfd",
				 .fd = -1,
				 .file = "",
				 .keys = { "value", "flags" },
				 .values = { count, flags } },
	       fd);
	return fd;
}
