/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.to;
import static io.kvmirq.forward.ForwardWorld.vector;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Posting;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Forwarding predicts posting, and tells the mirror each step. */
class PredictedPostingTest {
    @AutoClose
    private final ForwardWorld world = new ForwardWorld("6.12");

    @AutoClose
    private final Undo made = new Undo();

    private Forwarding on(MirrorHost host) {
        return made.add(Forwarding.builder(world.vm, world.device)
                .mirror(Mirror.create(host))
                .build());
    }

    private static String reason(ForwardedIrq irq) {
        return ((Posting.NotPosted) irq.predicted()).reason();
    }

    @ParameterizedTest
    @EnumSource(Vendor.class)
    void messageToOneVcpuIsPosted(Vendor vendor) {
        Forwarding forwarding = on(MirrorHost.x86(PostingHost.of(vendor)));
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), to(1, 0x31));
        assertThat(((Posting.Posted) irq.predicted()).what())
                .isEqualTo(new Posting.ToVcpu(new VcpuId(1), vector(0x31)));
        assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
        irq.reroute(to(0, 0x32));
        assertThat(((Posting.Posted) irq.predicted()).what())
                .isEqualTo(new Posting.ToVcpu(new VcpuId(0), vector(0x32)));
    }

    @Test
    void messageThatIsNotPostedSaysWhy() {
        Forwarding forwarding = on(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), MsiMessage.nmiTo(new VcpuId(0)));
        assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
        assertThat(reason(irq)).contains("the delivery mode is");
        irq.reroute(message(0x30));
        assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
    }

    @Test
    void hostThatPostsNothingSaysWhy() {
        PostingHost host = PostingHost.of(Vendor.INTEL).withCommandLine("quiet intremap=nopost");
        Forwarding forwarding = on(MirrorHost.x86(host));
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
        assertThat(irq.predicted())
                .isEqualTo(new Posting.NotPosted(
                        PostingObstacle.SWITCHED_OFF.text(), PostingObstacle.SWITCHED_OFF.remedy()));
    }

    /** The mechanism stays, and nothing is posted meanwhile. */
    @Test
    void maskedInterruptIsNotPosted() {
        Forwarding forwarding = on(MirrorHost.x86(PostingHost.of(Vendor.AMD)));
        ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
        irq.mask();
        assertThat(irq.predicted()).isEqualTo(new Posting.NotPosted("it is masked", "unmask it"));
        assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
        irq.unmask();
        assertThat(irq.predicted()).isInstanceOf(Posting.Posted.class);
    }

    /** The remedy of a prediction works, and the same route does not: the library and the kernel compare it. */
    @Test
    void entryWrittenOnceIsWrittenAgainByAMaskAndAnUnmask() {
        try (Forwarding forwarding = on(MirrorHost.x86(PostingHost.of(Vendor.AMD), AvicKernel.UP_TO_6_16))) {
            forwarding
                    .mirror()
                    .apply(List.of(
                            new Event.Inhibited(Set.of(InhibitReason.HYPERV)), new Event.GuestEntered(new VcpuId(0))));
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
            forwarding.mirror().apply(List.of(new Event.Inhibited(Set.of()), new Event.GuestEntered(new VcpuId(0))));
            assertThat(((Posting.NotPosted) irq.predicted()).remedy()).isEqualTo("mask and unmask the interrupt");
            irq.reroute(message(0x30));
            world.vm.routes().replace(irq.gsi().orElseThrow(), message(0x30));
            assertThat(irq.predicted()).isInstanceOf(Posting.NotPosted.class);
            irq.mask();
            irq.unmask();
            assertThat(irq.predicted()).isInstanceOf(Posting.Posted.class);
        }
    }

    @Test
    void relayedInterruptIsNotPosted() {
        try (EventLoop loop = EventLoop.create(world.kernel);
                Forwarding forwarding = Forwarding.builder(world.vm, world.device)
                        .mirror(Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.INTEL))))
                        .userspace(Userspace.into(world.vm, loop))
                        .build()) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
            Posting.NotPosted relayed = new Posting.NotPosted("this process injects it", "move it to irqfd");
            irq.moveTo(Mechanism.USERSPACE);
            assertThat(irq.predicted()).isEqualTo(relayed);
            irq.mask();
            assertThat(reason(irq)).isEqualTo("it is masked");
            irq.unmask();
            assertThat(irq.predicted()).isEqualTo(relayed);
            irq.moveTo(Mechanism.IRQFD);
            assertThat(irq.predicted()).isInstanceOf(Posting.Posted.class);
        }
    }

    /** A user tells the mirror of no vCPU: neither of those before the forwarding, nor of those after. */
    @Test
    void vmTellsTheMirrorOfItsVcpus() {
        Forwarding forwarding = on(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        ForwardedIrq first = forwarding.forward(world.device.msix().get(0), to(1, 0x31));
        ForwardedIrq third = forwarding.forward(world.device.msix().get(1), to(2, 0x32));
        assertThat(first.predicted()).isInstanceOf(Posting.Posted.class);
        assertThat(reason(third)).startsWith(PostingObstacle.NOT_ONE_VCPU.text());
        world.vm.createVcpu(new VcpuId(2)).close();
        assertThat(reason(third)).as("written before").startsWith(PostingObstacle.NOT_ONE_VCPU.text());
        third.mask();
        third.unmask();
        assertThat(third.predicted()).isInstanceOf(Posting.Posted.class);
        ForwardedIrq wide = forwarding.forward(world.device.msix().get(2), to(0x102, 0x33));
        assertThat(((Posting.Posted) wide.predicted()).what())
                .as("without 32-bit ids the high bits do not count")
                .isEqualTo(new Posting.ToVcpu(new VcpuId(2), vector(0x33)));
        world.vm.x86().use32BitApicIds();
        assertThat(wide.predicted()).as("no write").isInstanceOf(Posting.Posted.class);
        wide.mask();
        wide.unmask();
        assertThat(reason(wide)).startsWith(PostingObstacle.NOT_ONE_VCPU.text());
        forwarding.close();
        Forwarding next = on(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        wide = next.forward(world.device.msix().get(2), to(0x102, 0x33));
        assertThat(reason(wide)).startsWith(PostingObstacle.NOT_ONE_VCPU.text());
    }

    @Test
    void vmTellsTheMirrorThatVcpu255HasAName() {
        world.vm.createVcpu(new VcpuId(255)).close();
        world.vm.x86().use32BitApicIds();
        Forwarding forwarding = on(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        ForwardedIrq first = forwarding.forward(world.device.msix().get(0), to(1, 0x31));
        world.vm.x86().disableBroadcastQuirk();
        MsiMessage message = world.vm.x86().x2apicMessage(new VcpuId(255), vector(0x32));
        first.reroute(message);
        assertThat(first.predicted()).isInstanceOf(Posting.Posted.class);
        forwarding.close();
        Forwarding next = on(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        assertThat(next.forward(world.device.msix().get(0), message).predicted())
                .isInstanceOf(Posting.Posted.class);
    }

    /** An adopted VM's VMM may have made vCPUs that are not known here. */
    @Test
    void adoptedVmTellsOfNoVcpu() {
        Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.INTEL)));
        try (Fd.Lease number = world.vm.fd().lease();
                Vm adopted = Vm.adopt(world.kernel, number.number(), Ownership.BORROWED, List.of(), new Gsi(24));
                Forwarding forwarding =
                        Forwarding.builder(adopted, world.device).mirror(mirror).build()) {
            adopted.createVcpu(new VcpuId(2)).close();
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), to(1, 0x31));
            assertThat(irq.predicted().text()).contains("no vCPU of the VM is known");
            mirror.apply(new Event.VcpuAdded(new VcpuId(1)));
            irq.mask();
            irq.unmask();
            assertThat(irq.predicted()).isInstanceOf(Posting.Posted.class);
        }
    }

    private static Stream<MirrorHost> hosts() {
        return Stream.of(
                MirrorHost.x86(PostingHost.of(Vendor.AMD)),
                MirrorHost.unknown("the host's files are not readable"),
                MirrorHost.arm64(false, VlpiKernel.BY_HOST_IRQ));
    }

    /** No host posts a line: what the host has, or is not known of it, does not matter. */
    @ParameterizedTest
    @MethodSource("hosts")
    void lineIsNotPosted(MirrorHost host) {
        Forwarding forwarding = on(host);
        ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
        assertThat(reason(line)).isEqualTo("only MSIs can be posted, and INTx is a line");
    }

    /** The files of this host say nothing: the kernel posts if it can. */
    @Test
    void unknownHostIsNotGuessed() {
        try (Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
            assertThat(irq.predicted().text())
                    .startsWith("posting is unknown because /proc/cpuinfo names no Intel or AMD processor");
            assertThat(irq.mechanism()).isEqualTo(Mechanism.IRQFD);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "vtd-posting | posted to vcpu 0, vector 0x30",
                "amd-avic    | posted to vcpu 0, vector 0x30",
                "vtd         | not posted because the hardware cannot post interrupts"
            })
    void hostIsKnownByItsFilesWithoutAMirror(String profile, String said) {
        try (ForwardWorld other = new ForwardWorld(profile);
                Forwarding forwarding = Forwarding.create(other.vm, other.device)) {
            assertThat(forwarding
                            .forward(other.device.msix().get(0), message(0x30))
                            .predicted()
                            .text())
                    .startsWith(said);
        }
    }

    /** Devices of a VM share a mirror: nothing of what has ended stays in it. */
    @Test
    void endLeavesNothingInTheMirror() {
        Mirror mirror = Mirror.create(MirrorHost.x86(PostingHost.of(Vendor.AMD)));
        try (Forwarding forwarding =
                Forwarding.builder(world.vm, world.device).mirror(mirror).build()) {
            forwarding.forwardAll(world.device.msix(0, 4), i -> message(0x30 + i));
            assertThat(mirror.now().irqs()).hasSize(4);
            assertThat(mirror.now().byVcpu(new VcpuId(0))).hasSize(4);
            ForwardedIrq irq = forwarding.irqs().get(2);
            irq.close();
            assertThat(mirror.now().irqs()).hasSize(3);
            assertThat(irq.predicted().text()).contains("is no longer forwarded");
        }
        assertThat(mirror.now().irqs()).isEmpty();
    }
}
