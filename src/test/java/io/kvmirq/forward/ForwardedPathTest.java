/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.fake.FakeExit.ioOut;
import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.HostIrq;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HostApicId;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedIrq;
import io.kvmirq.mirror.Snapshot;
import io.kvmirq.mirror.VcpuStage;
import io.kvmirq.path.FieldValue;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.HardwareFields;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** One object for the way of an interrupt. */
class ForwardedPathTest {
    private static final VcpuId FIRST = new VcpuId(0);

    private static HostInterrupts interrupts(ForwardWorld world) {
        return new HostInterrupts(world.fake.hostFiles().text("proc/interrupts").orElseThrow());
    }

    private static Known<GuestVector> vector(InterruptPath path) {
        return path.known(Hop.GUEST_VECTOR);
    }

    private static Known<VcpuId> vcpu(InterruptPath path) {
        return path.known(Hop.VCPU);
    }

    private static Optional<Instant> sampled(InterruptPath path) {
        return path.known(Snapshot.LAPICS_TAKEN).known();
    }

    private static Optional<String> entry(InterruptPath path) {
        return path.known(Hop.IRTE).known().map(HardwareFields::structure);
    }

    /** The fields of the entry and of the vCPU, which are steps of the path. */
    private static List<FieldValue> fields(Forwarding forwarding, ForwardedIrq irq) {
        Snapshot now = forwarding.mirror().now();
        PredictedIrq known = now.of(irq.event().id()).orElseThrow();
        List<FieldValue> fields = Stream.concat(
                        known.irte().known().stream().flatMap(entry -> entry.fields().stream()),
                        known.vcpu().then(now::vcpuStructure).known().stream()
                                .flatMap(structure -> structure.value().known().orElseThrow().fields().stream()))
                .toList();
        InterruptPath path = irq.path();
        assertThat(Stream.of(Hop.IRTE, Hop.PID, Hop.AVIC_ENTRY)
                        .flatMap(hop -> path.known(hop).known().stream())
                        .flatMap(structure -> structure.fields().stream()))
                .isEqualTo(fields);
        fields.forEach(field -> assertThat(path.toString()).contains(field.toString()));
        return fields;
    }

    private static List<String> unknown(List<FieldValue> fields) {
        return fields.stream()
                .filter(field -> field.value().known().isEmpty())
                .map(FieldValue::name)
                .toList();
    }

    private static FieldValue field(String name, long value) {
        return new FieldValue(name, new Known.Predicted<>(value));
    }

    @Test
    void postedVectorOnIntel() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            InterruptPath before = irq.path();
            assertThat(before.known(Hop.HOST_IRQ)).isEqualTo(new Known.Unknown<>("no HostIrqs was given"));
            assertThat(before.known(Snapshot.SCHEDULE)).isEqualTo(new Known.Predicted<>(new VcpuStage.Left()));
            assertThat(unknown(fields(forwarding, irq))).endsWith("pda_h", "pir", "on", "sn", "nv", "ndst");

            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'));
            world.first.run();
            InterruptPath path = irq.path(interrupts(world));
            assertThat(path.known(Hop.HOST_IRQ)).isInstanceOf(Known.Observed.class);
            assertThat(path.device() + " " + path.name()).isEqualTo("0000:3b:00.0 MSI-X 0");
            assertThat(path.known(Hop.EVENTFD))
                    .isEqualTo(new Known.SetUp<>(irq.event().id()));
            assertThat(path.known(Hop.GSI))
                    .isEqualTo(new Known.SetUp<>(irq.gsi().orElseThrow()));
            assertThat(vector(path)).isEqualTo(new Known.SetUp<>(new GuestVector(0x31)));
            assertThat(vcpu(path)).isEqualTo(new Known.Predicted<>(FIRST));
            assertThat(entry(path)).contains("VT-d IRTE, posted form");
            assertThat(path.known(Hop.PID).known().flatMap(pid -> pid.value("nv")))
                    .contains(0xf2L);
            assertThat(path.known(Hop.POSTING)).isEqualTo(new Known.Predicted<>(true));
            assertThat(fields(forwarding, irq))
                    .contains(field("vector", 0x31), field("urgent", 0), field("sn", 1), field("nv", 0xf2));
            assertThat(unknown(fields(forwarding, irq))).endsWith("pda_h", "pir", "on", "ndst");
            assertThat(sampled(path)).isEmpty();
            world.fake.vcpus().get(0).load(1);
            forwarding.mirror().apply(new Event.VcpuLoaded(FIRST, new HostApicId(2)));
            PostedInterruptDescriptor real =
                    world.fake.vcpus().get(0).descriptor().orElseThrow();
            assertThat(irq.path().known(Hop.PID).known().flatMap(pid -> pid.value("ndst")))
                    .as("the host's files show its x2APIC mode")
                    .contains(PostedInterruptDescriptor.NDST.of(real.control()));
            irq.reroute(new MsiMessage(message(0x31).address(), 1 << 8 | 0x32));
            assertThat(vector(irq.path())).as("lowest priority").isEqualTo(new Known.SetUp<>(new GuestVector(0x32)));
        }
    }

    @Test
    void entryInGuestModeOnAmd() {
        try (ForwardWorld world = new ForwardWorld("amd-avic");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            InterruptPath path = irq.path(interrupts(world));
            assertThat(entry(path)).contains("AMD IRTE of 128 bits, guest");
            assertThat(fields(forwarding, irq))
                    .contains(
                            field("vector", 0x31),
                            field("is_run", 0),
                            field("guest_mode", 1),
                            field("ga_log_intr", 0),
                            field("is_running", 0));
            assertThat(unknown(fields(forwarding, irq))).contains("ga_tag", "ga_root_ptr", "destination_lo");
            assertThat(path.toString())
                    .contains("entry posts    yes        posted to vcpu 0, vector 0x31 [predicted: ")
                    .contains("destination_lo unknown: the vCPU does not run, so the field keeps an old value");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd", "amd-avic"})
    void maskedInterruptHasARemappedEntryOrStays(String profile) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            irq.mask();
            InterruptPath path = irq.path();
            assertThat(path.link(Hop.DEVICE_VECTOR).orElseThrow().text()).isEqualTo("masked");
            assertThat(entry(path).orElseThrow()).containsIgnoringCase("remapped");
            assertThat(path.known(Hop.POSTING)).isEqualTo(new Known.Predicted<>(false));
            assertThat(path.known(Snapshot.SCHEDULE).known()).isEmpty();
            assertThat(vcpu(path)).isInstanceOf(Known.Unknown.class);
        }
    }

    @Test
    void lineHasNoVectorAndNoEntry() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            InterruptPath path = forwarding.forward(world.device.intx(), PIN).path(irq -> Optional.of(new HostIrq(16)));
            assertThat(path.known(Hop.HOST_IRQ)).isEqualTo(new Known.Observed<>(new HostIrq(16)));
            assertThat(path.known(Hop.GSI)).isEqualTo(new Known.SetUp<>(PIN));
            assertThat(vector(path)).isInstanceOf(Known.Unknown.class);
            assertThat(entry(path)).isEmpty();
            assertThat(path.link(Hop.IRQFD).orElseThrow().value()).contains(Mechanism.RESAMPLE.label());
        }
    }

    @Test
    void messageWithoutAVectorSaysSo() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            InterruptPath path = forwarding
                    .forward(world.device.msix().get(0), MsiMessage.nmiTo(FIRST))
                    .path();
            assertThat(vector(path)).isInstanceOf(Known.Unknown.class);
            assertThat(entry(path)).contains("VT-d IRTE, remapped form");
        }
    }

    /** KVM delivers a message that hardware does not post, and the path names the vCPU if there is only one. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd", "avic-inhibited", "6.12,avic-inhibited"})
    void vcpuOfAMessageThroughKvmIsKnownIfItIsTheOnlyOne(String profile) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            forwarding
                    .mirror()
                    .apply(List.of(
                            new Event.Inhibited(Set.of(InhibitReason.HYPERV)),
                            new Event.GuestEntered(new VcpuId(1)),
                            new Event.GuestEntered(FIRST)));
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), ForwardWorld.to(1, 0x31));
            assertThat(irq.path().toString()).contains("vCPU           ok         vcpu 1: through KVM [predicted: ");
            assertThat(vcpu(irq.path())).isEqualTo(new Known.Predicted<>(new VcpuId(1)));
            assertThat(irq.path().known(Hop.AVIC_ENTRY).known()).isEmpty();
            assertThat(irq.path().known(Snapshot.UPDATE).known().isPresent()).isEqualTo(!profile.equals("vtd"));
            irq.event().signal();
            assertThat(world.fake.vcpus().get(1).isRequested(ForwardWorld.vector(0x31)))
                    .isTrue();
            for (long open : new long[] {0xfeeff000L, 0xfee05000L, 0xfee0300cL, 0xfee03004L}) {
                irq.reroute(new MsiMessage(open, 0x131));
                assertThat(vcpu(irq.path()).known()).as("%x", open).isEmpty();
            }
            irq.reroute(new MsiMessage(0xfee02004L, 0x31));
            world.first.x86().setLapic(world.first.x86().lapic().set(X86Lapic.Name.LDR, 1 << 24));
            world.second.x86().setLapic(world.second.x86().lapic().set(X86Lapic.Name.LDR, 2 << 24));
            assertThat(vcpu(irq.path()).known()).contains(new VcpuId(1));
            forwarding.mirror().apply(new Event.LapicUnseen(FIRST));
            assertThat(vcpu(irq.path()).known()).as("an id may have moved").isEmpty();
        }
    }

    /** Two vCPUs exchange their logical ids: VT-d's entry stays, and of AVIC's no event says whether KVM wrote it. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void vcpuOfAPathIsThatOfItsEntry(String profile) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            VcpuId second = new VcpuId(1);
            world.first.x86().setLapic(world.first.x86().lapic().set(X86Lapic.Name.LDR, 1 << 24));
            world.second.x86().setLapic(world.second.x86().lapic().set(X86Lapic.Name.LDR, 2 << 24));
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), new MsiMessage(0xfee02004L, 0x31));
            assertThat(vcpu(irq.path())).isEqualTo(new Known.Predicted<>(second));
            world.second.x86().setLapic(world.second.x86().lapic().set(X86Lapic.Name.LDR, 1 << 24));
            world.first.x86().setLapic(world.first.x86().lapic().set(X86Lapic.Name.LDR, 2 << 24));
            assertThat(vcpu(irq.path()).known())
                    .as("the vCPU of the entry, not the one that the message means now")
                    .isEqualTo(profile.equals("vtd-posting") ? Optional.of(second) : Optional.empty());
        }
    }

    /** The path names the moment at which the LAPICs were read or set. */
    @Test
    void logicalMessageSaysWhenTheLapicsWereRead() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device);
                Vcpu third = world.vm.createVcpu(new VcpuId(2))) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), new MsiMessage(0xfee01004L, 0x31));
            assertThat(sampled(irq.path())).as("two of three").isEmpty();
            third.x86().enableLapic();
            assertThat(sampled(irq.path())).as("after the write").isEmpty();
            irq.mask();
            irq.unmask();
            assertThat(sampled(irq.path()))
                    .isEqualTo(forwarding.mirror().now().lapicsTaken())
                    .isPresent();
        }
    }

    /** No LAPIC decides where nothing is posted, but the path says of which moment its facts are. */
    @Test
    void lapicsThatWereReadInPartHaveNoMoment() {
        try (ForwardWorld world = new ForwardWorld("vtd");
                Forwarding forwarding = Forwarding.create(world.vm, world.device);
                Vcpu third = world.vm.createVcpu(new VcpuId(2))) {
            assertThat(third.fd().isClosed()).isFalse();
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), new MsiMessage(0xfee01004L, 0x31));
            assertThat(forwarding.mirror().now().lapic(FIRST)).isPresent();
            assertThat(sampled(irq.path())).as("two of three").isEmpty();
        }
    }

    /** An entry is what KVM wrote last, and the path says what its next update would find. */
    @Test
    void pathNamesTheMomentOfItsPredictionAndTheNextUpdate() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), ForwardWorld.to(2, 0x31));
            assertThat(irq.path().toString())
                    .contains("KVM looked for the vCPU when VFIO enabled the vector")
                    .doesNotContain("after a mask");
            world.vm.createVcpu(new VcpuId(2)).close();
            assertThat(irq.path().toString())
                    .contains("physical destination 0x2 matches no vCPU")
                    .contains("after a mask and an unmask: posted to vcpu 2, vector 0x31");
            irq.mask();
            assertThat(irq.path().toString()).doesNotContain("KVM looked");
            irq.unmask();
            assertThat(irq.path().toString())
                    .contains("posted to vcpu 2, vector 0x31 [predicted: ")
                    .contains("KVM looked for the vCPU when the irqfd was assigned")
                    .doesNotContain("after a mask");
            irq.reroute(ForwardWorld.to(1, 0x31));
            assertThat(irq.path().toString()).contains("KVM looked for the vCPU when the message changed");
        }
    }

    /** The GSI and the number of the eventfd are those of another interrupt soon. */
    @Test
    void closedInterruptNamesNothingThatIsGone() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            irq.close();
            ForwardedIrq next = forwarding.forward(world.device.msix().get(1), message(0x41));
            assertThat(next.gsi()).isEqualTo(irq.gsi());
            Event another = new Event.ConsumerAdded(irq.event().id(), ForwardWorld.PIN, Optional.empty());
            forwarding.mirror().apply(another);
            assertThat(irq.path().toString())
                    .isEqualTo("0000:3b:00.0  MSI-X 0\n  note: the interrupt is closed and no longer forwarded\n");
            assertThat(irq.path().known(Hop.GSI).known()).isEmpty();
            assertThat(irq.predicted().text()).contains("is no longer forwarded");
            assertThat(next.predicted()).isInstanceOf(Posting.Posted.class);
        }
    }
}
