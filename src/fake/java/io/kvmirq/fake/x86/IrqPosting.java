/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.PostedIrqfd;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.MessageHostIrq;
import io.kvmirq.fake.kvm.FakeIrqfd;
import io.kvmirq.fake.posting.PostingGuest;
import io.kvmirq.fake.posting.PostingMachine;
import io.kvmirq.fake.posting.PostingVcpu;
import io.kvmirq.fake.posting.UnitEntry;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * A VM's posting, for irqfds that are joined to device interrupts. Source: {@code kvm_arch_irq_bypass_add_producer()}
 * and {@code kvm_pi_update_irte()} in arch/x86/kvm/irq.c of Linux 7.1, for all versions, with the destinations of each.
 */
final class IrqPosting {
    private final X86Vm vm;
    private final PostingGuest guest;
    private final Map<FakeIrqfd, Posted> irqfds = new HashMap<>();

    private record Posted(PostedIrqfd entry, int hostIrq) {}

    IrqPosting(X86Vm vm, PostingMachine machine) {
        this.vm = vm;
        this.guest = machine.newGuest();
    }

    boolean posts() {
        return guest.posts();
    }

    /** Whether nothing inhibits APIC virtualization. */
    boolean isActivated() {
        return guest.isActivated();
    }

    boolean refuses(int vcpuId) {
        return guest.refuses(vcpuId);
    }

    void add(FakeLapic lapic) {
        lapic.setHardware(guest.add(lapic));
    }

    void remove(FakeLapic lapic) {
        PostingVcpu hardware = lapic.hardware();
        if (hardware != null) {
            guest.remove(hardware);
        }
    }

    /** Updates the inhibits of APIC virtualization that are due to LAPIC ids. */
    void setDestinations(PostingVm settings) {
        guest.setInhibits(settings.destinations());
    }

    /** Updates the inhibit that a reinjecting PIT causes: {@code kvm_pit_set_reinject()}. */
    void setReinjecting(boolean on) {
        if (vm.host().build().hardware().isAmd()) {
            vm.note(VmAnswer.PIT_REINJECTS);
        }
        setInhibit(InhibitReason.PIT_REINJ, on);
    }

    /** Sets or clears a reason that inhibits APIC virtualization. */
    void setInhibit(InhibitReason reason, boolean on) {
        guest.setInhibit(reason, on);
    }

    /** A device's interrupt may be posted from now on, until {@link #stopBypass}. */
    void startBypass() {
        guest.startBypass();
    }

    void stopBypass() {
        guest.stopBypass();
    }

    /** @return false if the entry cannot be posted */
    boolean connect(FakeIrqfd irqfd, MessageHostIrq producer, Optional<ApicMessage> route) {
        irqfds.put(irqfd, new Posted(guest.irqfd((UnitEntry) producer.entry()), producer.number()));
        guest.startBypass();
        boolean done = route.isEmpty() || update(irqfd, route);
        if (!done) {
            irqfds.remove(irqfd);
            guest.stopBypass();
        }
        return done;
    }

    /** @return false if the entry cannot be posted, and is remapped */
    boolean update(FakeIrqfd irqfd, Optional<ApicMessage> route) {
        Posted found = Objects.requireNonNull(irqfds.get(irqfd));
        PostedIrqfd posted = found.entry();
        boolean before = posted.vcpu().isPresent();
        try {
            posted.update(vm.lapics().destinations(), route);
        } catch (KernelException e) {
            return false;
        }
        vm.note(posted.vcpu().isPresent() ? IrqfdAnswer.IRTE_POSTED : IrqfdAnswer.IRTE_NOT_POSTED);
        if (before || posted.vcpu().isPresent()) {
            trace(irqfd, found, route.map(ApicMessage::vector).orElse(0));
        }
        return true;
    }

    void disconnect(FakeIrqfd irqfd) {
        Posted posted = irqfds.remove(irqfd);
        if (posted != null) {
            vm.note(IrqfdAnswer.IRTE_RESTORED);
            boolean before = posted.entry().vcpu().isPresent();
            posted.entry().unpost();
            if (before) {
                trace(irqfd, posted, 0);
            }
            guest.stopBypass();
        }
    }

    private void trace(FakeIrqfd irqfd, Posted posted, int vector) {
        guest.tracepoints()
                .call(
                        "kvm_pi_irte_update",
                        Map.of(
                                "set",
                                posted.entry().vcpu().isPresent() ? 1L : 0,
                                "host_irq",
                                (long) posted.hostIrq(),
                                "vcpu_id",
                                (long) posted.entry().vcpu().map(VcpuId::number).orElse(-1),
                                "gsi",
                                (long) irqfd.gsi(),
                                "gvec",
                                (long) vector));
    }

    void close() {
        guest.close();
    }
}
