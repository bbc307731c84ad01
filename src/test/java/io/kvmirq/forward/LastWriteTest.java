/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeIrte;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Posting;
import io.kvmirq.vfio.VfioDevice;
import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * An entry is what KVM wrote last. These steps write no entry, and the prediction stays: {@code
 * kvm_vm_ioctl_create_vcpu()} in virt/kvm/kvm_main.c, {@code kvm_apic_set_state()} in arch/x86/kvm/lapic.c. Up to Linux
 * 6.16 the end of an inhibit leaves an entry as it is that was written while AVIC was off for its vCPU ({@code
 * avic_pi_update_irte()} and {@code avic_set_pi_irte_mode()} in arch/x86/kvm/svm/avic.c of 6.12).
 */
class LastWriteTest {
    private static final InterruptVector VECTOR = new InterruptVector(0x41);
    private static final MsiMessage TO_VCPU_1 = MsiMessage.to(new VcpuId(1), VECTOR);
    private static final MsiMessage BROADCAST = new MsiMessage(0xfeeff000L, VECTOR.number());
    private static final MsiMessage LOGICAL_2 = new MsiMessage(0xfee02004L, VECTOR.number());

    private static final class World implements AutoCloseable {
        final FakeKernel fake;
        final FakePciDevice hardware;
        final Kernel kernel;
        final Vm vm;
        final Forwarding forwarding;
        private final VfioDevice device;

        World(String profile, int vcpus) {
            fake = new FakeKernel(Profile.parse(profile));
            hardware = fake.pciDevice("0000:3b:00.0", 7)
                    .msix(1)
                    .express()
                    .resettable()
                    .add();
            kernel = fake.open();
            vm = Vm.create(kernel);
            vm.x86().createIrqchip();
            for (int i = 0; i < vcpus; i++) {
                vcpu(i);
            }
            device = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), KvmVfio.create(vm));
            device.config().enableBusMaster();
            forwarding = Forwarding.create(vm, device);
        }

        Vcpu vcpu(int id) {
            Vcpu vcpu = vm.createVcpu(new VcpuId(id));
            vcpu.x86().enableLapic();
            return vcpu;
        }

        ForwardedIrq forward(MsiMessage message) {
            return forwarding.forward(device.msix().get(0), message);
        }

        FakeIrte entry() {
            return hardware.irte(0);
        }

        /** Compares the prediction with the entry, and the entry with what it is expected to be. */
        void agrees(ForwardedIrq irq, FakeIrte.Form expected) {
            assertThat(entry().form()).isEqualTo(expected);
            assertThat(irq.predicted())
                    .as("%s", entry())
                    .isInstanceOf(expected == FakeIrte.Form.POSTED ? Posting.Posted.class : Posting.NotPosted.class);
            if (irq.predicted() instanceof Posting.Posted posted) {
                assertThat(posted.what())
                        .isEqualTo(new Posting.ToVcpu(entry().vcpu().orElseThrow(), VECTOR));
            }
        }

        @Override
        public void close() {
            kernel.close();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "6.1,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void vcpuThatIsCreatedLateChangesNoEntry(String profile) {
        try (World world = new World(profile, 1)) {
            ForwardedIrq irq = world.forward(TO_VCPU_1);
            world.agrees(irq, FakeIrte.Form.REMAPPED);
            world.vcpu(1);
            world.agrees(irq, FakeIrte.Form.REMAPPED);
            irq.mask();
            irq.unmask();
            world.agrees(irq, FakeIrte.Form.POSTED);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "6.1,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void broadcastStaysPostedToTheOnlyVcpuOfItsTime(String profile) {
        try (World world = new World(profile, 1)) {
            ForwardedIrq irq = world.forward(BROADCAST);
            world.agrees(irq, FakeIrte.Form.POSTED);
            world.vcpu(1);
            world.agrees(irq, FakeIrte.Form.POSTED);
            irq.mask();
            irq.unmask();
            world.agrees(irq, FakeIrte.Form.REMAPPED);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void messageOfAVmWithoutVcpusIsNotPosted(String profile) {
        try (World world = new World(profile, 0)) {
            ForwardedIrq irq = world.forward(TO_VCPU_1);
            world.agrees(irq, FakeIrte.Form.REMAPPED);
            world.vcpu(1);
            world.agrees(irq, FakeIrte.Form.REMAPPED);
            irq.reroute(BROADCAST);
            world.agrees(irq, FakeIrte.Form.POSTED);
        }
    }

    private static void give(Vcpu vcpu, int logical) {
        vcpu.x86()
                .setLapic(
                        vcpu.x86().lapic().set(X86Lapic.Name.LDR, logical << 24).set(X86Lapic.Name.DFR, -1));
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "6.1,vtd-posting", "amd-avic", "6.12,amd-avic"})
    void logicalIdThatMovesChangesNoEntry(String profile) {
        try (World world = new World(profile, 0)) {
            Vcpu[] vcpus = {world.vcpu(0), world.vcpu(1)};
            for (int i = 0; i < vcpus.length; i++) {
                vcpus[i].setState(VcpuState.RUNNABLE);
                give(vcpus[i], 1 << i);
            }
            ForwardedIrq irq = world.forward(LOGICAL_2);
            for (int round = 0; round < 3; round++) {
                assertThat(irq.path()).isNotNull();
                for (int i = 0; i < vcpus.length; i++) {
                    world.fake.vcpu(i).exits(FakeExit.ioOut(0x80, 1, 1));
                    vcpus[i].run();
                }
                world.agrees(irq, FakeIrte.Form.POSTED);
                give(vcpus[(round + 1) % 2], 4);
                give(vcpus[round % 2], 2);
                give(vcpus[(round + 1) % 2], 1);
            }
            irq.mask();
            irq.unmask();
            assertThat(world.entry().vcpu()).contains(new VcpuId(0));
            world.agrees(irq, FakeIrte.Form.POSTED);
        }
    }

    /**
     * Up to 6.2 the map of logical ids keeps the LAPIC that came last; since 6.3 an id of two LAPICs has no entry, and
     * AVIC is inhibited ({@code kvm_recalculate_apic_map}).
     */
    @ParameterizedTest
    @CsvSource({
        "vtd-posting, false",
        "'6.12,vtd-posting', false",
        "'6.1,vtd-posting', true",
        "amd-avic, false",
        "'6.12,amd-avic', false",
        "'6.1,amd-avic', true"
    })
    void logicalIdOfTwoVcpusIsResolvedAsTheKernelDoes(String profile, boolean lastOne) {
        try (World world = new World(profile, 0)) {
            Vcpu[] vcpus = {world.vcpu(0), world.vcpu(1)};
            for (Vcpu vcpu : vcpus) {
                vcpu.setState(VcpuState.RUNNABLE);
                give(vcpu, 2);
            }
            ForwardedIrq irq = world.forward(LOGICAL_2);
            assertThat(irq.path()).isNotNull();
            for (int i = 0; i < vcpus.length; i++) {
                world.fake.vcpu(i).exits(FakeExit.ioOut(0x80, 1, 1));
                vcpus[i].run();
            }
            irq.mask();
            irq.unmask();
            world.agrees(irq, lastOne ? FakeIrte.Form.POSTED : FakeIrte.Form.REMAPPED);
            assertThat(irq.predicted().text())
                    .startsWith(
                            lastOne
                                    ? "posted to vcpu 1, vector 0x41; the guest's LAPICs had this logical destination"
                                    : "not posted because the message does not target exactly one vCPU (logical"
                                            + " destination 0x2 matches vCPUs 0, 1)");
        }
    }

    /** {@code avic_init_backing_page()}: a refusal up to 6.16, an inhibit since. */
    @Test
    void vcpuIdBeyondTheTableOfAvicIsRefusedOrInhibits() {
        VcpuId beyond = new VcpuId(512);
        try (World world = new World("6.12,amd-avic", 1)) {
            assertThatThrownBy(() -> world.vm.createVcpu(beyond))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining("EINVAL")
                    .hasMessageContaining("up to 6.16, kvm_amd with avic=1 takes ids up to 254, with x2AVIC up to 511");
            world.agrees(world.forward(BROADCAST), FakeIrte.Form.POSTED);
        }
        try (World world = new World("amd-avic", 1)) {
            world.vm.createVcpu(beyond);
            world.fake.vcpus().get(0).enterGuest();
            ForwardedIrq irq = world.forward(MsiMessage.to(new VcpuId(0), VECTOR));
            assertThat(world.entry().form()).isEqualTo(FakeIrte.Form.REMAPPED);
            assertThat(irq.predicted().text())
                    .isEqualTo("posting is unknown because a vCPU id above 511 inhibits AVIC unless the processor has"
                            + " X2AVIC_EXT, and no file shows whether it has");
        }
    }

    /** The mirror is not told that the vCPU enters its guest, so it must not say which. */
    @ParameterizedTest
    @CsvSource({
        "'6.12,amd-avic', true, POSTED",
        "'6.12,amd-avic', false, REMAPPED",
        "'6.1,amd-avic', true, POSTED",
        "'6.1,amd-avic', false, REMAPPED",
        "amd-avic, true, POSTED",
        "amd-avic, false, POSTED"
    })
    void entryThatIsWrittenInAnInhibitsWindowIsNotGuessed(String profile, boolean during, FakeIrte.Form expected) {
        try (World world = new World(profile, 1)) {
            world.vm.x86().createPit();
            world.vm.x86().setPitReinjection(false);
            FakeVcpu vcpu = world.fake.vcpus().get(0);
            vcpu.enterGuest();
            inhibit(world, true);
            ForwardedIrq irq = null;
            if (during) {
                irq = world.forward(BROADCAST);
            } else {
                vcpu.enterGuest();
            }
            inhibit(world, false);
            irq = irq == null ? world.forward(BROADCAST) : irq;
            vcpu.enterGuest();
            vcpu.preempt();
            vcpu.enterGuest();
            assertThat(world.entry().form()).isEqualTo(expected);
            if (!(irq.predicted() instanceof Posting.Unknown)) {
                world.agrees(irq, expected);
            }
        }
    }

    /** An access to another port is another instruction, so KVM has entered the guest. INS and OUTS repeat their port. */
    @ParameterizedTest
    @CsvSource({
        "'6.12,amd-avic', 0x81, true",
        "'6.12,amd-avic', 0x80, false",
        "'6.1,amd-avic', 0x81, true",
        "'6.1,amd-avic', 0x80, false"
    })
    void runOfAVcpuTellsThatItHasAppliedAnInhibit(String profile, String port, boolean known) {
        try (World world = new World(profile, 0)) {
            world.vm.x86().createPit();
            world.vm.x86().setPitReinjection(false);
            Vcpu vcpu = world.vcpu(0);
            world.fake.vcpu(0).exits(FakeExit.ioOut(0x80, 1, 1), FakeExit.ioOut(Integer.decode(port), 1, 1));
            vcpu.run();
            inhibit(world, true);
            vcpu.run();
            ForwardedIrq irq = world.forward(BROADCAST);
            inhibit(world, false);
            if (known) {
                world.agrees(irq, FakeIrte.Form.REMAPPED);
            } else {
                assertThat(irq.predicted()).isInstanceOf(Posting.Unknown.class);
            }
        }
    }

    private static void inhibit(World world, boolean on) {
        world.vm.x86().setPitReinjection(on);
        world.forwarding.mirror().apply(new Event.Inhibited(on ? EnumSet.of(InhibitReason.PIT_REINJ) : Set.of()));
    }
}
