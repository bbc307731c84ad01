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
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Posting;
import io.kvmirq.mirror.PredictedField;
import io.kvmirq.mirror.VcpuStage;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** One object for the way of an interrupt. */
class ForwardedPathTest {
    private static final VcpuId FIRST = new VcpuId(0);

    private static HostInterrupts interrupts(ForwardWorld world) {
        return new HostInterrupts(world.fake.hostFiles().text("proc/interrupts").orElseThrow());
    }

    private static PredictedField known(String name, long value) {
        return new PredictedField(name, new Known.Predicted<>(value));
    }

    private static List<String> unknown(List<PredictedField> fields) {
        return fields.stream()
                .filter(field -> field.value() instanceof Known.Unknown)
                .map(PredictedField::name)
                .toList();
    }

    @Test
    void postedVectorOnIntel() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            ForwardedPath before = irq.path();
            assertThat(before.hostIrq()).isEqualTo(new Known.Unknown<HostIrq>("no HostIrqs was given"));
            assertThat(before.stage().known()).contains(new VcpuStage.Left());
            assertThat(unknown(before.vcpuFields())).containsExactly("pir", "on", "sn", "nv", "ndst");

            world.fake.vcpu(0).exits(ioOut(0x3f8, 1, 'A'));
            world.first.run();
            ForwardedPath path = irq.path(interrupts(world));
            assertThat(path.hostIrq()).isInstanceOf(Known.Observed.class);
            assertThat(path.device()).isEqualTo(before.device());
            assertThat(path.event()).isEqualTo(new Known.SetUp<>(irq.event().id()));
            assertThat(path.gsi()).isEqualTo(new Known.SetUp<>(irq.gsi().orElseThrow()));
            assertThat(path.vector()).isEqualTo(new Known.SetUp<>(ForwardWorld.vector(0x31)));
            assertThat(path.vcpu()).isEqualTo(new Known.Predicted<>(FIRST));
            assertThat(path.entry()).contains("VT-d IRTE, posted form");
            assertThat(path.entryFields()).contains(known("vector", 0x31), known("urgent", 0));
            assertThat(path.vcpuFields()).contains(known("sn", 1), known("nv", 0xf2));
            assertThat(unknown(path.vcpuFields())).containsExactly("pir", "on", "ndst");
            assertThat(path.sampled()).isEmpty();
            irq.reroute(new MsiMessage(message(0x31).address(), 1 << 8 | 0x32));
            assertThat(irq.path().vector())
                    .as("lowest priority")
                    .isEqualTo(new Known.SetUp<>(ForwardWorld.vector(0x32)));
        }
    }

    @Test
    void entryInGuestModeOnAmd() {
        try (ForwardWorld world = new ForwardWorld("amd-avic");
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            ForwardedPath path = irq.path(interrupts(world));
            assertThat(path.entry()).contains("AMD IRTE of 128 bits, guest");
            assertThat(path.entryFields())
                    .contains(
                            known("vector", 0x31), known("is_run", 0), known("guest_mode", 1), known("ga_log_intr", 0));
            assertThat(unknown(path.entryFields())).contains("ga_tag", "ga_root_ptr", "destination_lo");
            assertThat(path.vcpuFields()).contains(known("is_running", 0));
            assertThat(path.toString())
                    .contains("posted to vcpu 0, vector 0x31 (predicted)")
                    .contains("destination_lo unknown: the vCPU does not run, and the field keeps an old value");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd", "amd-avic"})
    void maskedInterruptHasARemappedEntryOrStays(String profile) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            irq.mask();
            ForwardedPath path = irq.path();
            assertThat(path.masked()).isTrue();
            assertThat(path.entry().orElseThrow()).containsIgnoringCase("remapped");
            assertThat(path.vcpu()).isInstanceOf(Known.Unknown.class);
            assertThat(path.vcpuFields()).isEmpty();
        }
    }

    @Test
    void lineHasNoVectorAndNoEntry() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedPath path = forwarding.forward(world.device.intx(), PIN).path(irq -> Optional.of(new HostIrq(16)));
            assertThat(path.hostIrq()).isEqualTo(new Known.Observed<>(new HostIrq(16)));
            assertThat(path.gsi()).isEqualTo(new Known.SetUp<>(PIN));
            assertThat(path.vector()).isInstanceOf(Known.Unknown.class);
            assertThat(path.entry()).isEmpty();
            assertThat(path.mechanism()).isEqualTo(new Known.SetUp<>(Mechanism.RESAMPLE));
        }
    }

    @Test
    void messageWithoutAVectorSaysSo() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedPath path = forwarding
                    .forward(world.device.msix().get(0), MsiMessage.nmiTo(FIRST))
                    .path();
            assertThat(path.vector()).isInstanceOf(Known.Unknown.class);
            assertThat(path.entry()).contains("VT-d IRTE, remapped form");
        }
    }

    /** KVM delivers a message that hardware does not post, and the path names the vCPU if there is only one. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd", "avic-inhibited", "6.12,avic-inhibited"})
    void vcpuOfAMessageThroughKvmIsKnownIfItIsTheOnlyOne(String profile) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            forwarding
                    .mirror()
                    .apply(List.of(
                            new Event.Inhibited(Set.of(InhibitReason.HYPERV)),
                            new Event.GuestEntered(new VcpuId(1)),
                            new Event.GuestEntered(FIRST)));
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), ForwardWorld.to(1, 0x31));
            assertThat(irq.path().toString()).contains("vcpu      vcpu 1, through KVM (predicted)\n");
            assertThat(irq.path().vcpuFields()).isEmpty();
            assertThat(irq.path().update().isPresent()).isEqualTo(!profile.equals("vtd"));
            irq.event().signal();
            assertThat(world.fake.vcpus().get(1).isRequested(ForwardWorld.vector(0x31)))
                    .isTrue();
            for (long open : new long[] {0xfeeff000L, 0xfee05000L, 0xfee0300cL, 0xfee03004L}) {
                irq.reroute(new MsiMessage(open, 0x131));
                assertThat(irq.path().vcpu().known()).as("%x", open).isEmpty();
            }
            irq.reroute(new MsiMessage(0xfee02004L, 0x31));
            world.first.setLapic(world.first.lapic().set(X86Lapic.Name.LDR, 1 << 24));
            world.second.setLapic(world.second.lapic().set(X86Lapic.Name.LDR, 2 << 24));
            assertThat(irq.path().vcpu().known()).contains(new VcpuId(1));
            forwarding.mirror().apply(new Event.LapicUnseen(FIRST));
            assertThat(irq.path().vcpu().known()).as("an id may have moved").isEmpty();
        }
    }

    /** Two vCPUs exchange their logical ids: VT-d's entry stays, and of AVIC's no event says whether KVM wrote it. */
    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void vcpuOfAPathIsThatOfItsEntry(String profile) {
        try (ForwardWorld world = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            VcpuId second = new VcpuId(1);
            world.first.setLapic(world.first.lapic().set(X86Lapic.Name.LDR, 1 << 24));
            world.second.setLapic(world.second.lapic().set(X86Lapic.Name.LDR, 2 << 24));
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), new MsiMessage(0xfee02004L, 0x31));
            assertThat(irq.path().vcpu()).isEqualTo(new Known.Predicted<>(second));
            world.second.setLapic(world.second.lapic().set(X86Lapic.Name.LDR, 1 << 24));
            world.first.setLapic(world.first.lapic().set(X86Lapic.Name.LDR, 2 << 24));
            assertThat(irq.path().vcpu().known())
                    .as("the vCPU of the entry, not the one that the message means now")
                    .isEqualTo(profile.equals("vtd-posting") ? Optional.of(second) : Optional.empty());
        }
    }

    /** The path names the moment at which the LAPICs were read or set. */
    @Test
    void logicalMessageSaysWhenTheLapicsWereRead() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.of(world.vm, world.device);
                Vcpu third = world.vm.createVcpu(new VcpuId(2))) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), new MsiMessage(0xfee01004L, 0x31));
            assertThat(irq.path().sampled()).as("two of three").isEmpty();
            third.enableLapic();
            assertThat(irq.path().sampled()).as("after the write").isEmpty();
            irq.mask();
            irq.unmask();
            assertThat(irq.path().sampled())
                    .isEqualTo(forwarding.mirror().now().lapicsTaken())
                    .isPresent();
        }
    }

    /** No LAPIC decides where nothing is posted, but the path says of which moment its facts are. */
    @Test
    void lapicsThatWereReadInPartHaveNoMoment() {
        try (ForwardWorld world = new ForwardWorld("vtd");
                Forwarding forwarding = Forwarding.of(world.vm, world.device);
                Vcpu third = world.vm.createVcpu(new VcpuId(2))) {
            assertThat(third.fd().isClosed()).isFalse();
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), new MsiMessage(0xfee01004L, 0x31));
            assertThat(forwarding.mirror().now().lapic(FIRST)).isPresent();
            assertThat(irq.path().sampled()).as("two of three").isEmpty();
        }
    }

    /** An entry is what KVM wrote last, and the path says what its next update would find. */
    @Test
    void pathNamesTheMomentOfItsPredictionAndTheNextUpdate() {
        try (ForwardWorld world = new ForwardWorld("vtd-posting");
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), ForwardWorld.to(2, 0x31));
            assertThat(irq.path().toString())
                    .contains("KVM looked for the vCPU when VFIO enabled the vector")
                    .doesNotContain("after a mask");
            world.vm.createVcpu(new VcpuId(2)).close();
            assertThat(irq.path().toString())
                    .contains("physical destination 0x2 means no vCPU")
                    .contains("after a mask and an unmask: posted to vcpu 2, vector 0x31");
            irq.mask();
            assertThat(irq.path().update()).isEmpty();
            irq.unmask();
            assertThat(irq.path().toString())
                    .contains("posted to vcpu 2, vector 0x31 (predicted)")
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
                Forwarding forwarding = Forwarding.of(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x31));
            irq.close();
            ForwardedIrq next = forwarding.forward(world.device.msix().get(1), message(0x41));
            assertThat(next.gsi()).isEqualTo(irq.gsi());
            Event another = new Event.ConsumerAdded(irq.event().id(), ForwardWorld.PIN, Optional.empty());
            forwarding.mirror().apply(another);
            assertThat(irq.path().toString())
                    .isEqualTo("0000:3b:00.0 MSI-X 0: the interrupt is closed, and is not forwarded any more\n");
            assertThat(irq.path().gsi().known()).isEmpty();
            assertThat(irq.predicted().text()).contains("is not forwarded any more");
            assertThat(next.predicted()).isInstanceOf(Posting.Posted.class);
        }
    }
}
