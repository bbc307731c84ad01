/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.PlatformName;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePlatformDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.LineHandler;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A line whose interrupt the guest ends, on a kernel with the ABI of 2014. */
class DirectEoiTest {
    private static final String NAME = "fff51000.ethernet";
    private static final Gsi GSI = new Gsi(10);
    private static final int ID = 42;
    private static final int NONE = 1023;
    /** A platform device alone on its line. */
    private static final DirectEoiPolicy SAFE = DirectEoiPolicy.exclusive();

    private final FakeKernel fake = new FakeKernel(Profile.parse("historic"));
    private final FakePlatformDevice hardware =
            fake.platformDevice(NAME, 3).level().add();
    private final Kernel kernel = fake.open();
    private final Vm vm = Vm.create(kernel);
    private final KvmVfio kvmVfio = KvmVfio.create(vm);
    private final VfioDevice device = VfioDevice.open(kernel, new PlatformName(NAME), kvmVfio);
    private final LineIrq line = device.platformIrq(0);
    private final Abi2014 abi = Abi2014.named(kvmVfio);
    private final Forwarding forwarding = Forwarding.create(vm, device);
    private final VgicV3 vgic = vgic();
    private final FakeArmVcpu guest = guest(0);
    private final FakeArmVcpu second = guest(1);

    private VgicV3 vgic() {
        vm.createVcpu(new VcpuId(0)).arm64().initialize();
        vm.createVcpu(new VcpuId(1)).arm64().initialize();
        VgicV3 vgic = vm.arm64().createVgicV3();
        vgic.init();
        GuestGic.enable(vgic);
        GuestGic.enable(vgic, new VcpuId(0));
        GuestGic.enable(vgic, new VcpuId(1));
        GuestGic.enable(vgic, new Spi(ID));
        vgic.writeDistributor(DistributorRegister.GICD_ICFGR.offset() + ID / 16 * 4, 0); // level
        return vgic;
    }

    private FakeArmVcpu guest(int id) {
        return fake.armVcpu(Numbers.of(vm.fd()), new VcpuId(id));
    }

    @Test
    void guestsEoiEndsTheInterruptOfTheHost() {
        ForwardedIrq irq = forwarding.forwardDirect(line, GSI, abi, SAFE);
        assertThat(irq.mechanism()).isEqualTo(Mechanism.DIRECT_EOI);
        assertThat(irq.directEoi()).contains(new DirectEoiDecision.Allowed(List.of(Breakage.VM_GONE)));
        hardware.requestService(0);
        assertThat(ListRegister.HW.isSet(guest.listRegister(ID))).isTrue();
        assertThat(guest.acknowledge()).isEqualTo(ID);
        hardware.serve(0);
        assertThat(guest.end(ID)).isTrue();
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(ID);
    }

    @Test
    void interruptOfTheHostGoesToTheVcpuThatItsSpiIsRoutedTo() {
        forwarding.forwardDirect(line, GSI, abi, SAFE);
        GuestGic.route(vgic, new Spi(ID), new VcpuId(1));
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        assertThat(second.acknowledge()).isEqualTo(ID);
        assertThat(guest.end(ID)).isFalse();
        assertThat(second.end(ID)).isTrue();
    }

    @Test
    void activeInterruptStaysWithItsVcpu() {
        forwarding.forwardDirect(line, GSI, abi, SAFE);
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(ID);
        GuestGic.route(vgic, new Spi(ID), new VcpuId(1));
        vm.arm64().setSpi(new Spi(ID), true);
        assertThat(second.acknowledge()).as("active on the first").isEqualTo(NONE);
        assertThat(guest.end(ID)).isTrue();
        assertThat(second.acknowledge()).isEqualTo(ID);
    }

    /** The VGIC sees rising edges of the host's line only, so that the line is low for it from then on. */
    @Test
    void lineIsLowWhenTheGuestHasTakenItsInterrupt() {
        forwarding.forwardDirect(line, GSI, abi, SAFE);
        hardware.requestService(0);
        assertThat(vgic.isHigh(new Spi(ID))).isTrue();
        assertThat(guest.acknowledge()).isEqualTo(ID);
        assertThat(vgic.isHigh(new Spi(ID))).isFalse();
        hardware.serve(0);
        assertThat(guest.end(ID)).isTrue();
        assertThat(guest.acknowledge()).as("nothing is pending").isEqualTo(NONE);
    }

    /** The host has the state: {@code vgic_hw_irq_change_active()}. ArmGuestContract sees it of a timer. */
    @Test
    void vmmCannotWriteTheActiveStateOfAMappedInterrupt() {
        forwarding.forwardDirect(line, GSI, abi, SAFE);
        int set = GuestGic.word(DistributorRegister.GICD_ISACTIVER, new Spi(ID));
        vgic.writeDistributor(set, GuestGic.bit(new Spi(ID)));
        assertThat(vgic.readDistributor(set)).isZero();
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(ID);
        vgic.writeDistributor(
                GuestGic.word(DistributorRegister.GICD_ICACTIVER, new Spi(ID)), GuestGic.bit(new Spi(ID)));
        assertThat(vgic.readDistributor(set)).isEqualTo(GuestGic.bit(new Spi(ID)));
        assertThat(guest.end(ID)).isTrue();
        assertThat(vgic.readDistributor(set)).isZero();
    }

    /** At each exit the list registers give up what the guest did not take. */
    @Test
    void interruptThatIsNotTakenIsPlacedAgain() {
        forwarding.forwardDirect(line, GSI, abi, SAFE);
        hardware.requestService(0);
        assertThat(ListRegister.HW.isSet(guest.listRegister(ID))).isTrue();
        vm.arm64().setSpi(new Spi(ID), true);
        assertThat(ListRegister.HW.isSet(guest.listRegister(ID))).isTrue();
        GuestGic.route(vgic, new Spi(ID), new VcpuId(1));
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        assertThat(second.acknowledge()).isEqualTo(ID);
    }

    @Test
    void refusedDecisionTouchesNothing() {
        assertRefused(forwarding, line, DirectEoiPolicy.shared(1), "the line has handlers");
        assertThat(forwarding.irqs()).isEmpty();
    }

    private void assertRefused(Forwarding by, LineIrq irq, DirectEoiPolicy policy, String why) {
        assertThatThrownBy(() -> by.forwardDirect(irq, GSI, abi, policy))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageStartingWith(irq + " cannot have direct EOI: " + why)
                .hasMessageEndingWith("Use forward, which masks the line until the guest's EOI");
    }

    /** vfio-platform requests its lines for itself: EBUSY, whatever is asserted. */
    @Test
    void kindOfTheDeviceIsThatOfTheInterrupt() {
        assertRefused(forwarding, line, DirectEoiPolicy.shared(1).assertSafe(), "the line has handlers");
        DirectEoiPolicy ofPci = DirectEoiPolicy.shared(0).withDeactivatingEoi(false);
        assertThat(forwarding.forwardDirect(line, GSI, abi, ofPci).directEoi())
                .contains(new DirectEoiDecision.Allowed(List.of(Breakage.VM_GONE)));
    }

    @Test
    void edgeIsRefused() {
        fake.platformDevice("edge", 4).edge().add();
        try (VfioDevice other = VfioDevice.open(kernel, new PlatformName("edge"), kvmVfio);
                Forwarding edges = Forwarding.create(vm, other)) {
            assertRefused(edges, other.platformIrq(0), SAFE, "the interrupt is not level-triggered");
        }
    }

    /** There KVM-VFIO answers 0 and changes nothing, so that the line would stay masked for ever. */
    @Test
    void x86DoesNotMapTheEoi() {
        FakeKernel x86 = new FakeKernel(Profile.parse("6.1,historic"));
        x86.pciDevice("0000:00:01.0", 1).intx().add();
        Kernel other = x86.open();
        try (Vm full = Vm.create(other);
                KvmVfio group = KvmVfio.create(full);
                VfioDevice opened = VfioDevice.open(other, PciAddress.parse("0000:00:01.0"), group);
                Forwarding second = Forwarding.create(full, opened)) {
            full.x86().createIrqchip();
            assertRefused(second, opened.intx(), DirectEoiPolicy.exclusive(), "the guest's EOI does not deactivate");
        }
    }

    @Test
    void kernelWithoutTheAbiSaysEnxioAndNothingIsLeft() {
        FakeKernel plain = new FakeKernel(Profile.parse("6.12,arm64"));
        plain.platformDevice(NAME, 3).level().add();
        Kernel other = Kernel.over(plain.backend());
        try (Undo made = new Undo()) {
            Vm arm = MessageGuest.of(other, plain.backend().libc(), 0, made).vm;
            KvmVfio device2 = made.add(KvmVfio.create(arm));
            VfioDevice opened = made.add(VfioDevice.open(other, new PlatformName(NAME), device2));
            Forwarding second = made.add(Forwarding.create(arm, opened));
            Abi2014 missing = Abi2014.named(device2);
            refused(Errno.ENXIO, () -> second.forwardDirect(opened.platformIrq(0), GSI, missing, SAFE));
            assertThat(second.forward(opened.platformIrq(0), GSI).mechanism()).isEqualTo(Mechanism.RESAMPLE);
        }
    }

    /** The handler of a live line changes, while its interrupt is in the guest. */
    @Test
    void liveLineMovesToAutoMask() {
        ForwardedIrq irq = forwarding.forwardDirect(line, GSI, abi, SAFE);
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(ID);
        irq.moveTo(Mechanism.RESAMPLE);
        assertThat(irq.mechanism()).isEqualTo(Mechanism.RESAMPLE);
        assertThat(irq.directEoi()).isEmpty();
        assertThat(forwarding.mirror().now().irqs())
                .extracting(predicted -> predicted.handler().known().orElseThrow())
                .containsExactly(LineHandler.AUTO_MASK);
        guest.end(ID);
        assertThat(guest.acknowledge()).as("the device asserts its line").isEqualTo(ID);
        hardware.serve(0);
        guest.end(ID);
        assertThat(guest.acknowledge()).isEqualTo(NONE);
        assertThatThrownBy(() -> irq.moveTo(Mechanism.DIRECT_EOI))
                .isInstanceOf(UnsupportedOperationException.class)
                .hasMessageContaining("cannot be moved from resample to direct EOI");
        hardware.requestService(0);
        assertThat(guest.acknowledge()).as("unmasked by the guest's EOI").isEqualTo(ID);
        assertThat(vm.routes().irqfds(GSI)).isOne();
        irq.close();
        assertThat(vm.routes().irqfds(GSI)).isZero();
    }

    @Test
    void endInTheGuestLeavesTheLineRight() {
        forwarding.forwardDirect(line, GSI, abi, SAFE);
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(ID);
        forwarding.close();
        guest.end(ID);
        hardware.serve(0);
        ForwardedIrq again = Forwarding.create(vm, device).forward(line, GSI);
        hardware.requestService(0);
        assertThat(guest.acknowledge()).isEqualTo(ID);
        again.close();
    }
}
