/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTagKernel;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.amd.model.AvicHost;
import io.kvmirq.arch.amd.model.AvicIrqfd;
import io.kvmirq.arch.amd.model.AvicVcpu;
import io.kvmirq.arch.amd.model.AvicVm;
import io.kvmirq.arch.amd.model.GaUnit;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.IrteUpdate;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.Ledger;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** A host with AVIC and an IOMMU in GA mode. */
final class AvicMachine extends PostingMachine {
    /** The vector of the GA log's interrupt on processor 0 of the host. */
    private static final int LOG_VECTOR = 0x24;

    private static final int LOG_ENTRIES = 512;
    private static final int PAGE_BITS = 12;
    private static final String IVHD = "sys/class/iommu/ivhd0/amd-iommu/";
    /** EFR with GASup, bit 7, and the virtual APIC mode of GAM, bit 21. */
    private static final String EFR = "25bf732fa2295afe";

    private static final String EFR2 = "1d";

    private final boolean inhibited;
    private final PostingHost rules;
    /** Whether sysfs lists EFR before EFR2. */
    private final boolean inOrder;

    private final AvicHost avic;
    private final GaUnit unit;
    /** The physical address of the next VM's first backing page. */
    private long nextPage = 1L << PAGE_BITS;

    AvicMachine(Build build, FakeTime time, Ledger ledger) {
        super(build, time, ledger);
        this.inOrder = build.isSince(6, 7);
        this.inhibited = build.hardware() == Hardware.AVIC_INHIBITED;
        LinuxVersion version = new LinuxVersion(build.major(), build.minor());
        this.rules = PostingHost.of(Vendor.AMD).withKernel(version).without(Feature.X2AVIC_EXT);
        GaTagKernel tags = GaTagKernel.of(version);
        this.avic = new AvicHost(cpus(), AvicKernel.of(version), tags, true);
        avic.observeLog(tag -> tracepoints()
                .ofUnit(
                        "kvm_avic_ga_log",
                        Map.of("vmid", tags.vm().of(tag), "vcpuid", tags.vcpu().of(tag))));
        this.unit = new GaUnit(avic, new GaUnit.Setup(ENTRIES, LOG_ENTRIES, LOG_VECTOR, true, true));
    }

    @Override
    public Map<String, String> files() {
        Map<String, String> files = files("AuthenticAMD", "svm avic x2avic", "", "kvm_amd", "avic");
        files.put(IVHD + "cap", "40");
        files.put(IVHD + "features", inOrder ? EFR + ":" + EFR2 : EFR2 + ":" + EFR);
        return files;
    }

    @Override
    public boolean posts() {
        return true;
    }

    @Override
    PostingGuest makeGuest() {
        return new Guest();
    }

    @Override
    UnitEntry newEntry(int index, int requester) {
        unit.set(
                index,
                LegacyIrte.VALID.mask()
                        | GaIrte.DESTINATION_LOW.with(cpus().cpu(0).id()),
                GaIrte.VECTOR.with(HOST_VECTOR),
                requester,
                true);
        return new UnitEntry(this, index) {
            @Override
            @Nullable
            View send() {
                GaUnit.Outcome outcome = unit.request(index);
                return outcome == GaUnit.Outcome.REMAPPED || outcome == GaUnit.Outcome.BLOCKED ? null : view();
            }

            @Override
            public View view() {
                boolean posted = GaIrte.GUEST_MODE.isSet(unit.low(index));
                long high = unit.high(index);
                return new View(
                        posted,
                        posted ? vcpuAt(GaIrte.ROOT.of(high) << PAGE_BITS) : Optional.empty(),
                        posted ? Optional.of(new InterruptVector((int) GaIrte.VECTOR.of(high))) : Optional.empty());
            }

            @Override
            public String words() {
                long low = unit.low(index);
                Format format = GaIrte.GUEST_MODE.isSet(low) ? GaIrte.GUEST : GaIrte.REMAPPED;
                return format.text(low, unit.high(index));
            }

            @Override
            void clear() {
                unit.set(index, 0, 0, requester, false);
            }
        };
    }

    private final class Guest extends PostingGuest {
        private final AvicVm vm = new AvicVm(avic, VCPUS, ENTRIES, nextPage);
        /** The irqfds, keyed by entry. The model limits their number for a VM. */
        private final Map<Integer, AvicIrqfd> irqfds = new HashMap<>();

        Guest() {
            super(AvicMachine.this, rules);
            nextPage += (long) VCPUS << PAGE_BITS;
            if (inhibited) {
                setInhibit(InhibitReason.HYPERV, true);
            }
        }

        @Override
        void inhibited(InhibitReason reason, boolean on) {
            if (on) {
                vm.inhibit(reason);
            } else {
                vm.permit(reason);
            }
        }

        /** Adds a vCPU. A guest that inhibits AVIC counts as having run. */
        @Override
        PostingVcpu newVcpu(int index, VirtualLapic lapic) {
            vm.vcpu(index).setId(lapic.vcpuId());
            Vcpu vcpu = new Vcpu(vm, vm.vcpu(index), lapic);
            if (inhibited) {
                vcpu.enterGuest();
                vcpu.preempt();
            }
            return vcpu;
        }

        @Override
        IrteUpdate updateByIndex(UnitEntry entry) {
            return irqfds.computeIfAbsent(entry.index(), index -> vm.irqfd(unit, index));
        }

        @Override
        long address(int index) {
            return vm.vcpu(index).page();
        }

        @Override
        void destroy() {
            vm.destroy();
        }
    }

    private final class Vcpu extends PostingVcpu {
        private final AvicVm vm;
        private final AvicVcpu vcpu;

        Vcpu(AvicVm vm, AvicVcpu vcpu, VirtualLapic lapic) {
            super(AvicMachine.this, vcpu.index(), vcpu.thread(), to -> vcpu.takeInterrupts(to, 0), lapic);
            this.vm = vm;
            this.vcpu = vcpu;
        }

        @Override
        public boolean isActive() {
            return vcpu.isActive();
        }

        /** Does nothing: the IOMMU writes to the backing page itself. */
        @Override
        void sync() {}

        @Override
        void forget() {
            vcpu.takeInterrupts(SharedWords.of(new long[PiDescriptor.PIR_WORDS]), 0);
        }

        @Override
        boolean isPosted(int vector) {
            return vcpu.isRequested(vector) || vcpu.isInService(vector);
        }

        /** Returns false: each VMRUN evaluates the IRR of the backing page. */
        @Override
        boolean isStuck(int vector) {
            return false;
        }

        @Override
        public Optional<Long> physicalEntry() {
            return Optional.of(vcpu.shadowEntry());
        }

        @Override
        public OptionalInt listed() {
            return OptionalInt.of(vcpu.entries().size());
        }

        @Override
        public List<String> brokenRules() {
            return vm.brokenRules();
        }
    }
}
