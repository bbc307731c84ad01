/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.FakeExit.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuExit.Reason;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.concurrent.FutureTask;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A vCPU plays the exits that a test gives it. */
class ScriptedVcpuTest {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final InterruptVector VECTOR = new InterruptVector(0x31);

    private final Undo made = new Undo();
    private static final long IOAPIC = 0xfec0_0000L;

    private FakeKernel fake = new FakeKernel(Profile.V6_18);

    @AfterEach
    void close() {
        made.close();
    }

    /** How the interrupt controllers of a VM are made. */
    private enum Chips {
        FULL,
        SPLIT,
        NONE
    }

    private Vm vm(Chips chips) {
        Vm vm = made.add(Vm.create(made.add(fake.open())));
        switch (chips) {
            case FULL -> vm.x86().createIrqchip();
            case SPLIT -> vm.x86().createSplitIrqchip(24);
            case NONE -> {}
        }
        return vm;
    }

    private Vcpu vcpu(Chips chips) {
        return made.add(vm(chips).createVcpu(FIRST));
    }

    private ScriptedVcpu script() {
        return fake.vcpu(0);
    }

    // Exits

    @Test
    void portsAreWrittenAndReadAndTheAnswersKept() {
        script().exits(ioOut(0x3f8, 1, 'A'), ioIn(0x3fd, 1), ioIn(0x60, 4), ioIn(0x61, 2));
        Vcpu vcpu = vcpu(Chips.FULL);
        VcpuExit exit = vcpu.run();
        assertThat(exit).hasToString("IO of port 0x3f8, 1 × 1 bytes written");
        assertThat(exit.data()).isEqualTo('A');
        assertThat(vcpu.run()).hasToString("IO of port 0x3fd, 1 × 1 bytes read");
        exit.answer(0x60);
        assertThat(script().answers()).as("before the vCPU is run again").isEmpty();
        assertThat(vcpu.run()).hasToString("IO of port 0x60, 1 × 4 bytes read");
        assertThat(script().answers()).containsExactly(0x60L);
        assertThat(vcpu.run().port()).isEqualTo(0x61);
        exit.answer(0x12345);
        vcpu.kick();
        assertThat(vcpu.run().reason()).isEqualTo(Reason.INTR);
        assertThat(script().answers()).containsExactly(0x60L, 0xffff_ffffL, 0x2345L);
        assertThat(script().left()).isZero();
    }

    @Test
    void stringInstructionsHaveSeveralAccesses() {
        script().exits(ioOut(0x3f8, 2, 0x4142, 0x4344), ioIn(0x1f0, 2, 3), hlt());
        Vcpu vcpu = vcpu(Chips.NONE);
        VcpuExit exit = vcpu.run();
        assertThat(IntStream.range(0, exit.count()).mapToLong(exit::data)).containsExactly(0x4142L, 0x4344L);
        assertThat(vcpu.run()).hasToString("IO of port 0x1f0, 3 × 2 bytes read");
        exit.answer(1, 7);
        assertThat(vcpu.run().reason()).isEqualTo(Reason.HLT);
        assertThat(script().answers()).containsExactly(0xffffL, 7L, 0xffffL);
    }

    @Test
    void addressesAreWrittenAndRead() {
        script().exits(mmioWrite(0xd000_0000L, 8, -2), mmioRead(0xd000_0004L, 4), mmioWrite(0xd000_0001L, 1, 9));
        Vcpu vcpu = vcpu(Chips.NONE);
        VcpuExit exit = vcpu.run();
        assertThat(exit).hasToString("MMIO at 0xd0000000, 8 bytes written");
        assertThat(exit.data()).isEqualTo(-2);
        assertThat(vcpu.run()).hasToString("MMIO at 0xd0000004, 4 bytes read");
        exit.answer(0x8000_0001L);
        assertThat(vcpu.run().data()).isEqualTo(9);
        assertThat(script().answers()).containsExactly(0x8000_0001L);
    }

    /** A VMM tells them apart by number: a constant that takes one of these breaks it without a word. */
    @Test
    void numbersOfOtherExitsStayOther() {
        assertThat(Reason.values())
                .extracting(Reason::name)
                .containsExactly(
                        "IO",
                        "MMIO",
                        "HLT",
                        "SHUTDOWN",
                        "FAIL_ENTRY",
                        "INTR",
                        "INTERNAL_ERROR",
                        "SYSTEM_EVENT",
                        "IOAPIC_EOI",
                        "MSR_READ",
                        "MSR_WRITE",
                        "HYPERCALL",
                        "DEBUG",
                        "MEMORY_FAULT",
                        "HYPERV",
                        "XEN",
                        "NOTIFY",
                        "BUS_LOCK",
                        "TPR_ACCESS",
                        "INTERRUPT_WINDOW",
                        "OTHER");
    }

    @Test
    void otherExitsHaveTheirData() {
        script().exits(shutdown(), failEntry(-3), internalError(1), systemEvent(2), ioapicEoi(VECTOR), unknown(35));
        Vcpu vcpu = vcpu(Chips.SPLIT);
        VcpuExit exit = vcpu.run();
        assertThat(exit.reason()).isEqualTo(Reason.SHUTDOWN);
        vcpu.run();
        assertThat(exit.hardwareReason()).isEqualTo(-3);
        vcpu.run();
        assertThat(exit.suberror()).isEqualTo(1);
        vcpu.run();
        assertThat(exit.systemEvent()).isEqualTo(2);
        vcpu.run();
        assertThat(exit.vector()).isEqualTo(VECTOR);
        vcpu.run();
        assertThat(exit.reason()).isEqualTo(Reason.OTHER);
        assertThat(exit.number()).isEqualTo(35);
    }

    @Test
    void doorbellIsTakenByItsIoeventfd() {
        Vm vm = vm(Chips.FULL);
        EventFd doorbell = made.add(EventFd.create(vm.fd().kernel()));
        made.add(vm.assignIoEventFd(IoAddress.port(0x500, 2), doorbell));
        made.add(vm.assignIoEventFd(IoAddress.mmio(0xd000_0000L, 4), doorbell));
        script().exits(ioOut(0x500, 2, 1), mmioWrite(0xd000_0000L, 4, 7), ioOut(0x500, 1, 1));
        Vcpu vcpu = made.add(vm.createVcpu(FIRST));
        assertThat(vcpu.run().size()).isEqualTo(1);
        assertThat(doorbell.drain()).isEqualTo(2);
    }

    // Halts

    @Test
    void haltInTheKernelTakesAnInterrupt() throws Exception {
        Vm vm = vm(Chips.FULL);
        Vcpu vcpu = made.add(vm.createVcpu(FIRST));
        script().exits(hlt(), ioIn(0x60, 1), hlt());
        FutureTask<Integer> run = running(vcpu);
        halted();
        vm.signal(MsiMessage.to(FIRST, VECTOR));
        assertThat(run.get()).isEqualTo(0x60);
        assertThat(script().interrupts()).containsExactly(VECTOR.number());
        vcpu.moveHere();
        assertThat(vcpu.x86().isRequested(VECTOR)).isFalse();
    }

    private void halted() {
        while (fake.waiting() == 0) {
            Thread.onSpinWait();
        }
    }

    private static FutureTask<Integer> running(Vcpu vcpu) {
        FutureTask<Integer> run = new FutureTask<>(() -> {
            vcpu.moveHere();
            VcpuExit exit = vcpu.run();
            return exit.reason() == Reason.IO ? exit.port() : -1;
        });
        new Thread(run, "runner").start();
        return run;
    }

    @Test
    void haltTakesAnInterruptWhereTheHardwarePosts() throws Exception {
        fake = new FakeKernel(Profile.parse("vtd-posting"));
        haltInTheKernelTakesAnInterrupt();
    }

    @Test
    void atTheEndItWaitsWithInterruptsOffForMoreOrForAKick() throws Exception {
        Vm vm = vm(Chips.FULL);
        Vcpu vcpu = made.add(vm.createVcpu(FIRST));
        vcpu.x86().enableLapic();
        script();
        FutureTask<Integer> run = running(vcpu);
        halted();
        vm.signal(MsiMessage.to(FIRST, VECTOR));
        script().exits(ioOut(0x80, 1, 1));
        assertThat(run.get()).isEqualTo(0x80);
        FutureTask<Integer> next = running(vcpu);
        halted();
        vcpu.kick();
        assertThat(next.get()).as("ended by the kick").isEqualTo(-1);
        vcpu.moveHere();
        assertThat(script().interrupts()).isEmpty();
        assertThat(vcpu.x86().isRequested(VECTOR)).isTrue();
    }

    @Test
    void atTheEndItHaltsAgainAndAgainWithoutIrqchip() {
        script().exits(ioOut(0x80, 1, 1));
        Vcpu vcpu = vcpu(Chips.NONE);
        assertThat(vcpu.run().reason()).isEqualTo(Reason.IO);
        assertThat(vcpu.run().reason()).isEqualTo(Reason.HLT);
        assertThat(vcpu.run().reason()).isEqualTo(Reason.HLT);
        script().exits(ioOut(0x80, 1, 2));
        assertThat(vcpu.run().data()).isEqualTo(2);
    }

    @Test
    void applicationProcessorPlaysAfterItsStart() {
        Vm vm = vm(Chips.FULL);
        made.add(vm.createVcpu(FIRST));
        Vcpu second = made.add(vm.createVcpu(new VcpuId(1)));
        fake.vcpu(1).exits(ioOut(0x80, 1, 1));
        second.kick();
        assertThat(second.run().reason()).isEqualTo(Reason.INTR);
        assertThat(fake.vcpu(1).left()).isEqualTo(1);
        second.x86().enableLapic();
        long address = MsiMessage.to(new VcpuId(1), VECTOR).address();
        vm.signal(new MsiMessage(address, 5 << 8));
        vm.signal(new MsiMessage(address, 6 << 8 | 1));
        assertThat(second.run().port()).isEqualTo(0x80);
    }

    // arm64

    @Test
    void vcpuOfArm64PlaysAddressesAndSystemEvents() {
        fake = new FakeKernel(Profile.parse("6.12,arm64"));
        script().exits(mmioWrite(0xa00_0000, 4, 0x31), mmioRead(0xa00_0004, 8), systemEvent(1));
        Vcpu vcpu = vcpu(Chips.NONE);
        assertThatThrownBy(vcpu::run).hasMessageContaining("ENOEXEC");
        vcpu.arm64().initialize();
        VcpuExit exit = vcpu.run();
        assertThat(exit.data()).isEqualTo(0x31);
        assertThat(vcpu.run().address()).isEqualTo(0xa00_0004);
        exit.answer(5);
        assertThat(vcpu.run().systemEvent()).isEqualTo(1);
        assertThat(script().answers()).containsExactly(5L);
        script().exits(mmioRead(0xa00_0004, 8)); // PSCI has stopped the vCPU
        vcpu.kick();
        assertThat(vcpu.run().reason()).isEqualTo(Reason.INTR);
        assertThat(script().left()).isEqualTo(1);
        vcpu.arm64().initialize();
        assertThat(vcpu.run().reason()).isEqualTo(Reason.MMIO);
    }

    @Test
    void exitOfX86IsNoneOfArm64() {
        fake = new FakeKernel(Profile.parse("6.12,arm64"));
        for (FakeExit exit : List.of(ioOut(0x80, 1, 1), ioIn(0x80, 1), hlt(), ioapicEoi(VECTOR))) {
            assertThatIllegalArgumentException()
                    .isThrownBy(() -> script().exits(systemEvent(1), exit))
                    .withMessageContaining(exit + " is an exit of x86");
        }
        assertThat(script().left()).isZero();
    }

    // Mistakes

    @Test
    void accessesHaveASizeAPlaceAndDataThatFit() {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> ioOut(0x10000, 1, 1))
                .withMessage("ioOut(0x10000, 1, 0x1): expected a port of 0 to 0xffff");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> ioIn(0x80, 8))
                .withMessage("ioIn(0x80, 8): expected a size of 1, 2 or 4 bytes");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> ioOut(0x80, 1, 0x100))
                .withMessage("ioOut(0x80, 1, 0x100): expected data of 1 bytes, zero-extended");
        assertThatIllegalArgumentException()
                .isThrownBy(() -> ioIn(0x80, 4, 1025))
                .withMessage("ioIn(0x80, 4, 1025): expected 1 to 1024 accesses of that size");
        assertThatIllegalArgumentException().isThrownBy(() -> ioOut(0x80, 4));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> mmioRead(0, 3))
                .withMessage("mmioRead(0x0, 3): expected a size of 1, 2, 4 or 8 bytes");
        assertThatIllegalArgumentException().isThrownBy(() -> mmioWrite(0, 4, 1L << 32));
    }

    @Test
    void memoryAndDevicesOfTheKernelDoNotExit() {
        Vm vm = vm(Chips.FULL);
        made.add(vm.addMemory(0, 0x1000));
        Vcpu vcpu = made.add(vm.createVcpu(FIRST));
        script().exits(mmioRead(0xff8, 8), mmioWrite(0xfee0_0020L, 4, 0), ioapicEoi(VECTOR));
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("a vCPU of the fake cannot play mmioRead(0xff8, 8): there is memory of the guest, and no"
                        + " exit");
        assertThatThrownBy(vcpu::run).hasMessageContaining("the kernel has its device");
        assertThatThrownBy(vcpu::run).hasMessageContaining("only in a VM with the split irqchip");
    }

    /** KVM answers them in the kernel; without its PIC they exit. */
    @ParameterizedTest
    @ValueSource(ints = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1})
    void portsOfThePicAreInTheKernel(int port) {
        script().exits(ioIn(port, 1), ioOut(port, 1, 0x20), ioIn(port, 1, 2), ioOut(0x80, 1, 1), ioIn(port, 1));
        assertThat(vcpu(Chips.FULL).run().port()).isEqualTo(0x80);
        assertThat(script().answers()).hasSize(3).startsWith(0L);
        assertThat(vcpu(Chips.SPLIT).run().port()).isEqualTo(port);
    }

    @Test
    void guestProgramsTheIoapicInTheKernel() {
        Vm vm = vm(Chips.FULL);
        Vcpu vcpu = made.add(vm.createVcpu(FIRST));
        vcpu.x86().enableLapic();
        long entry = 1 << 15 | VECTOR.number(); // level-triggered, to LAPIC 0
        script().exits(mmioWrite(IOAPIC, 1, 0x1c), mmioWrite(IOAPIC + 0x10, 4, 1 << 16 | entry));
        script().exits(mmioRead(IOAPIC, 4), mmioRead(IOAPIC + 0x10, 8), mmioWrite(IOAPIC + 0x10, 4, entry));
        script().exits(hlt(), mmioRead(IOAPIC + 0x100, 4));
        vm.x86().setLine(new Gsi(6), true);
        assertThat(vcpu.run().address()).as("the end of the registers").isEqualTo(IOAPIC + 0x100);
        assertThat(script().answers()).containsExactly(0x1cL, 1 << 16 | entry);
        assertThat(script().interrupts()).containsExactly(VECTOR.number());
    }

    @Test
    void interruptOfThePicIsTakenOnceItHasVectors() {
        Vm vm = vm(Chips.FULL);
        Vcpu vcpu = made.add(vm.createVcpu(FIRST));
        vcpu.x86().enableLapic();
        vm.x86().setLine(new Gsi(5), true);
        vm.signal(MsiMessage.to(FIRST, VECTOR));
        script().exits(hlt(), ioOut(0x20, 1, 0x11), ioOut(0x21, 1, 0x20), ioOut(0x21, 1, 4), ioOut(0x21, 1, 1));
        script().exits(ioOut(0x80, 1, 1), hlt(), hlt(), ioOut(0x80, 1, 1));
        assertThat(vcpu.run().port()).isEqualTo(0x80);
        vm.x86().setLine(new Gsi(3), true);
        vm.x86().setLine(new Gsi(12), true);
        assertThat(vcpu.run().port()).isEqualTo(0x80);
        assertThat(script().interrupts()).containsExactly(VECTOR.number(), 0x04, 0x23);
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 1 << 25})
    void idIsOneOfAVcpu(int id) {
        assertThatIllegalArgumentException().isThrownBy(() -> fake.vcpu(id));
    }
}
