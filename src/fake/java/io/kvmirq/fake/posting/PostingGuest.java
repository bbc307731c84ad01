/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.NotModelledException;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.IrteUpdate;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.PostedIrqfd;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** VM state that the host's interrupt hardware and KVM both use. */
public abstract class PostingGuest {
    private final PostingMachine host;
    private final PostingHost rules;
    private final List<PostingVcpu> vcpus = new ArrayList<>();
    /** The reasons that inhibit APIC virtualization. The first one is set initially, without a trace event. */
    private final Set<InhibitReason> inhibits = EnumSet.of(InhibitReason.ABSENT);
    /** The inhibit reasons that are due to LAPIC ids. */
    private Set<InhibitReason> ofIds = Set.of();

    PostingGuest(PostingMachine host, PostingHost rules) {
        this.host = host;
        this.rules = rules;
    }

    /** Whether KVM posts device interrupts ({@code kvm_arch_has_irq_bypass()}). */
    public final boolean posts() {
        return host.posts();
    }

    /** Whether KVM refuses a vCPU id that is too large for AVIC's table. Since 6.17, KVM inhibits AVIC instead. */
    public final boolean refuses(int vcpuId) {
        return rules.vendor() == Vendor.AMD && !rules.kernel().isSince(6, 17) && vcpuId > rules.highestAvicId();
    }

    public final PostingVcpu add(VirtualLapic lapic) {
        if (vcpus.size() == PostingMachine.VCPUS) {
            throw new NotModelledException("more than " + PostingMachine.VCPUS
                    + " vCPUs in a VM on a host whose interrupt hardware it models");
        }
        PostingVcpu vcpu = newVcpu(vcpus.size(), lapic);
        vcpus.add(vcpu);
        host.add(vcpu);
        return vcpu;
    }

    /** Removes the newest vCPU after its creation has failed. */
    public final void remove(PostingVcpu vcpu) {
        vcpus.remove(vcpu);
        host.remove(vcpu);
    }

    public final Tracepoints tracepoints() {
        return host.tracepoints();
    }

    abstract PostingVcpu newVcpu(int index, VirtualLapic lapic);

    /** Whether nothing inhibits APIC virtualization: {@code kvm_apicv_activated()}. */
    public final boolean isActivated() {
        return inhibits.isEmpty();
    }

    /**
     * Updates the reasons that inhibit APIC virtualization, after LAPIC ids have changed. Before 6.3 a changed id inhibits for
     * good: d471bd853d38 ("KVM: x86: Allow APICv APIC ID inhibit to be cleared").
     */
    public final void setInhibits(Destinations<?> destinations) {
        Set<InhibitReason> reasons = destinations.inhibits(rules);
        if (rules.kernel().isSince(6, 3)) {
            ofIds.stream().filter(reason -> !reasons.contains(reason)).forEach(reason -> setInhibit(reason, false));
        }
        reasons.forEach(reason -> setInhibit(reason, true));
        ofIds = reasons;
    }

    /**
     * Sets or clears a reason that inhibits APIC virtualization. kvm_intel and kvm_amd ignore reasons that they do not
     * support ({@code __kvm_set_or_clear_apicv_inhibit}).
     */
    public final void setInhibit(InhibitReason reason, boolean on) {
        if (reason.counts(rules.vendor()) && (on ? inhibits.add(reason) : inhibits.remove(reason))) {
            inhibited(reason, on);
            long mask = inhibits.stream()
                    .mapToLong(inhibit -> 1L << number(inhibit))
                    .sum();
            tracepoints()
                    .call(
                            "kvm_apicv_inhibit_changed",
                            Map.of("set", on ? 1L : 0, "reason", number(reason), "inhibits", mask));
        }
    }

    @SuppressWarnings("EnumOrdinal") // A reason's ordinal is its number in enum kvm_apicv_inhibit since Linux 6.17.
    private static long number(InhibitReason reason) {
        return reason.ordinal();
    }

    final boolean isInhibited() {
        return !inhibits.isEmpty();
    }

    /** Changes the hardware for {@link #setInhibit}. On Intel no entry and no descriptor changes. */
    void inhibited(InhibitReason reason, boolean on) {}

    /**
     * Called when an irqfd gets a producer ({@code pi_start_bypass}), and up to 6.16 also when KVM-VFIO gets a file.
     * Each call needs a call of {@link #stopBypass}.
     */
    public void startBypass() {}

    /** Ends one {@link #startBypass}. */
    public void stopBypass() {}

    /** Creates the object by which an irqfd changes a remapping entry. */
    public final PostedIrqfd irqfd(UnitEntry entry) {
        IrteUpdate byIndex = updateByIndex(entry);
        IrteUpdate byId = new IrteUpdate() {
            @Override
            public void post(VcpuId vcpu, InterruptVector vector) {
                byIndex.post(new VcpuId(index(vcpu)), vector);
            }

            @Override
            public void unpost() {
                byIndex.unpost();
            }
        };
        return new PostedIrqfd(byId, rules.kernel());
    }

    abstract IrteUpdate updateByIndex(UnitEntry entry);

    private int index(VcpuId id) {
        List<VcpuId> ids = vcpus.stream().map(PostingVcpu::id).toList();
        if (!ids.contains(id)) {
            throw new IllegalArgumentException(id + " has no LAPIC in the kernel: expected one of " + ids);
        }
        return ids.indexOf(id);
    }

    /** The vCPU to which hardware posts at an address; null for none. */
    final @Nullable PostingVcpu vcpuAt(long address) {
        for (int i = 0; i < vcpus.size(); i++) {
            if (address(i) == address) {
                return vcpus.get(i);
            }
        }
        return null;
    }

    /** The address at which hardware posts to a vCPU. */
    abstract long address(int index);

    /** Ends posting to the VM, because its last descriptor is closed. */
    public final void close() {
        vcpus.forEach(PostingVcpu::closeVm);
        destroy();
        host.guests().remove(this);
    }

    abstract void destroy();
}
