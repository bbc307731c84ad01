/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.path;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import java.util.List;
import java.util.Objects;

/**
 * A hop on a device interrupt's path into a guest, with the type of its value. Hops are constants, so compare them by
 * {@code ==}. They sort in path order. Immutable.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="hop"}
 *
 * @param <T> the type of the value; {@link Void} if the hop has none
 */
public final class Hop<T> implements Comparable<Hop<?>> {
    /** The device in {@link InterruptPath#interrupt}. The link shows whether it has power and can send interrupts. */
    public static final Hop<Void> DEVICE = new Hop<>(0, "device", Void.class);

    /** The Linux irq number in {@code /proc/interrupts}. */
    public static final Hop<HostIrq> HOST_IRQ = new Hop<>(1, "host irq", HostIrq.class);

    /** The device's vector or interrupt pin. The link shows whether VFIO has the device and signals an eventfd. */
    public static final Hop<Interrupt> DEVICE_VECTOR = new Hop<>(2, "device vector", Interrupt.class);

    /** The VM's process. The link shows whether its threads run, or are stopped, traced or frozen. */
    public static final Hop<ProcessId> VMM = new Hop<>(3, "VMM", ProcessId.class);

    /** The eventfd that VFIO signals. */
    public static final Hop<EventFdId> EVENTFD = new Hop<>(4, "eventfd", EventFdId.class);

    /** The irqfd, through which KVM raises a GSI at each eventfd signal. The value is the process that has the VM. */
    public static final Hop<ProcessId> IRQFD = new Hop<>(5, "irqfd", ProcessId.class);

    /** The GSI that the irqfd raises, and its route. */
    public static final Hop<Gsi> GSI = new Hop<>(6, "GSI", Gsi.class);

    /**
     * The guest vector, or the INTID on arm64. No file shows this hop as broken, so its link is {@link
     * Link.State#WHOLE} or {@link Link.State#NOT_SHOWN}.
     */
    public static final Hop<GuestVector> GUEST_VECTOR = new Hop<>(7, "guest vector", GuestVector.class);

    /** The vCPU that gets the interrupt. */
    public static final Hop<VcpuId> VCPU = new Hop<>(8, "vCPU", VcpuId.class);

    /**
     * Whether hardware posts the interrupt. This hop has no link, because {@link Claim.Question#FORM} holds the
     * evidence. An interrupt fails here if the host could post it but does not. See {@link InterruptPath#unposted}.
     */
    public static final Hop<Boolean> POSTING = new Hop<>(9, "posting", Boolean.class);

    /** The interrupt's IRTE, on Intel and AMD, as a {@link HopValue} instead of a link. */
    public static final Hop<HardwareFields> IRTE = new Hop<>(10, "IRTE", HardwareFields.class);

    /** The vCPU's posted-interrupt descriptor, on Intel, as a {@link HopValue} instead of a link. */
    public static final Hop<HardwareFields> PID = new Hop<>(11, "PID", HardwareFields.class);

    /** The vCPU's entry in AVIC's physical APIC id table, as a {@link HopValue} instead of a link. */
    public static final Hop<HardwareFields> AVIC_ENTRY = new Hop<>(12, "AVIC entry", HardwareFields.class);

    /** The vLPI to which the host's LPI is mapped, on arm64, as a {@link HopValue} instead of a link. */
    public static final Hop<HardwareFields> VLPI = new Hop<>(13, "vLPI", HardwareFields.class);

    private static final int PLACE_BESIDE_PATH = 14;

    private static final List<Hop<?>> ALL =
            List.of(DEVICE, HOST_IRQ, DEVICE_VECTOR, VMM, EVENTFD, IRQFD, GSI, GUEST_VECTOR, VCPU, POSTING);

    private final int place;
    private final String label;
    private final Class<T> type;

    private Hop(int place, String label, Class<T> type) {
        this.place = place;
        this.label = label;
        this.type = type;
    }

    /** The hops that have links, in path order, followed by {@link #POSTING}. */
    public static List<Hop<?>> all() {
        return ALL;
    }

    /** Creates a constant hop for a {@link HopValue}. These hops follow all others, sorted by their unique labels. */
    @NotPromised
    public static <T> Hop<T> beside(String label, Class<T> type) {
        Objects.requireNonNull(label, "label is null");
        return new Hop<>(PLACE_BESIDE_PATH, label, Objects.requireNonNull(type, "type is null"));
    }

    /** The hop's name for users, such as {@code host irq}. */
    public String label() {
        return label;
    }

    /** The type of the hop's value. */
    public Class<T> type() {
        return type;
    }

    @Override
    public int compareTo(Hop<?> other) {
        return place == Objects.requireNonNull(other, "other is null").place
                ? label.compareTo(other.label)
                : Integer.compare(place, other.place);
    }

    /** The {@link #label}. */
    @Override
    public String toString() {
        return label;
    }
}
