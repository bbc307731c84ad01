/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.mirror.Producer;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class VcpuWindowTest {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final int HOST_IRQ = 32;
    private static final Producer PRODUCER = new Producer(PciAddress.parse("0000:3b:00.0"), Producer.Kind.MSI_X, 0);

    private static List<String> later(Mirror mirror) {
        VcpuEvents.Update update = new VcpuEvents.Update(PRODUCER, 24, VCPU, 0x41);
        List<Vcpus.Irq> irqs = VcpuWindow.irqs(VCPU, Map.of(HOST_IRQ, update), mirror.now());
        assertThat(irqs).extracting(Vcpus.Irq::text).containsExactly(PRODUCER + " (host irq 32, gsi 24, vector 0x41)");
        return irqs.get(0).later();
    }

    /** Up to 6.16 the end of an inhibit leaves an entry that was written while AVIC was off. */
    @Test
    void interruptNamesTheChangeOfItsNextUpdate() {
        EventFdId event = VcpuEvents.standIn(HOST_IRQ);
        Event unmask = new Event.ConsumerAdded(event, new Gsi(24));
        Mirror mirror = Mirror.of(MirrorHost.x86(PostingHost.of(Vendor.AMD), AvicKernel.UP_TO_6_16));
        mirror.apply(List.of(
                new Event.IrqchipCreated(Event.Irqchip.FULL),
                new Event.VcpuAdded(VCPU),
                new Event.Inhibited(Set.of(InhibitReason.PIT_REINJ)),
                new Event.GuestEntered(VCPU),
                Event.RoutesCommitted.of(new Route.Msi(new Gsi(24), MsiMessage.to(VCPU, new InterruptVector(0x41)))),
                unmask,
                new Event.ProducerAdded(event, PRODUCER)));
        assertThat(later(mirror)).isEmpty();
        mirror.apply(List.of(new Event.Inhibited(Set.of()), new Event.GuestEntered(VCPU)));
        assertThat(later(mirror))
                .containsExactly(
                        "now: not posted: KVM wrote the entry while AVIC was inhibited,"
                                + " and up to Linux 6.16 does not write it again when the inhibit ends (mask and unmask"
                                + " the interrupt)",
                        "once KVM writes its entry again: posted to vcpu 0, vector 0x41");
        mirror.apply(List.of(new Event.ConsumerRemoved(event, new Gsi(24)), unmask));
        assertThat(later(mirror)).isEmpty();
    }
}
