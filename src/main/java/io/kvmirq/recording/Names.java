/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.libc.Uapi;
import java.util.Map;
import java.util.StringJoiner;
import java.util.regex.Pattern;

/** Numbers of the kernel as people read them. */
final class Names {
    /** A bit of a flags field, by its value. */
    record Flag(long bit, String name) {}

    static final Flag[] IRQFD = {
        new Flag(Uapi.KVM_IRQFD_FLAG_DEASSIGN, "DEASSIGN"), new Flag(Uapi.KVM_IRQFD_FLAG_RESAMPLE, "RESAMPLE")
    };
    static final Flag[] IOEVENTFD = {
        new Flag(Uapi.KVM_IOEVENTFD_FLAG_DATAMATCH, "DATAMATCH"),
        new Flag(Uapi.KVM_IOEVENTFD_FLAG_PIO, "PIO"),
        new Flag(Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN, "DEASSIGN")
    };
    static final Flag[] MSI = {new Flag(Uapi.KVM_MSI_VALID_DEVID, "VALID_DEVID")};
    static final Flag[] CREATE_DEVICE = {new Flag(Uapi.KVM_CREATE_DEVICE_TEST, "TEST")};
    static final Flag[] EVENTFD = {
        new Flag(Uapi.EFD_SEMAPHORE, "SEMAPHORE"),
        new Flag(Uapi.O_NONBLOCK, "NONBLOCK"),
        new Flag(Uapi.O_CLOEXEC, "CLOEXEC")
    };
    static final Flag[] DUP = {new Flag(Uapi.O_CLOEXEC, "CLOEXEC")};
    static final Flag[] NONE = {};

    private static final Map<Long, String> CAPABILITIES = Map.ofEntries(
            Map.entry((long) Uapi.KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"),
            Map.entry((long) Uapi.KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"),
            Map.entry((long) Uapi.KVM_CAP_NR_VCPUS, "KVM_CAP_NR_VCPUS"),
            Map.entry((long) Uapi.KVM_CAP_NR_MEMSLOTS, "KVM_CAP_NR_MEMSLOTS"),
            Map.entry((long) Uapi.KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"),
            Map.entry((long) Uapi.KVM_CAP_IRQ_INJECT_STATUS, "KVM_CAP_IRQ_INJECT_STATUS"),
            Map.entry((long) Uapi.KVM_CAP_IRQFD, "KVM_CAP_IRQFD"),
            Map.entry((long) Uapi.KVM_CAP_PIT2, "KVM_CAP_PIT2"),
            Map.entry((long) Uapi.KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"),
            Map.entry((long) Uapi.KVM_CAP_ENABLE_CAP, "KVM_CAP_ENABLE_CAP"),
            Map.entry((long) Uapi.KVM_CAP_MAX_VCPUS, "KVM_CAP_MAX_VCPUS"),
            Map.entry((long) Uapi.KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"),
            Map.entry((long) Uapi.KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE"),
            Map.entry((long) Uapi.KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL"),
            Map.entry((long) Uapi.KVM_CAP_ENABLE_CAP_VM, "KVM_CAP_ENABLE_CAP_VM"),
            Map.entry((long) Uapi.KVM_CAP_IOEVENTFD_NO_LENGTH, "KVM_CAP_IOEVENTFD_NO_LENGTH"),
            Map.entry((long) Uapi.KVM_CAP_VM_ATTRIBUTES, "KVM_CAP_VM_ATTRIBUTES"),
            Map.entry((long) Uapi.KVM_CAP_CHECK_EXTENSION_VM, "KVM_CAP_CHECK_EXTENSION_VM"),
            Map.entry((long) Uapi.KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"),
            Map.entry((long) Uapi.KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH"),
            Map.entry((long) Uapi.KVM_CAP_MAX_VCPU_ID, "KVM_CAP_MAX_VCPU_ID"),
            Map.entry((long) Uapi.KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API"),
            Map.entry((long) Uapi.KVM_CAP_MSI_DEVID, "KVM_CAP_MSI_DEVID"),
            Map.entry((long) Uapi.KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"),
            Map.entry((long) Uapi.KVM_CAP_BINARY_STATS_FD, "KVM_CAP_BINARY_STATS_FD"),
            Map.entry((long) Uapi.KVM_CAP_USER_MEMORY2, "KVM_CAP_USER_MEMORY2"),
            Map.entry((long) Uapi.KVM_CAP_GUEST_MEMFD, "KVM_CAP_GUEST_MEMFD"),
            Map.entry((long) Uapi.KVM_CAP_VM_TYPES, "KVM_CAP_VM_TYPES"));

    /** arch/x86/include/uapi/asm/kvm.h, KVM_IRQCHIP_*. */
    private static final String[] CHIPS = {"pic-master", "pic-slave", "ioapic"};

    /** What a terminal could take for a command, or that hides other text. */
    private static final Pattern UNPRINTABLE = Pattern.compile("[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]");

    private Names() {}

    /** Text of a tape, which anybody may have made, fit to be shown. */
    static String printable(String text) {
        return UNPRINTABLE.matcher(text).replaceAll("?");
    }

    /** {@code " flags=A|B|0x80"}, or nothing for 0. */
    static String flags(long value, Flag... known) {
        if (value == 0) {
            return "";
        }
        StringJoiner names = new StringJoiner("|", " flags=", "");
        long rest = value;
        for (Flag flag : known) {
            if ((rest & flag.bit()) != 0) {
                names.add(flag.name());
                rest &= ~flag.bit();
            }
        }
        if (rest != 0) {
            names.add(hex(rest));
        }
        return names.toString();
    }

    static boolean isCapability(long number) {
        return CAPABILITIES.containsKey(number);
    }

    static String capability(long number) {
        return CAPABILITIES.getOrDefault(number, String.valueOf(number));
    }

    static String chip(int number) {
        return number >= 0 && number < CHIPS.length ? CHIPS[number] : "chip " + number;
    }

    static String deviceType(int number) {
        return number == Uapi.KVM_DEV_TYPE_VFIO ? "VFIO" : String.valueOf(number);
    }

    static String hex(long value) {
        return "0x" + Long.toHexString(value);
    }
}
