/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does on an arm64 kernel what the rows of a script say, one call a row, and
 * prints each row with its result. The results are kept as resources of
 * Arm64Test, which does the same rows on the fake kernel.
 *
 *   armprobe ROWS
 *
 * What follows " = " in a row is not looked at, so a resource can be made anew
 * from itself.
 *
 * A row is an operation, the name its result gets if it gives a descriptor,
 * and arguments: names of descriptors, numbers, or names of numbers. "K" is
 * /dev/kvm. After "section" everything else is closed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORDS 16
#define HANDLES 32
#define ENTRIES 8
#define MEMORY (2 << 20)

static const struct {
	const char *name;
	uint64_t value;
} numbers[] = {
#define NUMBER(name) { #name, (uint64_t)(name) }
	NUMBER(KVM_GET_API_VERSION),
	NUMBER(KVM_GET_VCPU_MMAP_SIZE),
	NUMBER(KVM_CHECK_EXTENSION),
	NUMBER(KVM_CREATE_VM),
	NUMBER(KVM_CREATE_VCPU),
	NUMBER(KVM_CREATE_IRQCHIP),
	NUMBER(KVM_CREATE_DEVICE),
	NUMBER(KVM_GET_DEVICE_ATTR),
	NUMBER(KVM_SET_DEVICE_ATTR),
	NUMBER(KVM_HAS_DEVICE_ATTR),
	NUMBER(KVM_SET_GSI_ROUTING),
	NUMBER(KVM_IRQFD),
	NUMBER(KVM_IOEVENTFD),
	NUMBER(KVM_IRQ_LINE),
	NUMBER(KVM_IRQ_LINE_STATUS),
	NUMBER(KVM_SIGNAL_MSI),
	NUMBER(KVM_ENABLE_CAP),
	NUMBER(KVM_SET_USER_MEMORY_REGION),
	NUMBER(KVM_ARM_VCPU_INIT),
	NUMBER(KVM_ARM_PREFERRED_TARGET),
	NUMBER(KVM_GET_ONE_REG),
	NUMBER(KVM_SET_ONE_REG),
	NUMBER(KVM_GET_REG_LIST),
	NUMBER(KVM_ARM_MTE_COPY_TAGS),
	NUMBER(KVM_ARM_VCPU_FINALIZE),
	NUMBER(KVM_ARM_SET_DEVICE_ADDR),
	NUMBER(KVM_SET_GUEST_DEBUG),
	NUMBER(KVM_RUN),
	NUMBER(KVM_SET_SIGNAL_MASK),
	NUMBER(KVM_GET_MP_STATE),
	NUMBER(KVM_SET_MP_STATE),
	NUMBER(KVM_GET_VCPU_EVENTS),
	NUMBER(KVM_SET_VCPU_EVENTS),
	NUMBER(KVM_GET_STATS_FD),
	NUMBER(KVM_GET_DIRTY_LOG),
	NUMBER(KVM_REGISTER_COALESCED_MMIO),
	NUMBER(KVM_UNREGISTER_COALESCED_MMIO),
	NUMBER(KVM_DEV_TYPE_VFIO),
	NUMBER(KVM_DEV_TYPE_ARM_VGIC_V2),
	NUMBER(KVM_DEV_TYPE_ARM_VGIC_V3),
	NUMBER(KVM_DEV_TYPE_ARM_VGIC_ITS),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_ADDR),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_DIST_REGS),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_CPU_REGS),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_NR_IRQS),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_CTRL),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_REDIST_REGS),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO),
	NUMBER(KVM_DEV_ARM_VGIC_GRP_ITS_REGS),
	NUMBER(KVM_DEV_ARM_VGIC_CTRL_INIT),
	NUMBER(KVM_DEV_ARM_ITS_SAVE_TABLES),
	NUMBER(KVM_DEV_ARM_ITS_RESTORE_TABLES),
	NUMBER(KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES),
	NUMBER(KVM_DEV_ARM_ITS_CTRL_RESET),
	NUMBER(KVM_VGIC_V2_ADDR_TYPE_DIST),
	NUMBER(KVM_VGIC_V2_ADDR_TYPE_CPU),
	NUMBER(KVM_VGIC_V3_ADDR_TYPE_DIST),
	NUMBER(KVM_VGIC_V3_ADDR_TYPE_REDIST),
	NUMBER(KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION),
	NUMBER(KVM_VGIC_ITS_ADDR_TYPE),
	NUMBER(KVM_ARM_TARGET_GENERIC_V8),
	NUMBER(KVM_ARM_VCPU_POWER_OFF),
	NUMBER(KVM_ARM_VCPU_PSCI_0_2),
	NUMBER(KVM_ARM_IRQ_TYPE_SHIFT),
	NUMBER(KVM_ARM_IRQ_VCPU_SHIFT),
	NUMBER(KVM_ARM_IRQ_VCPU2_SHIFT),
	NUMBER(KVM_ARM_IRQ_TYPE_CPU),
	NUMBER(KVM_ARM_IRQ_TYPE_SPI),
	NUMBER(KVM_ARM_IRQ_TYPE_PPI),
	NUMBER(KVM_VM_TYPE_ARM_IPA_SIZE_MASK),
	NUMBER(KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT),
};

static struct {
	char name[8];
	int fd;
} handles[HANDLES];

static char *memory;

static void fail(const char *why, const char *what)
{
	fprintf(stderr, "armprobe: %s: %s\n", why, what);
	exit(2);
}

static uint64_t number(const char *word)
{
	char *end;
	uint64_t value = strtoull(word, &end, 0);

	if (*end == '\0')
		return value;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (!strcmp(word, numbers[i].name))
			return numbers[i].value;
	}
	fail("no such number", word);
	return 0;
}

static uint32_t narrow(const char *word)
{
	return (uint32_t)number(word);
}

static int handle(const char *name)
{
	if (!strcmp(name, "-1"))
		return -1;
	for (int i = 0; i < HANDLES; i++) {
		if (handles[i].name[0] && !strcmp(handles[i].name, name))
			return handles[i].fd;
	}
	fail("no such descriptor", name);
	return -1;
}

static void keep(const char *name, int fd)
{
	for (int i = 0; i < HANDLES; i++) {
		if (!handles[i].name[0]) {
			snprintf(handles[i].name, sizeof(handles[i].name), "%s",
				 name);
			handles[i].fd = fd;
			return;
		}
	}
	fail("too many descriptors", name);
}

static int drop(const char *name)
{
	for (int i = 0; i < HANDLES; i++) {
		if (!strcmp(handles[i].name, name)) {
			handles[i].name[0] = '\0';
			return close(handles[i].fd);
		}
	}
	fail("no such descriptor", name);
	return -1;
}

/* Last made first closed: what hangs on a VM goes before it. */
static void begin(void)
{
	for (int i = HANDLES - 1; i >= 0; i--) {
		if (handles[i].name[0])
			close(handles[i].fd);
		handles[i].name[0] = '\0';
	}
	keep("K", open("/dev/kvm", O_RDWR | O_CLOEXEC));
}

static void result(int value)
{
	if (value < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%d\n", value);
}

static void opened(const char *name, int fd)
{
	if (fd >= 0) {
		keep(name, fd);
		printf("fd\n");
	} else {
		result(fd);
	}
}

static void device(char **word)
{
	struct kvm_create_device create = {
		.type = narrow(word[3]),
		.fd = 0xffffffff,
		.flags = narrow(word[4]),
	};
	int done = ioctl(handle(word[2]), KVM_CREATE_DEVICE, &create);

	if (done == 0 && create.fd != 0xffffffff)
		opened(word[1], (int)create.fd);
	else
		result(done);
}

static void attribute(char **word, int words)
{
	uint64_t value = 0;
	struct kvm_device_attr attr = {
		.group = narrow(word[2]),
		.attr = number(word[3]),
		.addr = (uintptr_t)&value,
	};
	unsigned long request = KVM_HAS_DEVICE_ATTR;
	int done;

	if (words > 4 && !strcmp(word[4], "null"))
		attr.addr = 0;
	else if (words > 4)
		value = number(word[4]);
	if (!strcmp(word[0], "set"))
		request = KVM_SET_DEVICE_ATTR;
	if (!strcmp(word[0], "get"))
		request = KVM_GET_DEVICE_ATTR;
	done = ioctl(handle(word[1]), request, &attr);
	if (done == 0 && request == KVM_GET_DEVICE_ATTR)
		printf("0x%llx\n", (unsigned long long)value);
	else
		result(done);
}

static void routes(char **word, int words)
{
	struct {
		struct kvm_irq_routing header;
		struct kvm_irq_routing_entry entries[ENTRIES];
	} table = { .header = { .nr = narrow(word[2]),
				.flags = narrow(word[3]) } };

	for (int i = 4; i < words && i - 4 < ENTRIES; i++) {
		struct kvm_irq_routing_entry *entry = &table.entries[i - 4];
		unsigned long long f[6] = { 0 };

		sscanf(word[i], "%lli:%lli:%lli:%lli:%lli:%lli", &f[0], &f[1],
		       &f[2], &f[3], &f[4], &f[5]);
		entry->gsi = (uint32_t)f[0];
		entry->type = (uint32_t)f[1];
		entry->flags = (uint32_t)f[2];
		if (entry->type == KVM_IRQ_ROUTING_MSI) {
			entry->u.msi.address_lo = (uint32_t)f[3];
			entry->u.msi.address_hi = (uint32_t)(f[3] >> 32);
			entry->u.msi.data = (uint32_t)f[4];
			entry->u.msi.devid = (uint32_t)f[5];
		} else {
			entry->u.irqchip.irqchip = (uint32_t)f[3];
			entry->u.irqchip.pin = (uint32_t)f[4];
		}
	}
	result(ioctl(handle(word[1]), KVM_SET_GSI_ROUTING, &table));
}

static void vcpu_init(char **word, int words)
{
	struct kvm_vcpu_init init = { .target = narrow(word[2]) };

	for (int i = 3; i < words && i < 10; i++)
		init.features[i - 3] = narrow(word[i]);
	result(ioctl(handle(word[1]), KVM_ARM_VCPU_INIT, &init));
}

static void preferred(char **word)
{
	struct kvm_vcpu_init init = { .target = 0xffffffff };
	int done = ioctl(handle(word[1]), KVM_ARM_PREFERRED_TARGET, &init);

	if (done == 0)
		printf("%u\n", init.target);
	else
		result(done);
}

static void irqfd(char **word, int words)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)handle(word[2]),
		.gsi = narrow(word[3]),
		.flags = narrow(word[4]),
		.resamplefd = words > 5 ? (uint32_t)handle(word[5]) : 0,
	};

	result(ioctl(handle(word[1]), KVM_IRQFD, &irqfd));
}

static void ioeventfd(char **word)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = handle(word[2]),
		.addr = number(word[3]),
		.len = narrow(word[4]),
		.flags = narrow(word[5]),
		.datamatch = number(word[6]),
	};

	result(ioctl(handle(word[1]), KVM_IOEVENTFD, &ioeventfd));
}

static void line(char **word)
{
	struct kvm_irq_level level = { .irq = narrow(word[2]),
				       .level = narrow(word[3]) };
	int status = !strcmp(word[0], "status");
	int done = ioctl(handle(word[1]),
			 status ? KVM_IRQ_LINE_STATUS : KVM_IRQ_LINE, &level);

	if (done == 0 && status)
		printf("0x%x\n", level.irq);
	else
		result(done);
}

static void msi(char **word)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)number(word[2]),
		.address_hi = (uint32_t)(number(word[2]) >> 32),
		.data = narrow(word[3]),
		.flags = narrow(word[4]),
		.devid = narrow(word[5]),
	};

	result(ioctl(handle(word[1]), KVM_SIGNAL_MSI, &msi));
}

static void slot(char **word)
{
	struct kvm_userspace_memory_region region = {
		.slot = narrow(word[2]),
		.flags = narrow(word[3]),
		.guest_phys_addr = number(word[4]),
		.memory_size = number(word[5]),
		.userspace_addr = (uintptr_t)memory,
	};

	result(ioctl(handle(word[1]), KVM_SET_USER_MEMORY_REGION, &region));
}

static void enable(char **word)
{
	struct kvm_enable_cap cap = {
		.cap = narrow(word[2]),
		.flags = narrow(word[3]),
		.args = { number(word[4]) },
	};

	result(ioctl(handle(word[1]), KVM_ENABLE_CAP, &cap));
}

static void take(char **word)
{
	uint64_t count;

	if (read(handle(word[1]), &count, sizeof(count)) < 0)
		result(-1);
	else
		printf("%llu\n", (unsigned long long)count);
}

/* What KVM leaves to a worker is done by then. */
static void settle(void)
{
	usleep(50000);
}

static void put(char **word)
{
	uint64_t count = number(word[2]);

	result((int)write(handle(word[1]), &count, sizeof(count)));
	settle();
}

static void shut(char **word)
{
	result(drop(word[1]));
	settle();
}

static void run(char **word, int words)
{
	const char *what = word[0];

	if (!strcmp(what, "number"))
		printf("0x%llx\n", (unsigned long long)number(word[1]));
	else if (!strcmp(what, "ioctl"))
		result(ioctl(handle(word[1]), number(word[2]),
			     number(word[3])));
	else if (!strcmp(what, "cap"))
		result(ioctl(handle(word[1]), KVM_CHECK_EXTENSION,
			     number(word[2])));
	else if (!strcmp(what, "vm"))
		opened(word[1], ioctl(handle("K"), KVM_CREATE_VM,
				      number(word[2])));
	else if (!strcmp(what, "vcpu"))
		opened(word[1], ioctl(handle(word[2]), KVM_CREATE_VCPU,
				      number(word[3])));
	else if (!strcmp(what, "init"))
		vcpu_init(word, words);
	else if (!strcmp(what, "preferred"))
		preferred(word);
	else if (!strcmp(what, "device"))
		device(word);
	else if (!strcmp(what, "set") || !strcmp(what, "get") ||
		 !strcmp(what, "has"))
		attribute(word, words);
	else if (!strcmp(what, "eventfd"))
		opened(word[1], eventfd(narrow(word[2]),
					EFD_NONBLOCK | EFD_CLOEXEC));
	else if (!strcmp(what, "put"))
		put(word);
	else if (!strcmp(what, "take"))
		take(word);
	else if (!strcmp(what, "close"))
		shut(word);
	else if (!strcmp(what, "irqfd"))
		irqfd(word, words);
	else if (!strcmp(what, "ioeventfd"))
		ioeventfd(word);
	else if (!strcmp(what, "routes"))
		routes(word, words);
	else if (!strcmp(what, "line") || !strcmp(what, "status"))
		line(word);
	else if (!strcmp(what, "msi"))
		msi(word);
	else if (!strcmp(what, "memory"))
		slot(word);
	else if (!strcmp(what, "enable"))
		enable(word);
	else
		fail("no such operation", what);
}

int main(int argc, char **argv)
{
	char text[512];
	FILE *rows;

	if (argc != 2)
		fail("usage", "armprobe ROWS");
	rows = fopen(argv[1], "r");
	if (!rows)
		fail("cannot open", argv[1]);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	begin();
	while (fgets(text, sizeof(text), rows)) {
		char *word[WORDS] = { NULL };
		char *rest = text;
		int words = 0;

		char *known;

		text[strcspn(text, "\n")] = '\0';
		known = text[0] == '#' ? NULL : strstr(text, " = ");
		if (known)
			*known = '\0';
		printf("%s", text);
		if (!strncmp(text, "section", 7))
			begin();
		if (!text[0] || text[0] == '#' || !strncmp(text, "section", 7)) {
			printf("\n");
			continue;
		}
		printf(" = ");
		while (words < WORDS && (word[words] = strsep(&rest, " ")))
			words++;
		run(word, words);
		fflush(stdout);
	}
	return 0;
}
