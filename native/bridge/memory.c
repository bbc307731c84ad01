/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gcc calls these two where it copies or clears a structure, also in a library
 * without libc. They are of this library alone.
 */
#include <stddef.h>

__attribute__((used, visibility("hidden"))) void *memcpy(void *restrict to,
							 const void *restrict from,
							 size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
	return to;
}

__attribute__((used, visibility("hidden"))) void *memset(void *to, int byte,
							 size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)to)[i] = (unsigned char)byte;
	return to;
}
