/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.model.AvicHost;
import io.kvmirq.arch.amd.model.AvicVm;
import io.kvmirq.arch.amd.model.GaUnit;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.IrteUpdate;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.PostedIrqfd;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.UnitCapabilities;
import io.kvmirq.arch.vtd.posting.PostedVm;
import io.kvmirq.arch.vtd.posting.RemappingOutcome;
import io.kvmirq.arch.vtd.posting.RemappingTable;
import io.kvmirq.arch.vtd.posting.VtdIrte;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** One update of KVM, with the tables of both vendors behind it. */
class PostedIrqfdTest {
    private static final int ENTRY = 2;
    private static final int VECTOR = 0x41;
    private static final PostingVm VM = PostingVm.of(List.of(LapicIds.flat(0, 1), LapicIds.flat(1, 2)), false);

    /** A vendor's hardware with two vCPUs and one entry in use. */
    private interface Hardware {
        IrteUpdate irte(int entry);

        /** @return the vCPU that a request reached, or empty if the unit remapped it */
        Optional<VcpuId> request();
    }

    private static final class Intel implements Hardware {
        private final PostedVm vm = new PostedVm(new HostCpus(4, 5), 2, true);
        private final RemappingTable table = new RemappingTable(
                new long[2 * 16], new UnitCapabilities(1L << 59, 0x1a), true, new RemappingTable.Observer() {
                    @Override
                    public void written(int index, long low, long high, boolean atOnce) {}

                    @Override
                    public void invalidated(int index) {}
                });

        Intel() {
            table.set(ENTRY, new RemappedIrte(0x0000000400220009L, 0x43b00L));
        }

        @Override
        public IrteUpdate irte(int entry) {
            return new VtdIrte(table, entry, vm);
        }

        @Override
        public Optional<VcpuId> request() {
            RemappingOutcome outcome = table.request(RemappableMsi.to(ENTRY, 0), 0x3b00, vm::descriptorAt);
            return outcome instanceof RemappingOutcome.Remapped
                    ? Optional.empty()
                    : reached(vcpu -> vm.vcpu(vcpu).descriptor().hasPending());
        }

        @Override
        public String toString() {
            return "Intel";
        }
    }

    private static final class Amd implements Hardware {
        private final AvicHost avic = new AvicHost(new HostCpus(4, 5), AvicKernel.FROM_6_17, true);
        private final GaUnit unit = new GaUnit(avic, new GaUnit.Setup(4, 4, 0x55, true, true));
        private final AvicVm vm = new AvicVm(avic, 2, 2, 0x1000);

        Amd() {
            unit.set(ENTRY, 0x901, 0x77, 0x3b00, true);
        }

        @Override
        public IrteUpdate irte(int entry) {
            return vm.irqfd(unit, entry);
        }

        @Override
        public Optional<VcpuId> request() {
            return unit.request(ENTRY) == GaUnit.Outcome.REMAPPED
                    ? Optional.empty()
                    : reached(vcpu -> vm.vcpu(vcpu).hasInterrupt());
        }

        @Override
        public String toString() {
            return "AMD";
        }
    }

    private static Optional<VcpuId> reached(IntPredicate has) {
        return Stream.of(1, 0).filter(has::test).map(VcpuId::new).findFirst();
    }

    static Stream<Hardware> hardware() {
        return Stream.of(new Intel(), new Amd());
    }

    private static PostedIrqfd irqfd(IrteUpdate irte) {
        return new PostedIrqfd(irte, LinuxVersion.NEWEST);
    }

    private static Optional<ApicMessage> message(PostingIrq irq) {
        return irq.routes().get(0) instanceof Route.Msi msi
                ? Optional.of(ApicMessage.of(new CompatibilityMsi(
                        msi.message().address(), msi.message().data())))
                : Optional.empty();
    }

    private static PostingIrq fixedTo(int destination) {
        return route(destination, VECTOR);
    }

    private static PostingIrq route(int destination, int data) {
        return PostingIrq.of(new Route.Msi(new Gsi(24), new MsiMessage(0xfee00000L | destination << 12, data)));
    }

    @ParameterizedTest
    @MethodSource("hardware")
    void requestReachesTheVcpuOfTheRoute(Hardware hardware) {
        PostedIrqfd irqfd = irqfd(hardware.irte(ENTRY));
        assertThat(hardware.request()).isEmpty();
        for (int vcpu = 0; vcpu < 2; vcpu++) {
            irqfd.update(VM, message(fixedTo(vcpu)));
            assertThat(irqfd.vcpu()).hasValue(new VcpuId(vcpu));
            assertThat(hardware.request()).hasValue(new VcpuId(vcpu));
        }
        irqfd.unpost();
        irqfd.unpost();
        assertThat(irqfd.vcpu()).isEmpty();
        assertThat(hardware.request()).isEmpty();
    }

    /** A broadcast, an NMI, an address that is reserved, and a pin. */
    static Stream<PostingIrq> unpostable() {
        return Stream.of(
                fixedTo(0xff),
                route(1, 4 << 8),
                fixedTo(7),
                PostingIrq.of(new Route.Pin(new Gsi(24), Route.Chip.IOAPIC, 4)));
    }

    @ParameterizedTest
    @MethodSource("unpostable")
    void routeThatIsNotPostedIsRemapped(PostingIrq irq) {
        hardware().forEach(hardware -> {
            PostedIrqfd irqfd = irqfd(hardware.irte(ENTRY));
            irqfd.update(VM, message(irq));
            assertThat(irqfd.vcpu()).isEmpty();
            irqfd.update(VM, message(fixedTo(1)));
            irqfd.update(VM, message(irq));
            assertThat(irqfd.vcpu()).isEmpty();
            assertThat(hardware.request()).as(hardware.toString()).isEmpty();
        });
    }

    @ParameterizedTest
    @MethodSource("hardware")
    void entryThatIsNotInUseIsRefused(Hardware hardware) {
        PostedIrqfd irqfd = irqfd(hardware.irte(3));
        assertThat(refused(Errno.EINVAL, () -> irqfd.update(VM, message(fixedTo(1)))))
                .contains("irq_set_vcpu_affinity entry=3 vcpu=1: ");
        assertThat(irqfd.vcpu()).isEmpty();
        irqfd.update(VM, message(fixedTo(0xff)));
        hardware.irte(3).unpost();
    }

    /** kvm_pi_update_irte clears irq_bypass_vcpu when the vendor's call fails. */
    @Test
    void refusedMoveLeavesTheIrqfdPostedToNoVcpu() {
        List<String> calls = new ArrayList<>();
        PostedIrqfd irqfd = irqfd(new IrteUpdate() {
            @Override
            public void post(VcpuId vcpu, InterruptVector vector) {
                calls.add("post to " + vcpu.number());
                if (vcpu.number() == 1) {
                    IrteUpdate.notRemapped(33).post(vcpu, vector);
                }
            }

            @Override
            public void unpost() {
                calls.add("unpost");
            }
        });
        irqfd.update(VM, message(fixedTo(0)));
        refused(Errno.ENOSYS, () -> irqfd.update(VM, message(fixedTo(1))));
        assertThat(irqfd.vcpu()).isEmpty();
        irqfd.unpost();
        assertThat(calls).containsExactly("post to 0", "post to 1");
    }

    @Test
    void hostIrqThatIsNotRemappedIsRefused() {
        IrteUpdate none = IrteUpdate.notRemapped(33);
        assertThat(refused(Errno.ENOSYS, () -> none.post(new VcpuId(1), new InterruptVector(VECTOR))))
                .startsWith("irq_set_vcpu_affinity irq=33 vcpu=1: ENOSYS");
        none.unpost();
    }

    /** The irqfd of an inhibited VM has a vCPU, though the decision says that it is not posted. */
    @Test
    void inhibitedVmOfAmdTracksTheIrqfd() {
        Amd amd = new Amd();
        PostedIrqfd irqfd = irqfd(amd.irte(ENTRY));
        PostingVm inhibited = VM.withInhibits(Set.of(InhibitReason.IRQWIN));
        amd.vm.inhibit(InhibitReason.IRQWIN);
        amd.vm.vcpu(1).thread().load(0);
        amd.vm.vcpu(1).thread().enter();
        irqfd.update(inhibited, message(fixedTo(1)));
        assertThat(irqfd.vcpu()).hasValue(new VcpuId(1));
        assertThat(PostingDecision.decide(PostingHost.of(Vendor.AMD), inhibited, fixedTo(1)))
                .isInstanceOf(PostingDecision.Unposted.class);
        assertThat(amd.request()).isEmpty();
    }
}
