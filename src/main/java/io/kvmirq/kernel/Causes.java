/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import io.kvmirq.Errno;
import java.util.Map;

/** The likely cause of an errno from a call, one clause each; measured on 6.18 unless a kernel is named. */
final class Causes {
    private static final String OTHER_HYPERVISOR =
            "another hypervisor holds the CPU's virtualisation: stop it, or unload its module";
    private static final String NO_DRIVER = "the node exists but no driver answers: load kvm_intel or kvm_amd";
    private static final String FOREIGN_OR_DEAD =
            "the VM belongs to another process, and KVM serves only the one that created it, or KVM has marked it dead";

    private static final Map<String, String> BY_CALL = Map.ofEntries(
            Map.entry("open ENOENT", "no KVM here: load kvm_intel or kvm_amd, or enable virtualisation in firmware"),
            Map.entry("open EACCES", "this user may not open it: join the group that owns it, usually kvm"),
            Map.entry("open EPERM", "a container or LSM rule forbids it: pass the device in"),
            Map.entry("open EBUSY", OTHER_HYPERVISOR),
            Map.entry("open ENXIO", NO_DRIVER),
            Map.entry("open ENODEV", NO_DRIVER),
            Map.entry("kvm version ENOTTY", "the node is not a KVM device"),
            Map.entry("vm create EBUSY", OTHER_HYPERVISOR),
            Map.entry("irqchip create EEXIST", "this VM already has an irqchip, full or split"),
            Map.entry("irqchip create EINVAL", "vCPUs exist already: create the irqchip first"),
            Map.entry("irqchip create EIO", FOREIGN_OR_DEAD),
            Map.entry(
                    "split irqchip create EEXIST",
                    "this VM already has an irqchip or vCPUs: make the split irqchip first"),
            Map.entry("split irqchip create EINVAL", "more than 4096 pins"),
            Map.entry("ioapic get ENXIO", "this VM has no full in-kernel irqchip"),
            Map.entry("ioapic set ENXIO", "this VM has no full in-kernel irqchip"),
            Map.entry(
                    "routes set EINVAL",
                    "no in-kernel irqchip, or an irqchip route on a split one, or an MSI address whose bits 39:32 are set"
                            + " while 32-bit APIC ids are enabled"),
            Map.entry("routes set EIO", FOREIGN_OR_DEAD),
            Map.entry("irqfd assign EBUSY", "this eventfd already feeds a GSI, maybe in another VM"),
            Map.entry("irqfd assign EINVAL", "the VM has no in-kernel irqchip, or the descriptor is not an eventfd"),
            Map.entry("irqfd assign EAGAIN", "the interrupt controller is not initialised yet"),
            Map.entry("irqfd assign EIO", FOREIGN_OR_DEAD),
            Map.entry("irqfd assign level EBUSY", "this eventfd already feeds a GSI, maybe in another VM"),
            Map.entry("irqfd assign level EINVAL", "resampling needs the full in-kernel irqchip, and two eventfds"),
            Map.entry(
                    "ioeventfd assign EEXIST",
                    "another ioeventfd already takes this address with the same or any data"),
            Map.entry("ioeventfd assign EINVAL", "the range wraps, or the descriptor is not an eventfd"),
            Map.entry("ioeventfd assign ENOSPC", "this VM's I/O bus is full"),
            Map.entry(
                    "msi signal EINVAL",
                    "no in-kernel irqchip, or address bits 39:32 are set while 32-bit APIC ids are enabled"),
            Map.entry("msi signal EIO", FOREIGN_OR_DEAD),
            Map.entry("line set ENXIO", "the VM has no in-kernel irqchip"),
            Map.entry("device create ENODEV", "this kernel or architecture has no such device"),
            Map.entry("device create EBUSY", "this VM already has one"),
            Map.entry("lapic get EINVAL", "this VM has no in-kernel irqchip: create one before the vCPU"),
            Map.entry("irqchip create ENOTTY", "the descriptor is not a VM, or this kernel has no in-kernel irqchip"),
            Map.entry("mmap EINVAL", "a mapping has at least one page and begins at a page"),
            Map.entry("vcpu create EEXIST", "this VM already has a vCPU of that id"),
            Map.entry("vcpu create EINVAL", "the id is beyond this VM's limit, or it has all its vCPUs"),
            Map.entry("vcpu run EIO", FOREIGN_OR_DEAD),
            Map.entry("vcpu run EFAULT", "the guest touched memory that this process has unmapped"),
            Map.entry("memory set EEXIST", "it overlaps memory the guest already has"),
            Map.entry(
                    "memory set EINVAL",
                    "address or size is not a multiple of the page size, or the slot has other memory already"));

    private Causes() {}

    static String of(String call, Errno errno) {
        String cause = BY_CALL.get(call + " " + errno);
        if (cause != null) {
            return cause;
        }
        if (errno.equals(Errno.EBADF)) {
            return "a descriptor is not open";
        }
        if (errno.equals(Errno.EMFILE)) {
            return "this process has no descriptor left: raise RLIMIT_NOFILE";
        }
        return "";
    }
}
