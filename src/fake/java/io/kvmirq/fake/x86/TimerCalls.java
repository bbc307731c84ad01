/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmClockData;
import java.nio.ByteBuffer;

/**
 * The requests of a VM that save and restore its timer and its clock. Source: {@code kvm_vm_ioctl_set_pit2()} in
 * arch/x86/kvm/i8254.c, {@code kvm_vm_ioctl_set_clock()} in x86.c.
 */
final class TimerCalls {
    private static final int CLOCK_FLAGS =
            Uapi.KVM_CLOCK_TSC_STABLE | Uapi.KVM_CLOCK_REALTIME | Uapi.KVM_CLOCK_HOST_TSC;

    private final X86Vm vm;
    private final Host host;
    /** The difference between the VM's clock and the host's time. */
    private long clockOffset;

    TimerCalls(X86Vm vm) {
        this.vm = vm;
        this.host = vm.host();
        clockOffset = -host.time().now();
    }

    int getPit(ByteBuffer to) {
        if (!vm.hasPit()) {
            return host.refuse(VmAnswer.PIT_NONE);
        }
        vm.pitTimer().channels().save(to);
        return 0;
    }

    int reinject(ByteBuffer control) {
        if (!vm.hasPit()) {
            return host.refuse(VmAnswer.PIT_NONE);
        }
        vm.pitTimer().setReinjecting(control.get(Uapi.KvmReinjectControl.PIT_REINJECT) != 0);
        return 0;
    }

    int setPit(ByteBuffer from) {
        if (!vm.hasPit()) {
            return host.refuse(VmAnswer.PIT_NONE);
        }
        host.note(VmAnswer.PIT_RESTART);
        vm.pitTimer().channels().restore(from);
        return 0;
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
