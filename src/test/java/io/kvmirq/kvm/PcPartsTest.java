/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Parts of a PC that a VM gets from the kernel beside its irqchip: timer, pages for real mode, default routes. */
class PcPartsTest {
    private Kernel kernel;
    private Vm vm;

    private void open(Kernel opened) {
        kernel = opened;
        vm = Vm.create(kernel);
    }

    private void open(Kernels kernels) {
        open(kernels.open());
        vm.x86().createIrqchip();
    }

    @AfterEach
    void close() {
        if (vm != null) {
            vm.close();
            kernel.close();
        }
    }

    private VcpuExit speaker() {
        try (AssembledGuest guest = new AssembledGuest(vm, "in al, 0x61; out 0x80, al")) {
            guest.vcpu.kick();
            assertThat(guest.vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            return guest.vcpu.run();
        }
    }

    @OnBothKernels
    void timerIsOnlyOne(Kernels kernels) {
        open(kernels);
        refused(Errno.ENXIO, () -> vm.x86().setPitReinjection(false));
        vm.x86().createPit();
        vm.x86().setPitReinjection(false);
        vm.x86().setPitReinjection(true);
        assertThat(refused(Errno.EEXIST, vm.x86()::createPitWithSpeaker))
                .isEqualTo("pit create " + vm + ": EEXIST (the VM already has a timer)");
    }

    @OnBothKernels
    void timerLeavesTheSpeakerToTheVmm(Kernels kernels) {
        open(kernels);
        vm.x86().createPit();
        assertThat(speaker()).hasToString("IO of port 0x61, 1 × 1 bytes read");
    }

    @OnBothKernels
    void timerWithSpeakerTakesItsPort(Kernels kernels) {
        open(kernels);
        vm.x86().createPitWithSpeaker();
        if (kernels == Kernels.FAKE) {
            assertThatThrownBy(this::speaker).hasMessageContaining("a guest that programs its timer (PIT)");
        } else {
            assertThat(speaker().port()).isEqualTo(0x80);
        }
    }

    @Test
    void kernelWithoutIrqchipHasNoTimer() {
        open(new FakeKernel(Profile.parse("6.18,split")).open());
        refused(Errno.ENOTTY, vm.x86()::createPit);
    }

    @OnBothKernels
    void chipsTravelAsBytes(Kernels kernels) {
        open(kernels);
        X86Pic slave =
                vm.x86().pic(Route.Chip.PIC_SLAVE).set(X86Pic.Name.IMR, 0x5a).set(X86Pic.Name.VECTOR, 0x28);
        vm.x86().setPic(X86Pic.fromBytes(Route.Chip.PIC_SLAVE, slave.bytes()));
        assertThat(vm.x86().pic(Route.Chip.PIC_SLAVE).difference(slave)).isEmpty();
        assertThat(slave.difference(vm.x86().pic(Route.Chip.PIC_MASTER)).orElseThrow())
                .startsWith("IMR=0x5a, not IMR=");
        assertThatThrownBy(() -> vm.x86().pic(Route.Chip.IOAPIC)).hasMessageStartingWith("IOAPIC is not a PIC");
        IoapicState ioapic = vm.x86().ioapic();
        IoapicState other = IoapicState.fromBytes(ioapic.bytes())
                .levelPin(new Route.Pin(new Gsi(3), Route.Chip.IOAPIC, 3), new InterruptVector(0x31));
        vm.x86().setIoapic(other);
        assertThat(vm.x86().ioapic().difference(other)).isEmpty();
        assertThat(other.difference(ioapic)).contains("pin 3=0x8031, not pin 3=0x10000");
    }

    @OnBothKernels
    void timerTravelsAsBytes(Kernels kernels) {
        open(kernels);
        assertThat(refused(Errno.ENXIO, vm.x86()::pit))
                .isEqualTo("pit get " + vm + ": ENXIO (the VM has no in-kernel timer)");
        vm.x86().createPit();
        X86Pit pit = vm.x86().pit().set(X86Pit.Name.COUNT_1, 0x1234).set(X86Pit.Name.GATE_2, 1);
        vm.x86().setPit(X86Pit.fromBytes(pit.bytes()));
        assertThat(vm.x86().pit().get(X86Pit.Name.COUNT_1)).isEqualTo(0x1234);
        assertThat(vm.x86().pit().get(X86Pit.Name.GATE_2)).isOne();
        assertThat(vm.x86().pit().get(X86Pit.Name.MODE_0)).isEqualTo(0xff);
    }

    @OnBothKernels
    void clockGoesOnFromWhereItIsSet(Kernels kernels) {
        open(kernels);
        vm.x86().setClock(Duration.ofHours(1));
        assertThat(vm.x86().clock()).isBetween(Duration.ofHours(1), Duration.ofHours(2));
        try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            assertThat(vcpu.x86().tscKilohertz()).isPositive();
        }
    }

    @OnBothKernels
    void pagesForRealModeEndBelow4GiB(Kernels kernels) {
        open(kernels);
        vm.x86().setTssAddress(0xfffbd000L);
        assertThat(refused(Errno.EINVAL, () -> vm.x86().setTssAddress(0xffffe000L)))
                .isEqualTo("tss set " + vm + " address=0xffffe000: EINVAL (three pages from the address must lie below"
                        + " 4 GiB)");
    }

    @OnBothKernels
    void identityMapComesBeforeVcpus(Kernels kernels) {
        open(kernels);
        vm.x86().setIdentityMapAddress(0xfffbc000L);
        try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            assertThat(refused(Errno.EINVAL, () -> vm.x86().setIdentityMapAddress(0xfffbc000L)))
                    .as(vcpu.toString())
                    .isEqualTo("identity map set " + vm + " address=0xfffbc000: EINVAL (the VM already has vCPUs: set"
                            + " the address before the first one)");
        }
    }

    @OnBothKernels
    void defaultRoutesCanBePutBack(Kernels kernels) {
        open(kernels);
        RouteTable routes = vm.routes();
        var before = routes.routes();
        routes.edit(edit -> edit.remove(new Gsi(4)));
        routes.change(edit -> {
            RouteTable.defaultsOfX86().stream()
                    .filter(route -> route.gsi().equals(new Gsi(4)))
                    .forEach(edit::add);
            return edit;
        });
        assertThat(routes.routes()).hasSameElementsAs(before).hasSize(40);
        assertThat(routes.commits()).isEqualTo(2);
    }

    @Test
    void partsOfAPcAreNotOfArm64() {
        open(new FakeKernel(Profile.parse("6.18,arm64")).open());
        assertThatThrownBy(vm::x86)
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessage(vm + " is arm64 and has no x86 parts: call Vm.arm64()");
    }
}
