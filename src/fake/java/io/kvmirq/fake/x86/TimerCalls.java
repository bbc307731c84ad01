/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmClockData;
import java.nio.ByteBuffer;
import java.util.function.Consumer;

/**
 * VM requests that save and restore its timer and clock. Source: {@code kvm_vm_ioctl_set_pit2()} in
 * arch/x86/kvm/i8254.c, {@code kvm_vm_ioctl_set_clock()} in x86.c.
 */
final class TimerCalls {
    private static final int CLOCK_FLAGS =
            Uapi.KVM_CLOCK_TSC_STABLE | Uapi.KVM_CLOCK_REALTIME | Uapi.KVM_CLOCK_HOST_TSC;

    private final X86Vm vm;
    private final KernelOfFile host;
    /** The difference between the VM's clock and the host's time. */
    private long clockOffset;

    TimerCalls(X86Vm vm) {
        this.vm = vm;
        this.host = vm.host();
        clockOffset = -host.time().now();
    }

    private int onPit(Consumer<Pit> call) {
        vm.pit().ifPresent(call);
        return vm.pit().isPresent() ? 0 : host.refuse(VmAnswer.PIT_NONE);
    }

    int getPit(ByteBuffer to) {
        return onPit(pit -> pit.save(to));
    }

    int reinject(ByteBuffer control) {
        return onPit(pit -> pit.setReinjecting(control.get(Uapi.KvmReinjectControl.PIT_REINJECT) != 0));
    }

    int setPit(ByteBuffer from) {
        return onPit(pit -> {
            host.note(VmAnswer.PIT_RESTART);
            pit.restore(from);
        });
    }

    /** KVM_GET_CLOCK without flags: a host clock other than the TSC has neither TSC nor time of day. */
    int getClock(ByteBuffer to) {
        to.putLong(KvmClockData.CLOCK, host.time().now() + clockOffset);
        return 0;
    }

    int setClock(ByteBuffer from) {
        if ((from.getInt(KvmClockData.FLAGS) & ~CLOCK_FLAGS) != 0) {
            return host.refuse(VmAnswer.CLOCK_FLAGS);
        }
        host.note(VmAnswer.CLOCK_GOES_ON);
        long clock = from.getLong(KvmClockData.CLOCK);
        if ((from.getInt(KvmClockData.FLAGS) & Uapi.KVM_CLOCK_REALTIME) != 0) {
            clock += since(from.getLong(KvmClockData.REALTIME));
        }
        clockOffset = clock - host.time().now();
        return 0;
    }

    /** The nanoseconds since a time of day; 0 if it is in the future. */
    private long since(long ofDay) {
        host.note(VmAnswer.CLOCK_OF_DAY);
        long now = host.time().ofDay();
        return Long.compareUnsigned(now, ofDay) > 0 ? now - ofDay : 0;
    }
}
