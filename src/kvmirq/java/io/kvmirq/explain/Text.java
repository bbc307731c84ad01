/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

/** Clauses that several answers share, or that are too long for a row. */
final class Text {
    static final String FDS = "look at the process's /proc/PID/fd";
    static final String KINDS =
            FDS + ": anon_inode:kvm-vm is a VM, kvm-vcpu:N a vCPU, kvm-vfio a device, [eventfd] an eventfd";
    static final String LOAD = "ls /sys/module/kvm_intel /sys/module/kvm_amd; modprobe the one of this CPU";
    static final String NO_DRIVER = "the node exists, but no driver serves it: load kvm_intel or kvm_amd";
    static final String PERMISSION = "this user has no permission to open it: the administrator must grant access";
    static final String ORDER = "the order of set-up: irqchip, vCPUs, routes, irqfds";
    static final String SLOT = "slot, guest address, size and user address of all slots";
    static final String ENTRIES = "the entries in order: the first that is wrong refuses the whole table";
    static final String LONG_IDS = "address bits 39:32 are set while 32-bit APIC ids (KVM_CAP_X2APIC_API) are enabled";
    static final String EVENTFDS = "both descriptors: /proc/PID/fd shows anon_inode:[eventfd]";
    static final String RANGE = "addr, len, flags and datamatch";
    static final String FORWARDING = "[PATCH v3 7/8] KVM: kvm-vfio: generic forwarding control, December 2014";
    static final String SET = "flags, index, start, count and argsz of vfio_irq_set";
    static final String OWNER = "a host driver has another device of the group";
    static final String GROUP = "/sys/kernel/iommu_groups/N/devices: bind each one to vfio-pci or to no driver";
    static final String NO_COMPATIBLE = "the iommufd has no address space for container requests";
    static final String COMPATIBLE = "VFIO_GROUP_SET_CONTAINER of a group with the iommufd first, or IOMMU_VFIO_IOAS";
    /** Source: {@code kvm_vgic_map_resources()} in vgic-init.c. Kernels without it destroy the VGIC instead. */
    static final String DEAD = "newer kernels, and stable ones with that fix, mark the VM dead";

    static final String WHO_HAS_IT =
            "which irqfd has it: eventfd-id in /proc/*/fdinfo is the same for every copy; deassign it there, or"
                    + " wait until that VM's last descriptor is closed (a forked child may hold one)";
    static final String MAP_RANGE =
            "size is 0, READ and WRITE are missing, a number is not a multiple of the page size, or the IOMMU"
                    + " reserves a part of the range";
    static final String RESERVED = "unmap it first: /sys/kernel/iommu_groups/N/reserved_regions";
    static final String HANDLERS =
            "the line's handlers in /proc/interrupts, /sys/module/vfio_pci/parameters/nointxmask";
    static final String X2APIC_FLAGS = "KVM_CHECK_EXTENSION(KVM_CAP_X2APIC_API) returns the known bits";

    private Text() {}
}
