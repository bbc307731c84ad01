/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmClockData;
import io.kvmirq.uapi.Uapi.KvmPitChannelState;
import io.kvmirq.uapi.Uapi.KvmPitState2;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The limits of setting a VM's timer and clock: arch/x86/kvm/i8254.c, x86.c. PcPartsTest sets and reads the rest. */
@Contract
class TimerContract extends KernelSuite {
    private static final long HOUR = 3_600_000_000_000L;

    private ByteBuffer get(int vm, long request, int size) {
        ByteBuffer structure = Buffers.allocate(size);
        assertOk(libc.ioctl(vm, request, structure));
        return structure;
    }

    @Test
    void noTimerHasNoState() {
        ByteBuffer state = Buffers.allocate(KvmPitState2.SIZE);
        assertErrno(Errno.ENXIO, libc.ioctl(vm(), Uapi.KVM_GET_PIT2, state));
        assertErrno(Errno.ENXIO, libc.ioctl(vm(), Uapi.KVM_SET_PIT2, state));
        assertErrno(Errno.ENXIO, libc.ioctl(vm(), Uapi.KVM_GET_PIT2, 8));
        assertErrno(Errno.EFAULT, libc.ioctl(vm(), Uapi.KVM_SET_PIT2, 8));
    }

    @Test
    void timerCountsAnewOnceItIsSet() {
        int vm = vm();
        assertOk(libc.ioctl(vm, Uapi.KVM_CREATE_PIT2, Buffers.allocate(Uapi.KvmPitConfig.SIZE)));
        int third = 2 * KvmPitChannelState.SIZE;
        ByteBuffer state = get(vm, Uapi.KVM_GET_PIT2, KvmPitState2.SIZE)
                .put(third + KvmPitChannelState.MODE, (byte) 3)
                .putLong(third + KvmPitChannelState.COUNT_LOAD_TIME, 5);
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_PIT2, state));
        assertThat(get(vm, Uapi.KVM_GET_PIT2, KvmPitState2.SIZE).getLong(third + KvmPitChannelState.COUNT_LOAD_TIME))
                .isGreaterThan(5);
    }

    // Clock

    private long clock(int vm) {
        return get(vm, Uapi.KVM_GET_CLOCK, KvmClockData.SIZE).getLong(KvmClockData.CLOCK);
    }

    private int setClock(int vm, long nanos, int flags) {
        return setClock(vm, nanos, flags, 0);
    }

    private int setClock(int vm, long nanos, int flags, long ofDay) {
        return libc.ioctl(
                vm,
                Uapi.KVM_SET_CLOCK,
                Buffers.allocate(KvmClockData.SIZE)
                        .putLong(KvmClockData.CLOCK, nanos)
                        .putInt(KvmClockData.FLAGS, flags)
                        .putLong(KvmClockData.REALTIME, ofDay));
    }

    @Test
    void flagsOfTheClockAreChecked() {
        world.assumeX86();
        int vm = world.bareVm();
        for (int flag : new int[] {1, 16, -1, 1 | Uapi.KVM_CLOCK_REALTIME}) {
            assertErrno(Errno.EINVAL, setClock(vm, HOUR, flag));
        }
        assertThat(clock(vm)).isLessThan(HOUR);
        assertErrno(Errno.EFAULT, libc.ioctl(vm, Uapi.KVM_SET_CLOCK, 8));
    }

    /** It does not go backwards if the time of day is still to come. */
    @Test
    void clockIsSetToGoOnSinceATimeOfDay() {
        world.assumeX86();
        int vm = world.bareVm();
        assertOk(setClock(vm, HOUR, Uapi.KVM_CLOCK_REALTIME, ofDay() - 4 * HOUR));
        assertThat(clock(vm)).isBetween(5 * HOUR, 6 * HOUR);
        assertOk(setClock(vm, HOUR, Uapi.KVM_CLOCK_REALTIME, ofDay() + 4 * HOUR));
        assertThat(clock(vm)).isBetween(HOUR, 2 * HOUR);
        assertOk(setClock(vm, HOUR, 0, ofDay() - 4 * HOUR));
        assertThat(clock(vm)).as("without the flag").isBetween(HOUR, 2 * HOUR);
    }

    private static long ofDay() {
        return System.currentTimeMillis() * 1_000_000;
    }
}
