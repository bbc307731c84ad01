/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvmirq: the KVM interrupt path as plain C functions.
 *
 * Every function (except abi.c's) makes one system call, or the same one for
 * each of many operands until one fails, and returns >= 0 or -errno; errno
 * itself has no meaning for the caller. It keeps no state and no memory, never
 * retries (the caller sees -EINTR) and decides no policy. Every fd it creates
 * is O_CLOEXEC. Any thread may call any function.
 *
 * A caller checks that kvmirq_abi_version() is its own KVMIRQ_ABI_VERSION, and
 * kvmirq_abi_record_size() of each record it shares.
 */
#ifndef KVMIRQ_H
#define KVMIRQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by each change of a function or record. */
#define KVMIRQ_ABI_VERSION 2

/* Size in bytes of the state of one interrupt chip (x86). */
#define KVMIRQ_IRQCHIP_STATE_SIZE 512

/* Bytes of the header in front of the data of kvmirq_vfio_irqs_set(). */
#define KVMIRQ_VFIO_IRQS_HEADER_SIZE 20

#define KVMIRQ_EXPORT __attribute__((visibility("default")))

/* ---- abi.c ---- */

enum kvmirq_record {
	KVMIRQ_RECORD_ROUTE = 0, /* struct kvmirq_route */
	KVMIRQ_RECORD_IRQCHIP = 1, /* chip state of kvmirq_irqchip_get/set */
	KVMIRQ_RECORD_VFIO_IRQ = 2, /* struct kvmirq_vfio_irq */
	KVMIRQ_RECORD_IRQFD = 3, /* struct kvmirq_irqfd */
};

/* KVMIRQ_ABI_VERSION */
KVMIRQ_EXPORT int kvmirq_abi_version(void);
/* Size in bytes of a shared record; -EINVAL for an unknown record. */
KVMIRQ_EXPORT int kvmirq_abi_record_size(int record);

/* ---- fd.c ---- */

/* close(2). On Linux -EINTR closes the fd too: do not call again. */
KVMIRQ_EXPORT int kvmirq_fd_close(int fd);
/* A second fd for the same open file. */
KVMIRQ_EXPORT int kvmirq_fd_dup(int fd);

enum kvmirq_ready {
	KVMIRQ_READY_FD = 1, /* fd is readable, hung up or in error */
	KVMIRQ_READY_WAKE = 2, /* the wake fd is readable, hung up or in error */
};

/*
 * Wait until fd or wake (-1: none) is readable, at most timeout_ns (negative:
 * without limit). Returns KVMIRQ_READY_* bits, 0 on timeout, -EINTR when a
 * signal came first, -EBADF when fd or wake is not open.
 */
KVMIRQ_EXPORT int kvmirq_fd_wait(int fd, int wake, int64_t timeout_ns);

/* ---- eventfd.c ---- */

/* Non-blocking eventfds with count 0. */
KVMIRQ_EXPORT int kvmirq_eventfd_create(void);
KVMIRQ_EXPORT int kvmirq_eventfd_create_semaphore(void);
/*
 * Create count of them, into fds. The result says how many were made, and
 * stay: after the last of them, if they are fewer, stands -errno.
 */
KVMIRQ_EXPORT int kvmirq_eventfds_create(int32_t *fds, uint32_t count);
/*
 * Add count. -EAGAIN: the sum would exceed 2^64 - 2 (an eventfd without
 * O_NONBLOCK blocks instead); -EINVAL: count is 2^64 - 1.
 */
KVMIRQ_EXPORT int kvmirq_eventfd_signal(int fd, uint64_t count);
/* Read the count and reset it; a semaphore reads 1. -EAGAIN: it was 0. */
KVMIRQ_EXPORT int kvmirq_eventfd_drain(int fd, uint64_t *count);
/*
 * The same for an eventfd that another library or process created: never
 * blocks, with or without O_NONBLOCK. Linux before 5.8: -EOPNOTSUPP.
 */
KVMIRQ_EXPORT int kvmirq_eventfd_drain_foreign(int fd, uint64_t *count);

/* ---- vm.c ---- */

/* Open a KVM device node read-write; path is normally /dev/kvm. */
KVMIRQ_EXPORT int kvmirq_kvm_open(const char *path);
KVMIRQ_EXPORT int kvmirq_kvm_version(int kvm);
/* KVM_CHECK_EXTENSION on /dev/kvm or a VM; 0 for an unknown capability. */
KVMIRQ_EXPORT int kvmirq_capability_check(int fd, uint32_t capability);
KVMIRQ_EXPORT int kvmirq_vm_create(int kvm, uint64_t type);

/* ---- irqchip.c ---- */

KVMIRQ_EXPORT int kvmirq_irqchip_create(int vm);
/*
 * LAPICs in the kernel, PIC and IOAPIC in user space. pins: number of GSIs
 * reserved for user space, 0..4096.
 */
KVMIRQ_EXPORT int kvmirq_irqchip_create_split(int vm, uint32_t pins);
/*
 * State of chip (0 PIC master, 1 PIC slave, 2 IOAPIC): the union in the
 * kernel's struct kvm_irqchip, KVMIRQ_IRQCHIP_STATE_SIZE bytes. x86 only:
 * -ENOTTY elsewhere.
 */
KVMIRQ_EXPORT int kvmirq_irqchip_get(int vm, uint32_t chip, void *state);
KVMIRQ_EXPORT int kvmirq_irqchip_set(int vm, uint32_t chip, const void *state);
/* KVM_CAP_X2APIC_API with the given KVM_X2APIC_* bits. */
KVMIRQ_EXPORT int kvmirq_x2apic_enable(int vm, uint64_t bits);

/* ---- route.c ---- */

enum kvmirq_route_type {
	KVMIRQ_ROUTE_IRQCHIP = 1,
	KVMIRQ_ROUTE_MSI = 2,
};

struct kvmirq_route {
	uint32_t gsi;
	uint32_t type; /* enum kvmirq_route_type, or another type of the kernel */
	uint32_t flags; /* flags of kvm_irq_routing_entry */
	/* Of another type, the rest is the beginning of the entry's union. */
	uint32_t chip; /* IRQCHIP: 0 PIC master, 1 PIC slave, 2 IOAPIC */
	uint32_t pin; /* IRQCHIP */
	uint32_t data; /* MSI */
	uint64_t address; /* MSI */
	uint32_t devid; /* MSI, used with flags bit 0 */
	uint32_t reserved; /* 0 */
};

/* Replace the whole GSI routing table. On error the old table stays. */
KVMIRQ_EXPORT int kvmirq_routes_set(int vm, const struct kvmirq_route *routes,
				    uint32_t count);

/* ---- irqfd.c ---- */

KVMIRQ_EXPORT int kvmirq_irqfd_assign(int vm, int fd, uint32_t gsi);

struct kvmirq_irqfd {
	int32_t fd;
	uint32_t gsi;
};

/*
 * Assign count edges. The result says how many were assigned, and stay: the fd
 * of the next one, if they are fewer, is -errno.
 */
KVMIRQ_EXPORT int kvmirq_irqfds_assign(int vm, struct kvmirq_irqfd *irqfds,
				       uint32_t count);
KVMIRQ_EXPORT int kvmirq_irqfd_assign_level(int vm, int fd, int resample,
					    uint32_t gsi);
/* Succeeds for every open eventfd, also one that is not assigned. */
KVMIRQ_EXPORT int kvmirq_irqfd_deassign(int vm, int fd, uint32_t gsi);

/* ---- ioeventfd.c ---- */

/*
 * A guest write of len bytes (0: any length, MMIO and PIO) at address signals
 * fd instead of exiting. flags: the kernel's KVM_IOEVENTFD_FLAG_DATAMATCH (1)
 * and _PIO (2).
 */
KVMIRQ_EXPORT int kvmirq_ioeventfd_assign(int vm, int fd, uint64_t address,
					  uint32_t len, uint32_t flags,
					  uint64_t datamatch);
/* All arguments must equal those of the assign, else -ENOENT. */
KVMIRQ_EXPORT int kvmirq_ioeventfd_deassign(int vm, int fd, uint64_t address,
					    uint32_t len, uint32_t flags,
					    uint64_t datamatch);

/* ---- inject.c ---- */

/*
 * KVM_SIGNAL_MSI. > 0: number of vCPUs that took the interrupt; 0: no vCPU
 * took it (no such vCPU, or its LAPIC is off); -EPERM: the VM has no vCPU yet,
 * or a broadcast or hashed destination matches no vCPU (unrelated to
 * permissions).
 */
KVMIRQ_EXPORT int kvmirq_msi_signal(int vm, uint64_t address, uint32_t data,
				    uint32_t flags, uint32_t devid);
KVMIRQ_EXPORT int kvmirq_line_set(int vm, uint32_t gsi, int level);
/* status: as KVM_IRQ_LINE_STATUS writes it; -1: no irqchip took the line. */
KVMIRQ_EXPORT int kvmirq_line_set_status(int vm, uint32_t gsi, int level,
					 int32_t *status);

/* ---- device.c ---- */

/* 0 when a device of this type can be created; creates nothing. */
KVMIRQ_EXPORT int kvmirq_device_test(int vm, uint32_t type);
KVMIRQ_EXPORT int kvmirq_device_create(int vm, uint32_t type);
KVMIRQ_EXPORT int kvmirq_device_attr_has(int dev, uint32_t group,
					 uint64_t attr);
/* KVM_DEV_VFIO_FILE (GROUP before 6.6): add or remove one VFIO fd. */
KVMIRQ_EXPORT int kvmirq_device_vfio_add(int dev, int fd);
KVMIRQ_EXPORT int kvmirq_device_vfio_remove(int dev, int fd);

/* ---- vfio.c: device is a VFIO device ---- */

struct kvmirq_vfio_irq {
	uint32_t flags; /* the kernel's VFIO_IRQ_INFO_* */
	uint32_t count; /* 0: the device has no such interrupts */
};

/*
 * The interrupts of an index, which the bus driver numbers. -EINVAL: no such
 * index; on any error the record is unchanged.
 */
KVMIRQ_EXPORT int kvmirq_vfio_irq_info(int device, uint32_t index,
				       struct kvmirq_vfio_irq *irq);
/*
 * VFIO_DEVICE_SET_IRQS on count interrupts of an index, from start. flags: one
 * VFIO_IRQ_SET_DATA_* and one VFIO_IRQ_SET_ACTION_* of the kernel. set: size
 * bytes, of which this call writes the first KVMIRQ_VFIO_IRQS_HEADER_SIZE. The
 * data follows: count bytes (BOOL), count int32_t eventfds with -1 for none
 * (EVENTFD), or nothing (NONE). A size without a header is -EINVAL.
 *
 * 0: done. > 0: nothing was enabled, and this many vectors are available.
 * An error of the checks changes nothing. An error of a vector detaches all
 * from start to that one, even those that had an eventfd before.
 */
KVMIRQ_EXPORT int kvmirq_vfio_irqs_set(int device, uint32_t flags,
				       uint32_t index, uint32_t start,
				       uint32_t count, void *set,
				       uint32_t size);
/* -EINVAL: the device cannot be reset alone; -EAGAIN: its bus is locked. */
KVMIRQ_EXPORT int kvmirq_vfio_device_reset(int device);

/* ---- sys.c ---- */

/*
 * Any system call, numbered as the machine has it; the caller encodes the
 * arguments, and gives 0 for those that the call does not have. Returns the
 * kernel's own result: -errno from -4095 to -1.
 */
KVMIRQ_EXPORT int64_t kvmirq_call(int64_t number, uint64_t a, uint64_t b,
				  uint64_t c, uint64_t d, uint64_t e,
				  uint64_t f);

#ifdef __cplusplus
}
#endif

#endif /* KVMIRQ_H */
