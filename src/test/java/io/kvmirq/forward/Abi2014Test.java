/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.atLeastOnce;
import static org.mockito.Mockito.clearInvocations;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.verifyNoMoreInteractions;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.PlatformName;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePlatformDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.fake.Refusals;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.Orders;
import io.kvmirq.testing.Search;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.mockito.AdditionalAnswers;

/** The forwarding of 2014 on a fake kernel with its patches. F1 to F12 are the remarks of the review. */
class Abi2014Test {
    private static final String NAME = "fff51000.ethernet";
    private static final Gsi GSI = new Gsi(10);
    private static final Gsi OTHER = new Gsi(11);
    private static final int ID = 42;
    private static final Spi SPI = new Spi(ID);
    private static final int NONE = 1023;

    /** A kernel with a platform device of two lines. */
    private static class Host {
        final FakeKernel fake;
        final FakePlatformDevice hardware;
        final Kernel kernel;
        final Vm vm;
        final KvmVfio kvmVfio;
        final VfioDevice device;
        final LineIrq irq;
        final Abi2014 abi;

        Host(String profile) {
            fake = new FakeKernel(Profile.parse(profile));
            hardware = fake.platformDevice(NAME, 3).level().level().edge().add();
            kernel = fake.open();
            vm = Vm.create(kernel);
            kvmVfio = KvmVfio.create(vm);
            device = VfioDevice.open(kernel, new PlatformName(NAME), kvmVfio);
            irq = device.platformIrq(0);
            abi = Abi2014.named(kvmVfio);
        }
    }

    /** One with a guest that takes SPI 42. */
    private static final class Arm extends Host {
        final FakeArmVcpu guest;
        final EventFd event;
        private final VgicV3 vgic;

        Arm() {
            super("historic");
            Vcpu vcpu = vm.createVcpu(new VcpuId(0));
            vcpu.arm64().initialize();
            vgic = vm.arm64().createVgicV3();
            vgic.init();
            GuestGic.enable(vgic);
            GuestGic.enable(vgic, new VcpuId(0));
            enable(ID);
            guest = fake.armVcpu(Numbers.of(vm.fd()), new VcpuId(0));
            event = EventFd.create(kernel);
            vm.assignIrqfd(event, GSI);
        }

        void enable(int spi) {
            vgic.makeLevel(new Spi(spi));
            GuestGic.enable(vgic, new Spi(spi));
        }

        ArmedLine forwarded() {
            abi.forward(irq, GSI);
            return irq.arm(event);
        }
    }

    private final Arm arm = new Arm();

    // The probe

    @Test
    void kernelWithoutTheGroupIsAbsent() {
        for (String profile : List.of("6.1", "6.18", "6.12,arm64")) {
            assertThat(Abi2014.probe(new Host(profile).kvmVfio)).as(profile).isEqualTo(Abi2014.Probe.ABSENT);
        }
    }

    @Test
    void kernelWithTheGroupIsAmbiguous() {
        for (String profile : List.of("historic", "6.1,historic")) {
            assertThat(Abi2014.probe(new Host(profile).kvmVfio)).as(profile).isEqualTo(Abi2014.Probe.AMBIGUOUS);
        }
        assertThat(Abi2014.Probe.AMBIGUOUS.text()).contains("TDI_BIND");
    }

    /** On a kernel of 2025 a SET would bind a device. */
    @Test
    void probeSetsNothing() {
        for (String profile : List.of("6.18", "historic")) {
            KernelBackend backend = mock(
                    KernelBackend.class,
                    AdditionalAnswers.delegatesTo(new FakeKernel(Profile.parse(profile)).backend()));
            KvmVfio kvmVfio = KvmVfio.create(Vm.create(Kernel.over(backend)));
            clearInvocations(backend);
            Abi2014.probe(kvmVfio);
            Abi2014.named(kvmVfio);
            verify(backend, atLeastOnce()).deviceAttrHas(anyInt(), eq(2), anyLong());
            verifyNoMoreInteractions(backend);
        }
    }

    @Test
    void kernelWithoutTheGroupSaysEnxio() {
        Host host = new Host("6.18");
        assertThat(refused(Errno.ENXIO, () -> host.abi.forward(host.irq, GSI)))
                .isEqualTo("kvm-vfio forward kvm-vfio=5 platform 0 of " + NAME + " gsi=10: ENXIO (this kernel does not"
                        + " have the forwarding of 2014, which was never merged)");
        host.abi.unforward(host.irq);
    }

    // Errors from where they arise: F3, F4

    @Test
    void secondForwardOfAnInterruptIsEinval() {
        arm.abi.forward(arm.irq, GSI);
        assertThat(refused(Errno.EINVAL, () -> arm.abi.forward(arm.irq, GSI))).contains("forwarded already");
        assertThat(refused(Errno.EINVAL, () -> arm.abi.forward(arm.irq, OTHER)))
                .as("the GSI is not part of its name")
                .contains("forwarded already");
        arm.abi.forward(arm.device.platformIrq(1), OTHER);
    }

    @Test
    void forwardOfALineThatIsSignalledIsEbusy() {
        ArmedLine armed = arm.irq.arm(arm.event);
        assertThat(refused(Errno.EBUSY, () -> arm.abi.forward(arm.irq, GSI)))
                .contains("VFIO signals an eventfd for this interrupt already");
        armed.close();
        arm.forwarded();
    }

    @Test
    void gsiThatIsNoSpiIsEinval() {
        refused(Errno.EINVAL, () -> arm.abi.forward(arm.irq, new Gsi(4095)));
        arm.abi.forward(arm.irq, GSI);
    }

    // The guest's EOI

    @Test
    void guestsEoiEndsTheInterruptOfTheHost() {
        arm.forwarded();
        arm.hardware.requestService(0);
        long register = arm.guest.listRegister(ID);
        assertThat(ListRegister.HW.isSet(register)).isTrue();
        assertThat(ListRegister.PHYSICAL_ID.of(register))
                .as("the interrupt of the host")
                .isEqualTo(32);
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
        assertThat(arm.guest.acknowledge())
                .as("active on the host: no other one")
                .isEqualTo(NONE);
        assertThat(arm.guest.end(ID)).isTrue();
        assertThat(arm.guest.acknowledge()).as("the device was not served").isEqualTo(ID);
        arm.hardware.serve(0);
        arm.guest.end(ID);
        assertThat(arm.guest.acknowledge()).isEqualTo(NONE);
        arm.hardware.requestService(0);
        assertThat(arm.guest.acknowledge()).as("without an unmask").isEqualTo(ID);
    }

    /** The architecture gets the VM, the interrupt of the host and the GSI: F1, F2, F11. */
    @Test
    void eachLineIsMappedToItsOwnInterruptOfTheHost() {
        arm.abi.forward(arm.device.platformIrq(1), GSI);
        arm.device.platformIrq(1).arm(arm.event);
        arm.hardware.requestService(1);
        long register = arm.guest.listRegister(ID);
        assertThat(ListRegister.PHYSICAL_ID.of(register)).isEqualTo(33);
        assertThat(ListRegister.VIRTUAL_ID.of(register)).isEqualTo(ID);
    }

    /** Without forwarding: the guest's EOI unmasks through the resamplefd. */
    @Test
    void guestsEoiUnmasksALineThatIsResampled() {
        EventFd trigger = EventFd.create(arm.kernel);
        EventFd resample = EventFd.create(arm.kernel);
        arm.vm.assignLevelIrqfd(trigger, resample, OTHER);
        ArmedLine armed = arm.device.platformIrq(1).arm(trigger);
        armed.unmaskBy(resample);
        arm.enable(ID + 1);
        for (int i = 0; i < 3; i++) {
            arm.hardware.requestService(1);
            assertThat(arm.guest.acknowledge()).isEqualTo(ID + 1);
            arm.guest.end(ID + 1);
            assertThat(arm.guest.acknowledge()).as("the device was not served").isEqualTo(ID + 1);
            arm.hardware.serve(1);
            arm.guest.end(ID + 1);
            assertThat(arm.guest.acknowledge()).isEqualTo(NONE);
        }
    }

    @Test
    void lineThatIsNotForwardedMasksItself() {
        ArmedLine armed = arm.irq.arm(arm.event);
        arm.hardware.requestService(0);
        assertThat(ListRegister.HW.isSet(arm.guest.listRegister(ID))).isFalse();
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
        arm.hardware.serve(0);
        arm.vm.arm64().setSpi(SPI, false);
        arm.guest.end(ID);
        arm.hardware.requestService(0);
        assertThat(arm.guest.acknowledge()).isEqualTo(NONE);
        armed.unmask();
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
    }

    /** Nothing in the answers tells: the caller has to look at the device. */
    @Test
    void stubAnswersZeroWithoutEffect() {
        Host host = new Host("6.1,historic");
        EventFd event = EventFd.create(host.kernel);
        host.abi.forward(host.irq, GSI);
        refused(Errno.EINVAL, () -> host.abi.forward(host.irq, GSI));
        host.irq.arm(event);
        host.hardware.requestService(0);
        assertThat(event.drain()).isEqualTo(1);
        host.hardware.serve(0);
        host.hardware.requestService(0);
        assertThat(event.drain()).as("the line masked itself").isZero();
        assertThat(Refusals.rules(host.fake)).contains(InterruptAnswer.FORWARD_STUB);
        host.abi.unforward(host.irq);
    }

    // The reference: F5

    @Test
    void referenceIsHeldFromForwardToUnforward() {
        arm.abi.forward(arm.irq, GSI);
        arm.device.close();
        assertThat(arm.hardware.remove()).isFalse();
        arm.abi.unforward(arm.irq);
        refused(Errno.ENODEV, () -> VfioDevice.open(arm.kernel, new PlatformName(NAME)));
    }

    @Test
    void refusedForwardHoldsNothing() {
        refused(Errno.EINVAL, () -> arm.abi.forward(arm.irq, new Gsi(4095)));
        arm.device.close();
        assertThat(arm.hardware.remove()).isTrue();
    }

    // Unforward: F6, F7, F9

    @Test
    void unforwardNeverFails() {
        arm.abi.unforward(arm.irq);
        arm.forwarded();
        arm.abi.unforward(arm.irq);
        arm.abi.unforward(arm.irq);
        arm.device.close();
        arm.abi.unforward(arm.irq);
        arm.kvmVfio.close();
        arm.abi.unforward(arm.irq);
        arm.vm.close();
        arm.abi.unforward(arm.irq);
    }

    @Test
    void activeInterruptIsUnforwarded() {
        ArmedLine armed = arm.forwarded();
        arm.hardware.requestService(0);
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
        arm.abi.unforward(arm.irq);
        assertThat(Refusals.rules(arm.fake)).contains(InterruptAnswer.UNFORWARD_LIVE);
        arm.guest.end(ID);
        assertThat(arm.guest.acknowledge()).as("the line was still high").isEqualTo(ID);
        assertThat(ListRegister.HW.isSet(arm.guest.listRegister(ID))).isFalse();
        arm.hardware.serve(0);
        arm.vm.arm64().setSpi(SPI, false);
        arm.guest.end(ID);
        arm.hardware.requestService(0);
        assertThat(arm.guest.acknowledge()).as("the handler masked").isEqualTo(NONE);
        armed.unmask();
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
    }

    /** The KVM-VFIO device of a VMM, adopted: the object knows of none of the lines that the VMM forwarded. */
    private static Abi2014 adopted(Arm vmm) {
        return Abi2014.named(KvmVfio.adopt(vmm.kernel, Numbers.of(vmm.kvmVfio.fd()), Ownership.BORROWED));
    }

    @Test
    void lineThatAnotherForwardedMasksAgainAfterUnforward() {
        ArmedLine armed = arm.forwarded();
        adopted(arm).unforward(arm.irq);
        arm.hardware.requestService(0);
        assertThat(ListRegister.HW.isSet(arm.guest.listRegister(ID))).isFalse();
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
        arm.hardware.serve(0);
        arm.vm.arm64().setSpi(SPI, false);
        arm.guest.end(ID);
        arm.hardware.requestService(0);
        assertThat(arm.guest.acknowledge()).as("the handler masked").isEqualTo(NONE);
        armed.unmask();
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
        arm.abi.unforward(arm.irq);
    }

    /** The VMM's file of the device is closed by its number, since its object leases the file while it forwards. */
    @Test
    void unforwardDropsTheReferenceThatAnotherTook() {
        for (boolean unforwards : List.of(true, false)) {
            Arm vmm = new Arm();
            vmm.abi.forward(vmm.irq, GSI);
            if (unforwards) {
                adopted(vmm).unforward(vmm.irq);
            }
            vmm.fake.backend().libc().close(Numbers.of(vmm.device.fd()));
            assertThat(vmm.hardware.remove()).isEqualTo(unforwards);
        }
    }

    /** The list register names the interrupt of the host that the guest's EOI ends. */
    @Test
    void guestsEoiEndsNoInterruptThatWasMappedLater() {
        arm.forwarded();
        arm.hardware.requestService(0);
        assertThat(arm.guest.acknowledge()).isEqualTo(ID);
        arm.abi.unforward(arm.irq);
        EventFd event = EventFd.create(arm.kernel);
        arm.abi.forward(arm.device.platformIrq(1), GSI);
        arm.device.platformIrq(1).arm(event);
        arm.hardware.requestService(1);
        assertThat(arm.guest.end(ID)).isTrue();
        assertThat(event.drain()).as("active until its own end").isEqualTo(1);
    }

    @Test
    void lineIsForwardedAgain() {
        arm.forwarded().close();
        arm.abi.unforward(arm.irq);
        arm.forwarded();
        arm.hardware.requestService(0);
        assertThat(ListRegister.HW.isSet(arm.guest.listRegister(ID))).isTrue();
    }

    @Test
    void anyOrderOfClosesLeavesTheLineRight() {
        for (List<Integer> order : Orders.of(List.of(0, 1, 2, 3))) {
            Arm arm = new Arm();
            arm.forwarded();
            arm.hardware.requestService(0);
            assertThat(arm.guest.acknowledge()).isEqualTo(ID);
            List<AutoCloseable> closes = List.of(arm.kvmVfio, arm.device, arm.vm, arm.event);
            order.forEach(index -> close(closes.get(index)));
            assertThat(arm.hardware.remove())
                    .as("no reference is left: " + order)
                    .isTrue();
        }
    }

    /** The end of a process closes its files, in any order. */
    @Test
    void killedProcessLeavesTheLineRight() {
        arm.forwarded();
        arm.hardware.requestService(0);
        for (int fd = 3; fd < 30; fd++) {
            arm.fake.backend().libc().close(fd);
        }
        Kernel kernel = arm.fake.open();
        VfioDevice device = VfioDevice.open(kernel, new PlatformName(NAME));
        EventFd event = EventFd.create(kernel);
        device.platformIrq(0).arm(event);
        assertThat(event.drain()).as("the line is still high").isPositive();
        arm.hardware.serve(0);
        arm.hardware.requestService(0);
        assertThat(event.drain()).as("the handler masked").isZero();
    }

    /**
     * At any point of any use: no interrupt stays active, the device is free, and its line works for the next process.
     */
    @Test
    void processKilledAtAnyPointLeavesTheLineRight() {
        Search.run("killed", 0, 200, random -> {
            Arm arm = new Arm();
            List<ArmedLine> armed = new ArrayList<>();
            int steps = random.nextInt(20);
            while (random.step(steps)) {
                int what = random.nextInt(8);
                random.note("act " + what);
                act(arm, armed, what);
            }
            List<Integer> files = new ArrayList<>(IntStream.range(3, 30).boxed().toList());
            Collections.shuffle(files, new Random(random.nextLong()));
            files.forEach(arm.fake.backend().libc()::close);
            assertThat(nextProcessTakesALevel(arm)).isTrue();
            assertThat(arm.hardware.remove()).as("the device is free").isTrue();
        });
    }

    private static void act(Arm arm, List<ArmedLine> armed, int what) {
        try {
            switch (what) {
                case 0 -> arm.abi.forward(arm.irq, GSI);
                case 1 -> armed.add(arm.irq.arm(arm.event));
                case 2 -> armed.forEach(ArmedLine::close);
                case 3 -> arm.hardware.requestService(0);
                case 4 -> arm.hardware.serve(0);
                case 5 -> arm.guest.acknowledge();
                case 6 -> arm.guest.end(ID);
                default -> arm.abi.unforward(arm.irq);
            }
        } catch (KernelException | IllegalStateException e) {
            // Refused in this state: the program goes on.
        }
    }

    private static boolean nextProcessTakesALevel(Arm arm) {
        Kernel kernel = arm.fake.open();
        arm.hardware.serve(0);
        try (VfioDevice device = VfioDevice.open(kernel, new PlatformName(NAME));
                EventFd event = EventFd.create(kernel)) {
            ArmedLine line = device.platformIrq(0).arm(event);
            arm.hardware.requestService(0);
            boolean signalled = event.drain() == 1;
            arm.hardware.serve(0);
            arm.hardware.requestService(0);
            boolean masked = event.drain() == 0;
            line.unmask();
            return signalled && masked && event.drain() == 1;
        }
    }

    private static void close(AutoCloseable closed) {
        try {
            closed.close();
        } catch (Exception e) {
            throw new AssertionError("a tear-down failed", e);
        }
    }
}
