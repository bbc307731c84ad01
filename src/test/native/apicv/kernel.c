/* SPDX-License-Identifier: Apache-2.0 */
#include "apicv.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdlib.h>

#define BTF_SIZE	(32 << 20)	/* more than that of vmlinux */
#define MOST_VMS	1000

/* Types and strings of a module continue the numbers of vmlinux. */
struct btf {
	const struct btf *base;
	const char *types, *types_end, *strings;
	uint32_t first_string, string_size;
};

static struct btf vmlinux, module;
static int kcore;
static Elf64_Phdr *segments;
static int segment_count;

/* The bytes behind a struct btf_type: once, and for each that it counts. */
static const struct { uint8_t once, each; } tails[] = {
	[BTF_KIND_INT] = { sizeof(uint32_t), 0 },
	[BTF_KIND_ARRAY] = { sizeof(struct btf_array), 0 },
	[BTF_KIND_STRUCT] = { 0, sizeof(struct btf_member) },
	[BTF_KIND_UNION] = { 0, sizeof(struct btf_member) },
	[BTF_KIND_ENUM] = { 0, sizeof(struct btf_enum) },
	[BTF_KIND_FUNC_PROTO] = { 0, sizeof(struct btf_param) },
	[BTF_KIND_VAR] = { sizeof(struct btf_var), 0 },
	[BTF_KIND_DATASEC] = { 0, sizeof(struct btf_var_secinfo) },
	[BTF_KIND_DECL_TAG] = { sizeof(struct btf_decl_tag), 0 },
	[BTF_KIND_ENUM64] = { 0, sizeof(struct btf_enum64) },
};

static void load_btf(struct btf *btf, const char *path, const struct btf *base)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *bytes = malloc(BTF_SIZE);
	const struct btf_header *header = (struct btf_header *)bytes;
	size_t length = 0;
	ssize_t size;

	if (fd < 0 || !bytes)
		fail("%s cannot be read", path);
	while ((size = read(fd, bytes + length, BTF_SIZE - length)) > 0)
		length += size;
	close(fd);
	errno = 0;
	if (length < sizeof(*header) || header->magic != BTF_MAGIC ||
	    header->hdr_len + header->str_off + header->str_len > length)
		fail("%s has no BTF", path);
	btf->base = base;
	btf->types = bytes + header->hdr_len + header->type_off;
	btf->types_end = btf->types + header->type_len;
	btf->strings = bytes + header->hdr_len + header->str_off;
	btf->string_size = header->str_len;
	btf->first_string = base ? base->string_size : 0;
}

static bool is_named(const struct btf *btf, uint32_t offset, const char *name)
{
	if (btf->base && offset < btf->first_string)
		btf = btf->base;
	return !strcmp(btf->strings + offset - btf->first_string, name);
}

/* The offset of a member in bytes, or -1. */
static long search(const struct btf *btf, const char *structure,
		   const char *name)
{
	const struct btf_type *type;
	const char *at;
	uint32_t kind, count, i;

	errno = 0;
	for (at = btf->types; at < btf->types_end;
	     at += sizeof(*type) + tails[kind].once + tails[kind].each * count) {
		type = (const struct btf_type *)at;
		kind = BTF_INFO_KIND(type->info);
		count = BTF_INFO_VLEN(type->info);
		if (kind >= sizeof(tails) / sizeof(*tails))
			fail("BTF has a type of unknown kind %u", kind);
		if (kind != BTF_KIND_STRUCT ||
		    !is_named(btf, type->name_off, structure))
			continue;
		for (i = 0; i < count; i++) {
			const struct btf_member *member =
				(const struct btf_member *)(type + 1) + i;

			/* Without its size, if it is a bit field. */
			if (is_named(btf, member->name_off, name))
				return BTF_MEMBER_BIT_OFFSET(member->offset) / 8;
		}
	}
	return -1;
}

/* A module's BTF leaves out types that vmlinux has, too. */
static size_t offset_of(const char *structure, const char *name)
{
	long offset = search(&module, structure, name);

	if (offset < 0)
		offset = search(&vmlinux, structure, name);
	if (offset < 0)
		fail("the kernel's BTF has no %s.%s", structure, name);
	return offset;
}

static uint64_t address_of(const char *name)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	unsigned long long address, found = 0;
	char line[512], other[256];

	if (!symbols)
		fail("without /proc/kallsyms, KVM's VMs cannot be found");
	while (!found && fgets(line, sizeof(line), symbols))
		if (sscanf(line, "%llx %*c %255s", &address, other) == 2 &&
		    !strcmp(other, name))
			found = address;
	fclose(symbols);
	errno = 0;
	if (!found)
		fail("/proc/kallsyms hides or lacks the address of %s", name);
	return found;
}

void kernel_open(void)
{
	Elf64_Ehdr header;
	size_t size;

	load_btf(&vmlinux, "/sys/kernel/btf/vmlinux", NULL);
	load_btf(&module, "/sys/kernel/btf/kvm_intel", &vmlinux);
	kcore = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	if (kcore < 0 || pread(kcore, &header, sizeof(header), 0) !=
	    (ssize_t)sizeof(header))
		fail("without /proc/kcore, descriptors cannot be read");
	segment_count = header.e_phnum;
	size = segment_count * sizeof(*segments);
	segments = malloc(size);
	if (!segments ||
	    pread(kcore, segments, size, header.e_phoff) != (ssize_t)size)
		fail("/proc/kcore has no program headers");
}

void kernel_read(uint64_t address, void *to, size_t size)
{
	const Elf64_Phdr *one;

	for (one = segments; one < segments + segment_count; one++)
		if (one->p_type == PT_LOAD && address >= one->p_vaddr &&
		    address - one->p_vaddr + size <= one->p_memsz &&
		    pread(kcore, to, size, one->p_offset + address -
			  one->p_vaddr) == (ssize_t)size)
			return;
	errno = 0;
	fail("/proc/kcore does not have %zu bytes at %#llx", size,
	     (unsigned long long)address);
}

static uint64_t word(uint64_t address)
{
	uint64_t value;

	kernel_read(address, &value, sizeof(value));
	return value;
}

void kernel_find_pids(uint64_t pids[VCPUS])
{
	size_t list = offset_of("kvm", "vm_list");
	size_t owner = offset_of("kvm", "userspace_pid");
	size_t array = offset_of("kvm", "vcpu_array") +
		       offset_of("xarray", "xa_head");
	size_t slots = offset_of("xa_node", "slots");
	size_t pid = offset_of("vcpu_vmx", "pi_desc");
	uint64_t head = address_of("vm_list"), at = head, node;
	int id, vms = 0;

	do {
		at = word(at);
		if (at == head || ++vms > MOST_VMS)
			fail("KVM's list has no VM of this process");
	} while ((pid_t)word(at - list + owner) != getpid());
	/* Two vCPUs are in one node, whose address has the bits 10. */
	node = word(at - list + array) & ~3ULL;
	for (id = 0; id < VCPUS; id++)
		pids[id] = word(node + slots + id * sizeof(node)) + pid;
}
