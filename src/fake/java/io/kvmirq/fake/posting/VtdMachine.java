/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.IrteUpdate;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import io.kvmirq.arch.vtd.posting.PostedVcpu;
import io.kvmirq.arch.vtd.posting.PostedVm;
import io.kvmirq.arch.vtd.posting.RemappingOutcome;
import io.kvmirq.arch.vtd.posting.RemappingTable;
import io.kvmirq.arch.vtd.posting.RemappingUnit;
import io.kvmirq.arch.vtd.posting.VtdIrte;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.Ledger;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** A host with VT-d and APICv. */
final class VtdMachine extends PostingMachine {
    private static final int VERIFY_BY_ID = 1;
    private static final String DMAR = "sys/class/iommu/dmar0/intel-iommu/";
    /** The header of the firmware's table: addresses of 48 bits, interrupts are remapped, and x2APIC is not opted out. */
    private static final String FIRMWARE = "DMAR" + "\0".repeat(32) + "/\u0001" + "\0".repeat(10);

    /** The CAP fields for guest addresses of 48 bits and 65536 domains. */
    private static final long SIZES = UnitCapabilities.ADDRESS_WIDTH.with(47) | UnitCapabilities.DOMAINS.with(6);

    private final ApicvKernel kernel;
    private final PostingHost rules;
    private final boolean posts;
    private final UnitCapabilities capabilities;
    private final RemappingTable table;
    private final RemappingUnit unit;

    VtdMachine(Build build, FakeTime time, Ledger ledger) {
        super(build, time, ledger);
        this.rules = PostingHost.of(Vendor.INTEL).withKernel(new LinuxVersion(build.major(), build.minor()));
        this.kernel = ApicvKernel.of(rules.kernel());
        this.posts = build.hardware() == Hardware.VTD_POSTING;
        this.capabilities = capabilities(posts);
        this.table = new RemappingTable(
                new long[ENTRIES * Irte.BYTES / Long.BYTES], capabilities, true, new RemappingTable.Observer() {
                    @Override
                    public void written(int index, long low, long high, boolean atOnce) {}

                    @Override
                    public void invalidated(int index) {}
                });
        this.unit = new RemappingUnit(table, cpus(), this::descriptorAt);
    }

    @Override
    public Map<String, String> files() {
        Map<String, String> files = files("GenuineIntel", "vmx", "intel_iommu=on", "kvm_intel", "enable_apicv");
        files.put("sys/firmware/acpi/tables/DMAR", FIRMWARE);
        files.put(DMAR + "version", "5:0");
        files.put(DMAR + "cap", Long.toHexString(capabilities.cap()));
        files.put(DMAR + "ecap", Long.toHexString(capabilities.ecap()));
        return files;
    }

    private static UnitCapabilities capabilities(boolean posts) {
        return new UnitCapabilities(
                posts ? SIZES | UnitCapabilities.POSTING.mask() : SIZES,
                UnitCapabilities.QUEUED.mask()
                        | UnitCapabilities.COHERENT.mask()
                        | UnitCapabilities.REMAPPING.mask()
                        | UnitCapabilities.EXTENDED.mask());
    }

    private Optional<PiDescriptor> descriptorAt(long address) {
        return guests().stream()
                .flatMap(guest -> ((Guest) guest).vm.descriptorAt(address).stream())
                .findFirst();
    }

    @Override
    public boolean posts() {
        return posts;
    }

    @Override
    PostingGuest makeGuest() {
        return new Guest();
    }

    @Override
    UnitEntry newEntry(int index, int requester) {
        table.set(
                index,
                new RemappedIrte(
                        Irte.PRESENT.mask()
                                | RemappedIrte.HINT.mask()
                                | Irte.VECTOR.with(HOST_VECTOR)
                                | RemappedIrte.DESTINATION.with(cpus().cpu(0).id()),
                        Irte.SOURCE_ID.with(requester) | Irte.SOURCE_VALIDATION.with(VERIFY_BY_ID)));
        RemappableMsi message = RemappableMsi.to(index, 0);
        return new UnitEntry(this, index) {
            @Override
            @Nullable
            View send() {
                return unit.request(message, requester) instanceof RemappingOutcome.Posted posted
                        ? view(posted.entry())
                        : null;
            }

            @Override
            public View view() {
                return view(table.entry(index));
            }

            private View view(Irte entry) {
                return entry instanceof PostedIrte posted
                        ? new View(true, vcpuAt(posted.descriptorAddress()), Optional.of(posted.vector()))
                        : new View(false, Optional.empty(), Optional.empty());
            }

            @Override
            public String words() {
                return table.entry(index).toString();
            }

            @Override
            void clear() {
                table.clear(index);
            }
        };
    }

    /** Whether a request stays in PIR: a vCPU syncs only if ON is set, and sets ON only when it clears SN. */
    static boolean isStuck(PiDescriptor pid, int vector, boolean loaded, boolean inGuest) {
        return pid.isRequested(vector)
                && (inGuest || !pid.isOn() && !pid.isSuppressed() || loaded && pid.isSuppressed());
    }

    private final class Guest extends PostingGuest {
        private final PostedVm vm = new PostedVm(cpus(), VCPUS, true, kernel);

        Guest() {
            super(VtdMachine.this, rules);
        }

        @Override
        PostingVcpu newVcpu(int index, VirtualLapic lapic) {
            Vcpu vcpu = new Vcpu(this, vm.vcpu(index), lapic);
            vcpu.create();
            return vcpu;
        }

        /** A vCPU in the guest is kicked, and adopts the change when it enters again. */
        @Override
        void inhibited(InhibitReason reason, boolean on) {
            vcpus().stream().filter(PostingVcpu::isInGuest).forEach(PostingVcpu::entering);
        }

        @Override
        public void startBypass() {
            vm.startBypass();
            time().changed();
        }

        @Override
        public void stopBypass() {
            vm.stopBypass();
        }

        @Override
        IrteUpdate updateByIndex(UnitEntry entry) {
            return new VtdIrte(table, entry.index(), vm);
        }

        @Override
        long address(int index) {
            return vm.vcpu(index).descriptorAddress();
        }

        @Override
        void destroy() {
            vm.destroy();
        }
    }

    private final class Vcpu extends PostingVcpu {
        private final Guest guest;
        private final PostedVcpu vcpu;
        /** {@code apicv_active}, which KVM evaluates only before the vCPU enters the guest. */
        private boolean active = true;

        Vcpu(Guest guest, PostedVcpu vcpu, VirtualLapic lapic) {
            super(VtdMachine.this, vcpu.index(), vcpu.thread(), to -> vcpu.takeInterrupts(to, 0), lapic);
            this.guest = guest;
            this.vcpu = vcpu;
        }

        @Override
        public boolean isActive() {
            return active;
        }

        @Override
        void entering() {
            active = !guest.isInhibited();
        }

        /** {@code vmx_deliver_interrupt()}. A request that is in PIR already changes nothing. */
        @Override
        public boolean deliver(int vector) {
            if (active) {
                posted(vector);
                if (!vcpu.descriptor().isRequested(vector) && vcpu.deliver(vector) == PostedVcpu.Delivery.NOTIFIED) {
                    settle();
                }
            }
            return active;
        }

        @Override
        void sync() {
            vcpu.sync();
        }

        @Override
        void forget() {
            vcpu.restore(new long[PiDescriptor.PIR_WORDS]);
        }

        @Override
        boolean isPosted(int vector) {
            return vcpu.isInIrr(vector) || vcpu.descriptor().isRequested(vector);
        }

        /** Whether a request is stuck. In the guest the processor evaluates RVI, not the IRR. */
        @Override
        boolean isStuck(int vector) {
            boolean inGuest = isInGuest();
            boolean unseen = inGuest && vcpu.isInIrr(vector) && vector > vcpu.rvi();
            return unseen || VtdMachine.isStuck(vcpu.descriptor(), vector, isLoaded(), inGuest);
        }

        @Override
        public Optional<PostedInterruptDescriptor> descriptor() {
            return Optional.of(vcpu.descriptor().snapshot());
        }

        @Override
        public OptionalInt wakeupList() {
            return guest.vm.listing(vcpu.index()).stream()
                    .mapToInt(HostCpu::number)
                    .findFirst();
        }

        @Override
        public List<String> brokenRules() {
            return vcpu.brokenRules();
        }
    }
}
