/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmClockData;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The requests of a VM that save and restore its timer and its clock. Source: {@code kvm_vm_ioctl_set_pit2()} in
 * arch/x86/kvm/i8254.c, {@code kvm_vm_ioctl_set_clock()} in x86.c.
 */
final class TimerCalls {
    private static final int CHANNELS = 3;
    private static final int SPEAKER_CHANNEL = 2;
    /** The mode before the guest programs a channel: it does not tick. */
    private static final int NO_MODE = 0xff;

    private static final int RATE = 2;
    private static final int SQUARE_WAVE = 3;
    private static final int SOFTWARE_STROBE = 4;

    /** KVM_PIT_FLAGS_HPET_LEGACY. */
    private static final int REPLACED = 1;

    private static final int WHOLE_COUNT = 0x10000;
    private static final int CLOCK_FLAGS =
            Uapi.KVM_CLOCK_TSC_STABLE | Uapi.KVM_CLOCK_REALTIME | Uapi.KVM_CLOCK_HOST_TSC;

    private final X86Vm vm;
    private final Host host;
    private final ByteBuffer pit = ByteBuffer.allocate(KvmPitState2.SIZE).order(ByteOrder.nativeOrder());
    /** The clock less the time of the host. */
    private long clockOffset;

    TimerCalls(X86Vm vm) {
        this.vm = vm;
        this.host = vm.host();
        clockOffset = -host.time().now();
        for (int channel = 0; channel < CHANNELS; channel++) {
            pit.put(at(channel) + KvmPitChannelState.MODE, (byte) NO_MODE)
                    .put(at(channel) + KvmPitChannelState.GATE, (byte) (channel == SPEAKER_CHANNEL ? 0 : 1));
            load(channel, 0);
        }
    }

    private static int at(int channel) {
        return KvmPitState2.CHANNELS + channel * KvmPitChannelState.SIZE;
    }

    /** The time of channel 0 is kept by its timer. */
    private void load(int channel, int from) {
        int count = from == 0 ? WHOLE_COUNT : from;
        pit.putInt(at(channel) + KvmPitChannelState.COUNT, count);
        if (channel > 0) {
            pit.putLong(
                    at(channel) + KvmPitChannelState.COUNT_LOAD_TIME,
                    host.time().now());
        }
    }

    int getPit(ByteBuffer to) {
        if (!vm.hasPit()) {
            return host.refuse(VmAnswer.PIT_NONE);
        }
        to.put(0, pit, 0, pit.capacity());
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
        boolean replaced = (from.getInt(KvmPitState2.FLAGS) & ~pit.getInt(KvmPitState2.FLAGS) & REPLACED) != 0;
        pit.put(0, from, 0, KvmPitState2.FLAGS + Integer.BYTES);
        for (int channel = 0; channel < CHANNELS; channel++) {
            load(channel, from.getInt(at(channel) + KvmPitChannelState.COUNT));
        }
        start(pit.getInt(KvmPitChannelState.COUNT), replaced ? NO_MODE : pit.get(KvmPitChannelState.MODE) & NO_MODE);
        return 0;
    }

    /** Channel 0: the modes 2 and 3 are periodic. A timer that an HPET replaces goes on as it is. */
    private void start(int count, int mode) {
        boolean starts = mode <= SOFTWARE_STROBE;
        if (!starts) {
            vm.pitTimer().stop();
        } else if (vm.irqchip() == X86Vm.Irqchip.FULL && (pit.getInt(KvmPitState2.FLAGS) & REPLACED) == 0) {
            vm.pitTimer().start(count, mode == RATE || mode == SQUARE_WAVE);
        }
    }

    /** No flags: on a host whose clock is not the TSC the kernel tells neither the TSC nor the time of day. */
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

    /** The nanoseconds since a time of day; 0 for one that is still to come. */
    private long since(long ofDay) {
        host.note(VmAnswer.CLOCK_OF_DAY);
        long now = host.time().ofDay();
        return Long.compareUnsigned(now, ofDay) > 0 ? now - ofDay : 0;
    }
}
