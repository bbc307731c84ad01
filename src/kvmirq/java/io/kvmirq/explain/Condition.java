/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/** A fact about a failed call, such as an arm64 host. Facts of a kind, such as architectures, exclude each other. */
public enum Condition {
    NO_IRQCHIP("none", Kind.IRQCHIP, "the VM has no in-kernel irqchip"),
    SPLIT_IRQCHIP("split", Kind.IRQCHIP, "the VM has the split irqchip"),
    FULL_IRQCHIP("full", Kind.IRQCHIP, "the VM has the full irqchip"),
    VGIC("vgic", Kind.IRQCHIP, "the VM has a VGIC (arm64)"),
    GICV2("gicv2", Kind.VGIC, "the VM has a GICv2 (arm64)"),
    GICV3("gicv3", Kind.VGIC, "the VM has a GICv3 (arm64)"),
    NO_VCPU("no-vcpu", Kind.VCPUS, "the VM has no vCPU yet"),
    VCPUS("vcpus", Kind.VCPUS, "the VM has vCPUs"),
    HIGH_VCPU_ID("vcpu-id-512", Kind.VCPU_ID, "the vCPU id is 512 or more"),
    LOW_VCPU_ID("vcpu-id-low", Kind.VCPU_ID, "the vCPU id is below 512"),
    LEVEL("level", Kind.TRIGGER, "a level interrupt, with a resamplefd"),
    EDGE("edge", Kind.TRIGGER, "no resamplefd"),
    OLD("before-6.17", Kind.KERNEL, "the kernel is older than 6.17"),
    NEW("since-6.17", Kind.KERNEL, "the kernel is 6.17 or newer"),
    X86("x86", Kind.ARCHITECTURE, "an x86-64 host"),
    ARM64("arm64", Kind.ARCHITECTURE, "an arm64 host"),
    INTX("intx", Kind.INDEX, "the device's INTx"),
    MSI("msi", Kind.INDEX, "the device's MSI or MSI-X"),
    ERR_REQ("err-req", Kind.INDEX, "the device's error or request interrupt"),
    PLATFORM("platform", Kind.INDEX, "a platform device's interrupt"),
    FOREIGN("foreign", Kind.PROCESS, "called from a process that did not create the VM"),
    OWN("own", Kind.PROCESS, "called from the process that created the VM"),
    MISALIGNED("misaligned", Kind.ALIGNMENT, "an address or size is not a multiple of 4096"),
    WRAPPING("wrapping", Kind.ALIGNMENT, "the range ends beyond 2^64"),
    ALIGNED("aligned", Kind.ALIGNMENT, "addresses and sizes are multiples of 4096, range below 2^64"),
    KVM_VFIO("kvm-vfio", Kind.DEVICE, "the device is KVM-VFIO"),
    VGIC_DEVICE("vgic-device", Kind.DEVICE, "the device is a VGIC (arm64)"),
    OWN_EVENTFD("own-eventfd", Kind.EVENTFD, "kvmirq made the eventfd"),
    DEVICE_ID("device-id", Kind.MESSAGE, "the message has a device id"),
    NO_DEVICE_ID("no-device-id", Kind.MESSAGE, "the message has no device id"),
    PINS_AND_MESSAGES("pins-and-messages", Kind.ROUTES, "all routes are pins or messages"),
    OTHER_ROUTES("other-routes", Kind.ROUTES, "a route is neither a pin nor a message"),
    TYPED_CALL("typed-call", Kind.CALLER, "made by kvmirq's typed calls, not by ioctl");

    private enum Kind {
        IRQCHIP,
        VGIC,
        VCPUS,
        VCPU_ID,
        TRIGGER,
        KERNEL,
        ARCHITECTURE,
        INDEX,
        PROCESS,
        ALIGNMENT,
        DEVICE,
        EVENTFD,
        MESSAGE,
        ROUTES,
        CALLER
    }

    private final String label;
    private final Kind kind;
    private final String text;

    Condition(String label, Kind kind, String text) {
        this.label = label;
        this.kind = kind;
        this.text = text;
    }

    public String label() {
        return label;
    }

    public String text() {
        return text;
    }

    /** Whether this condition and the other one cannot hold together. */
    public boolean excludes(Condition other) {
        return this != other && kind == other.kind;
    }

    /** The architecture, if this condition exists on only one. */
    Optional<Condition> implied() {
        return switch (this) {
            case VGIC, GICV2, GICV3, VGIC_DEVICE -> Optional.of(ARM64);
            case SPLIT_IRQCHIP, FULL_IRQCHIP -> Optional.of(X86);
            default -> Optional.empty();
        };
    }

    public static Optional<Condition> parse(String label) {
        String lower = label.toLowerCase(Locale.ROOT);
        return Arrays.stream(values()).filter(fact -> fact.label.equals(lower)).findFirst();
    }

    /** The conditions for a release such as {@code 6.1.0-13-amd64} and an architecture, named as in Java or uname. */
    public static Set<Condition> ofMachine(String release, String architecture) {
        Set<Condition> facts = EnumSet.noneOf(Condition.class);
        String[] numbers = release.split("[^0-9]", -1);
        try {
            int major = Integer.parseInt(numbers[0]);
            int minor = numbers.length > 1 ? Integer.parseInt(numbers[1]) : 0;
            facts.add(major > 6 || major == 6 && minor >= 17 ? NEW : OLD);
        } catch (NumberFormatException e) {
            // A release in an unknown form adds no facts.
        }
        switch (architecture) {
            case "amd64", "x86_64" -> facts.add(X86);
            case "aarch64", "arm64" -> facts.add(ARM64);
            default -> {}
        }
        return facts;
    }
}
