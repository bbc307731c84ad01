/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** A guest that starts its second vCPU and sends interrupts by ICR (MSR 0x830): arch/x86/kvm/lapic.c. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.World#withSvm")
class CommandContract extends KernelSuite {
    private static final int SECOND = 0x2000;
    private static final int ID_PORT = 0x84;
    private static final int COMMAND_PORT = 0x85;
    private static final int ENDED = 0x80;
    private static final int IRR = 0x200;
    private static final int ASSERT = 1 << 14;
    private static final int INIT = 5 << 8;
    private static final int START_UP = 6 << 8;

    private static final String ID = "mov ecx, 0x802; rdmsr; out 0x84, al;";
    private static final String COMMAND = "mov ecx, 0x830; rdmsr; out 0x85, eax;";

    private final Undo made = new Undo();

    @Override
    @AfterEach
    void close() {
        made.close();
        super.close();
    }

    private static String send(int destination, int command) {
        return "mov ecx, 0x830; mov eax, " + command + "; mov edx, " + destination + "; wrmsr;";
    }

    private AssembledGuest guest(Vm vm, int vcpus, String code) {
        AssembledGuest guest = made.add(new AssembledGuest(vm, vcpus, code));
        guest.vcpus.forEach(vcpu -> vcpu.x86().useHostCpuid());
        return guest;
    }

    /** By id, and by each shorthand that has the first vCPU: all, and all except the sender. */
    @ParameterizedTest
    @CsvSource({"0, 0", "0x00000000, 0x80000", "7, 0xc0000", "0xffffffff, 0", "1, 0x800"})
    void guestStartsItsSecondVcpuWhichAnswersByAnInterrupt(String to, String how) throws Exception {
        world.assumeFullIrqchip();
        Vm vm = made.add(Vm.create(made.add(Kernel.over(kernel))));
        vm.x86().createIrqchip();
        int answer = ASSERT | Integer.decode(how) | World.VECTOR;
        AssembledGuest guest = guest(
                vm,
                2,
                GuestAssembler.LAPIC_ON
                        + ID
                        + send(1, ASSERT | INIT)
                        + send(1, ASSERT | START_UP | SECOND >>> 12)
                        + "sti; idle: hlt; jmp idle");
        guest.handle(World.VECTOR, GuestAssembler.EOI + "out 0x80, al; iret");
        String sends = send((int) (long) Long.decode(to), answer);
        guest.memory.put(SECOND, bytes(GuestAssembler.LAPIC_ON + ID + sends + COMMAND + "hlt"));
        Vcpu first = guest.vcpu;
        Vcpu second = guest.vcpus.get(1);
        FutureTask<List<Long>> ran = new FutureTask<>(() -> {
            second.moveHere();
            return List.of(second.run().data(), second.run().data());
        });
        new Thread(ran, "second vCPU").start();
        assertThat(first.run().port()).isEqualTo(ID_PORT);
        assertThat(first.run().port()).as("the interrupt came").isEqualTo(ENDED);
        assertThat(ran.get()).containsExactly(1L, (long) answer);
    }

    /** The part of the LAPIC that SVM keeps for a running guest has the upper half of the TPR alone. */
    @ParameterizedTest
    @CsvSource({"0x41, 0x31, 0x41", "0x41, 0x41, 0x41", "0x41, 0x51, 0x40", "0x01, 0, 0x00"})
    void guestOnAmdLosesTheLowerHalfOfItsTaskPriority(String set, String requested, String kept) throws Exception {
        world.assumeX86();
        boolean avic = libc.hostFiles()
                .text("sys/module/kvm_amd/parameters/avic")
                .filter(text -> text.startsWith("Y"))
                .isPresent();
        assumeFalse(avic, "needs a host without AVIC: with it, KVM may lose the upper half, too");
        Vm vm = made.add(Vm.create(made.add(Kernel.over(kernel))));
        vm.x86().createSplitIrqchip(24);
        Vcpu vcpu = guest(vm, 1, "out 0x84, al; out 0x84, al").vcpu;
        X86Lapic lapic = vcpu.x86().lapic().set(X86Lapic.Name.TPR, Integer.decode(set));
        int vector = Integer.decode(requested);
        vcpu.x86()
                .setLapic(lapic.set(X86Lapic.Name.SVR, 0x1ff)
                        .set(IRR + (vector >>> 5 << 4), vector == 0 ? 0 : 1 << (vector & 31)));
        assertThat(vcpu.run().port()).isEqualTo(ID_PORT);
        assertThat(vcpu.run().port()).isEqualTo(ID_PORT);
        assertThat(vcpu.x86().lapic().get(X86Lapic.Name.TPR)).isEqualTo(Integer.decode(world.isAmd() ? kept : set));
    }
}
