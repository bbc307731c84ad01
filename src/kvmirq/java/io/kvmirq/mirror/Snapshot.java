/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.DeviceName;
import io.kvmirq.EventFdId;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.mirror.VcpuPlace.Descriptor;
import io.kvmirq.path.FieldValue;
import io.kvmirq.path.HardwareFields;
import io.kvmirq.path.Hop;
import io.kvmirq.path.HopValue;
import io.kvmirq.path.Known;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A {@link Mirror}'s predictions at one moment. Immutable.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="mirror"}
 */
public final class Snapshot {
    /** x86: KVM's last update of an interrupt's entry, as a hop of the interrupt's path. */
    @NotPromised
    public static final Hop<EntryUpdate> UPDATE = Hop.beside("update", EntryUpdate.class);

    /** The schedule state of the interrupt's vCPU, as a hop of the path. */
    public static final Hop<VcpuStage> SCHEDULE = Hop.beside("schedule", VcpuStage.class);

    /** The time of the oldest LAPIC sample that decides a message with a logical destination. */
    public static final Hop<Instant> LAPICS_TAKEN = Hop.beside("LAPICs read", Instant.class);

    private final Map<EventFdId, EventFdEnds> ends;
    private final Map<VcpuId, VcpuPlace> runs;
    /** The kernel version whose rules for descriptors apply. None if vCPUs have no descriptor. */
    private final Known<ApicvKernel> descriptors;

    private final Optional<Boolean> x2apic;
    private final Map<Producer, HeldMessage> held;
    private final Map<VcpuId, LapicSample> lapics;
    private final Optional<Instant> lapicsTaken;

    Snapshot(
            Map<EventFdId, EventFdEnds> ends,
            Map<VcpuId, VcpuPlace> runs,
            Known<ApicvKernel> descriptors,
            Optional<Boolean> x2apic,
            Map<Producer, HeldMessage> held,
            SampledLapics lapics) {
        this.ends = ends;
        this.runs = runs;
        this.descriptors = descriptors;
        this.x2apic = x2apic;
        this.held = held;
        this.lapics = lapics.samples();
        this.lapicsTaken = lapics.taken();
    }

    /**
     * The prediction for an eventfd's interrupt. If several device interrupts share the eventfd, this is the prediction
     * for the interrupt registered with irqbypass, or else for the first one. Does not allocate.
     */
    public Optional<PredictedIrq> of(EventFdId event) {
        EventFdEnds found = ends.get(event);
        return found == null ? Optional.empty() : found.irq();
    }

    /** All predictions, sorted by unsigned eventfd number. A shared eventfd occurs once for each interrupt. */
    public List<PredictedIrq> irqs() {
        return sorted().flatMap(met -> Stream.concat(met.irq().stream(), met.rest().stream()))
                .toList();
    }

    /**
     * The interrupts that hardware posts to a vCPU, or would post if AVIC were not inhibited, sorted like {@link
     * #irqs}. Includes interrupts whose {@link PredictedIrq#vcpu} is unknown and may be this vCPU.
     */
    public List<PredictedIrq> byVcpu(VcpuId vcpu) {
        return sorted().filter(met -> met.mayPostTo(vcpu))
                .flatMap(met -> met.irq().stream())
                .toList();
    }

    private Stream<EventFdEnds> sorted() {
        return ends.values().stream()
                .sorted((met, other) ->
                        Long.compareUnsigned(met.event().number(), other.event().number()));
    }

    /**
     * The message of a device interrupt that is held back ({@link Event.Held}). Empty if none is. A message can be held
     * even after the forwarding has ended, until the interrupt is forwarded again unmasked. On a device reset, {@code
     * GuestMsix} and {@code GuestMsi} drop it.
     */
    @NotPromised
    public Optional<HeldMessage> held(Producer producer) {
        return Optional.ofNullable(held.get(producer));
    }

    /**
     * A device's line, either INTx or the first level-triggered platform interrupt. Unknown if the device has only
     * platform interrupts whose {@link PredictedIrq#handler} is unknown.
     */
    public Known<PredictedIrq> line(DeviceName device) {
        Known<PredictedIrq> found = Known.none();
        for (PredictedIrq irq : irqs()) {
            Known<PredictedIrq> line = irq.handler().map(handler -> irq);
            if (irq.producer()
                            .filter(producer -> producer.device().equals(device))
                            .isEmpty()
                    || line instanceof Known.None) {
                continue;
            }
            if (line instanceof Known.Fact) {
                return line;
            }
            found = line;
        }
        return found;
    }

    /**
     * A vCPU's sampled LAPIC ids, which decide which vCPUs receive a message with a logical destination. Empty if not
     * sampled: a mirror samples LAPICs only while the VM has such a message.
     */
    @NotPromised
    public Optional<LapicSample> lapic(VcpuId vcpu) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        return Optional.ofNullable(lapics.get(vcpu));
    }

    /** A vCPU's state in the host's schedule, such as loaded or asleep. Empty if no event reported it. */
    public Optional<VcpuStage> stage(VcpuId vcpu) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        return Optional.ofNullable(runs.get(vcpu)).map(VcpuPlace::stage);
    }

    /**
     * A vCPU's predicted posted-interrupt descriptor on an Intel host. None on other hosts, unknown if the vCPU's
     * schedule is, for example in KVM_RUN. If irqbypass had not joined any device vector with an irqfd of the VM when
     * the vCPU stopped, KVM leaves the descriptor as the last load wrote it. On a host that posts, the descriptor is
     * then unknown up to Linux 6.16, where KVM also updates it if KVM-VFIO has a device. If a vCPU sleeps with
     * interrupts disabled, the real fields are as for a vCPU in user space.
     */
    public Known<PredictedPid> pid(VcpuId vcpu) {
        return descriptors.then(kernel -> pid(vcpu, kernel));
    }

    private Known<PredictedPid> pid(VcpuId vcpu, ApicvKernel kernel) {
        VcpuPlace run = runs.get(vcpu);
        if (run == null || run.descriptor() == Descriptor.UNKNOWN) {
            return new Known.Unknown<>(unknownPid(run));
        }
        VcpuStage stage = run.stage();
        boolean updated = run.descriptor() == Descriptor.UPDATED;
        return new Known.Predicted<>(new PredictedPid(
                updated && stage instanceof VcpuStage.Blocked ? Apic.WAKEUP : Apic.NOTIFICATION,
                updated
                        && (stage instanceof VcpuStage.Preempted
                                || stage instanceof VcpuStage.Left && kernel == ApicvKernel.FROM_6_17),
                stage instanceof VcpuStage.Loaded loaded ? OptionalInt.of(loaded.cpu()) : run.cpu()));
    }

    /**
     * The structure from which hardware reads where a vCPU runs: {@link Hop#PID} on Intel, and on AMD {@link
     * Hop#AVIC_ENTRY}, which is KVM's copy of the vCPU's entry. If the module parameter {@code enable_ipiv} is off,
     * IsRun in the table that hardware reads is always 0. Each field has its predicted value or the reason why it is
     * not predicted. None if no interrupt is posted to the vCPU, unknown if one may be.
     */
    public Known<HopValue<HardwareFields>> vcpuStructure(VcpuId vcpu) {
        Objects.requireNonNull(vcpu, "vcpu is null");
        Known<HopValue<HardwareFields>> found = Known.none();
        for (PredictedIrq irq : byVcpu(vcpu)) {
            Known<HopValue<HardwareFields>> structure = irq.irte().then(irte -> structure(vcpu, irte));
            if (structure instanceof Known.Fact) {
                return structure;
            }
            found = structure instanceof Known.Unknown ? structure : found;
        }
        return found;
    }

    private Known<HopValue<HardwareFields>> structure(VcpuId vcpu, PredictedIrte irte) {
        if (irte instanceof PredictedIrte.AmdGuest guest) {
            return predicted(Hop.AVIC_ENTRY, AvicTables.PHYSICAL, PredictedFields.of(guest));
        }
        return irte instanceof PredictedIrte.VtdPosted
                ? predicted(Hop.PID, PostedInterruptDescriptor.FORMAT, PredictedFields.of(pid(vcpu), x2apic))
                : Known.none();
    }

    private static Known<HopValue<HardwareFields>> predicted(
            Hop<HardwareFields> hop, Format format, List<FieldValue> fields) {
        return new Known.Predicted<>(
                new HopValue<>(hop, new Known.Predicted<>(new HardwareFields(format.title(), fields))));
    }

    private static String unknownPid(@Nullable VcpuPlace run) {
        if (run == null) {
            return "no event has shown how the vCPU is scheduled";
        }
        return run.stage() instanceof VcpuStage.InRun
                ? "the vCPU is in KVM_RUN, and no event has shown whether it is loaded"
                : "KVM leaves the descriptor as it was if it had nothing to post when the vCPU stopped";
    }

    /** The time of the oldest LAPIC sample. Empty unless all vCPUs' LAPICs were sampled. */
    public Optional<Instant> lapicsTaken() {
        return lapicsTaken;
    }
}
