/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The events that a VMM restores reach the guest: {@code kvm_check_and_inject_events()} in arch/x86/kvm/x86.c. */
@Contract
class EventsRunContract extends KernelSuite {
    private static final int TOLD = 0x82;
    private static final int HANDLED = 0x85;
    private static final int STACK = 0x8000;
    private static final int NEXT = 0x1002;

    private RealModeGuest guest;

    /** {@code out; nop; out}, and a handler that tells. */
    @BeforeEach
    void setUp() {
        guest = new RealModeGuest(world, world.splitVm(), asm("out 0x82, al; nop; out 0x82, al; hlt"));
        guest.runTo(TOLD);
    }

    private ByteBuffer events() {
        ByteBuffer events = Buffers.allocate(KvmVcpuEvents.SIZE);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_GET_VCPU_EVENTS, events));
        return events;
    }

    private void set(Consumer<ByteBuffer> change) {
        ByteBuffer events = events();
        change.accept(events);
        assertOk(libc.ioctl(guest.vcpu(), Uapi.KVM_SET_VCPU_EVENTS, events));
    }

    private int pushed(int at) {
        return guest.at(STACK - at) | guest.at(STACK - at + 1) << 8;
    }

    private void assertInterruptedAtNext() {
        assertThat(pushed(6)).as("RIP").isEqualTo(NEXT);
        assertThat(pushed(4)).as("CS").isZero();
        assertThat(pushed(2)).as("flags").isEqualTo(2);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 6, 13, 14})
    void injectedExceptionIsTakenBeforeTheNextInstruction(int number) {
        guest.handle(number, asm("out 0x85, al; iret"));
        set(events -> events.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 1)
                .put(KvmVcpuEvents.EXCEPTION_NR, (byte) number)
                .put(KvmVcpuEvents.EXCEPTION_HAS_ERROR_CODE, (byte) (number > 6 ? 1 : 0))
                .putInt(KvmVcpuEvents.EXCEPTION_ERROR_CODE, 0x77));
        assertThat(events().get(KvmVcpuEvents.EXCEPTION_INJECTED)).isOne();
        guest.runTo(HANDLED);
        assertInterruptedAtNext();
        assertThat(events().get(KvmVcpuEvents.EXCEPTION_INJECTED)).isZero();
        guest.runTo(TOLD);
    }

    @Test
    void injectedNmiIsTakenAndMasksOthers() {
        guest.handle(2, asm("out 0x85, al; iret"));
        set(events -> events.put(KvmVcpuEvents.NMI_INJECTED, (byte) 1));
        guest.runTo(HANDLED);
        assertInterruptedAtNext();
        assertThat(events().get(KvmVcpuEvents.NMI_INJECTED)).isZero();
        assertThat(events().get(KvmVcpuEvents.NMI_MASKED)).isOne();
        guest.runTo(TOLD);
        assertThat(events().get(KvmVcpuEvents.NMI_MASKED)).isZero();
    }
}
