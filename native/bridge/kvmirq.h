/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvmirq: the KVM interrupt path as plain C functions.
 *
 * Every function (except abi.c's) makes one system call, or the same one for
 * each of many operands until one fails, and returns >= 0 or -errno; errno has
 * no meaning. kvmirq_routes_set() may also map memory. No function keeps state
 * or memory, retries (the caller sees -EINTR), is a cancellation point or has a
 * policy. Every fd is O_CLOEXEC. Any thread may call any function.
 *
 * A caller checks that kvmirq_abi_version() is its own KVMIRQ_ABI_VERSION, and
 * kvmirq_abi_record_size() of each record it shares.
 *
 * The build declares the functions in functions.h, as each .c defines them.
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

enum kvmirq_record {
	KVMIRQ_RECORD_ROUTE = 0, /* struct kvmirq_route */
	KVMIRQ_RECORD_IRQCHIP = 1, /* chip state of kvmirq_irqchip_get/set */
	KVMIRQ_RECORD_VFIO_IRQ = 2, /* struct kvmirq_vfio_irq */
	KVMIRQ_RECORD_IRQFD = 3, /* struct kvmirq_irqfd */
};

enum kvmirq_ready {
	KVMIRQ_READY_FD = 1, /* fd is readable, hung up or in error */
	KVMIRQ_READY_WAKE = 2, /* the wake fd is readable, hung up or in error */
};

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

struct kvmirq_irqfd {
	int32_t fd;
	uint32_t gsi;
};

struct kvmirq_vfio_irq {
	uint32_t flags; /* the kernel's VFIO_IRQ_INFO_* */
	uint32_t count; /* 0: the device has no such interrupts */
};

#include "functions.h"

#ifdef __cplusplus
}
#endif

#endif /* KVMIRQ_H */
