/* SPDX-License-Identifier: Apache-2.0 */
#include "tape.h"

#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define MAX_COUNTED (8 + 4096 * 48) /* the largest table of routes */
#define MAX_ARGSZ 16384
#define MAX_TEXT 64
#define MAX_VALUE 65535 /* no page of a program begins below */

/*
 * Arguments of ioctls. A number says how long most are; what else there is to
 * know comes from $KVMIRQ_TAPE_LENGTHS, as io.kvmirq.uapi.UapiTable has it:
 * words "request:size+each@at*count,address*bytes", all hex, each but the size
 * left out when 0. So this file lists no request.
 */

#define MAX_KNOWN 64

/* A request whose number does not say all. */
struct known {
	unsigned long request;
	size_t size; /* 0: a string */
	size_t each; /* bytes of an element */
	size_t count_at; /* where the structure counts them */
	size_t address_at; /* of something small that is recorded too */
	size_t bytes;
};

static struct known table[MAX_KNOWN];
static size_t known_count;

static size_t number(const char **at, char mark)
{
	char *end;
	size_t value;

	if (mark && **at != mark)
		return 0;
	value = strtoul(*at + (mark != '\0'), &end, 16);
	*at = end;
	return value;
}

__attribute__((constructor)) static void read_lengths(void)
{
	const char *words = getenv("KVMIRQ_TAPE_LENGTHS");

	while (words && *words && known_count < MAX_KNOWN) {
		struct known *one = &table[known_count++];

		one->request = number(&words, '\0');
		one->size = number(&words, ':');
		one->each = number(&words, '+');
		one->count_at = number(&words, '@');
		one->address_at = number(&words, ',');
		one->bytes = number(&words, '*');
		words += strcspn(words, " ");
		words += strspn(words, " ");
	}
}

static const struct known *find(unsigned long request)
{
	for (size_t i = 0; i < known_count; i++)
		if (table[i].request == request)
			return &table[i];
	return NULL;
}

bool is_vfio(unsigned long request)
{
	return _IOC_TYPE(request) == VFIO_TYPE;
}

static size_t limited(unsigned long long size, size_t most, bool *cut)
{
	*cut = size > most;
	return *cut ? most : (size_t)size;
}

static size_t text_size(uintptr_t argument)
{
	char c;

	for (size_t length = 0; length < MAX_TEXT; length++)
		if (!copy(&c, argument + length, 1) || !c)
			return length + 1;
	return MAX_TEXT;
}

size_t argument_size(unsigned long request, uintptr_t argument, bool *cut)
{
	const struct known *known = find(request);
	uint32_t count;

	*cut = false;
	if (known && !known->size)
		return text_size(argument);
	if (known && known->each) {
		if (!copy(&count, argument + known->count_at, sizeof(count)))
			return known->size;
		return limited(known->size + (uint64_t)count * known->each,
			       MAX_COUNTED, cut);
	}
	if (known)
		return known->size;
	if (!is_vfio(request) || _IOC_SIZE(request))
		return _IOC_SIZE(request);
	if (!copy(&count, argument, sizeof(count)))
		return argument > MAX_VALUE ? sizeof(count) : 0;
	return count < sizeof(count) ? sizeof(count) :
				       limited(count, MAX_ARGSZ, cut);
}

void put_pointee(struct line *line, unsigned long request, uintptr_t argument)
{
	const struct known *known = find(request);
	unsigned char bytes[2 * sizeof(uint64_t)];
	uint64_t address;
	size_t size;

	if (!known || !known->bytes || known->bytes > sizeof(bytes) ||
	    !copy(&address, argument + known->address_at, sizeof(address)))
		return;
	/* It may be shorter, at the end of the program's memory. */
	for (size = known->bytes; size > sizeof(uint32_t); size /= 2)
		if (copy(bytes, address, size))
			break;
	put_bytes(line, "data", copy(bytes, address, size), bytes, size);
}
