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

/** What a VMM saves of a VM's timer and clock: arch/x86/kvm/i8254.c, x86.c. */
@Contract
class TimerContract extends KernelSuite {
    private static final long HOUR = 3_600_000_000_000L;
    private static final int NO_MODE = 0xff;

    private ByteBuffer get(int vm, long request, int size) {
        ByteBuffer structure = Buffers.allocate(size);
        assertOk(libc.ioctl(vm, request, structure));
        return structure;
    }

    private int vmWithPit() {
        int vm = vm();
        assertOk(libc.ioctl(vm, Uapi.KVM_CREATE_PIT2, Buffers.allocate(Uapi.KvmPitConfig.SIZE)));
        return vm;
    }

    private static int channel(int number) {
        return number * KvmPitChannelState.SIZE;
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
    void timerBeginsWithoutAMode() {
        ByteBuffer state = get(vmWithPit(), Uapi.KVM_GET_PIT2, KvmPitState2.SIZE);
        for (int i = 0; i < 3; i++) {
            assertThat(state.get(channel(i) + KvmPitChannelState.MODE) & 0xff).isEqualTo(NO_MODE);
            assertThat(state.getInt(channel(i) + KvmPitChannelState.COUNT)).isEqualTo(0x10000);
            assertThat(state.get(channel(i) + KvmPitChannelState.GATE)).isEqualTo((byte) (i == 2 ? 0 : 1));
        }
        assertThat(state.getLong(KvmPitChannelState.COUNT_LOAD_TIME)).isZero();
        assertThat(state.getInt(KvmPitState2.FLAGS)).isZero();
    }

    @Test
    void timerIsReadAsItWasSet() {
        int vm = vmWithPit();
        ByteBuffer state = get(vm, Uapi.KVM_GET_PIT2, KvmPitState2.SIZE);
        state.putInt(channel(1) + KvmPitChannelState.COUNT, 1234)
                .putInt(channel(2) + KvmPitChannelState.COUNT, 0)
                .putShort(channel(2) + KvmPitChannelState.LATCHED_COUNT, (short) 77)
                .put(channel(2) + KvmPitChannelState.MODE, (byte) 3)
                .put(channel(2) + KvmPitChannelState.GATE, (byte) 1)
                .putLong(channel(2) + KvmPitChannelState.COUNT_LOAD_TIME, 5)
                .putInt(KvmPitState2.FLAGS, 2)
                .putInt(KvmPitState2.FLAGS + Integer.BYTES, -1);
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_PIT2, state));
        ByteBuffer read = get(vm, Uapi.KVM_GET_PIT2, KvmPitState2.SIZE);
        assertThat(read.getInt(channel(1) + KvmPitChannelState.COUNT)).isEqualTo(1234);
        assertThat(read.getInt(channel(2) + KvmPitChannelState.COUNT)).isEqualTo(0x10000);
        assertThat(read.getShort(channel(2) + KvmPitChannelState.LATCHED_COUNT)).isEqualTo((short) 77);
        assertThat(read.get(channel(2) + KvmPitChannelState.MODE)).isEqualTo((byte) 3);
        assertThat(read.get(channel(2) + KvmPitChannelState.GATE)).isOne();
        assertThat(read.getLong(channel(2) + KvmPitChannelState.COUNT_LOAD_TIME))
                .as("it counts from now on")
                .isGreaterThan(5);
        assertThat(read.getInt(KvmPitState2.FLAGS)).isEqualTo(2);
        assertThat(read.getInt(KvmPitState2.FLAGS + Integer.BYTES))
                .as("the rest is reserved")
                .isZero();
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
    void clockGoesOnFromWhereItWasSet() {
        world.assumeX86();
        int vm = world.bareVm();
        long begin = clock(vm);
        assertThat(begin).isBetween(0L, HOUR);
        assertOk(setClock(vm, HOUR, 0));
        long first = clock(vm);
        assertThat(first).isBetween(HOUR, 2 * HOUR);
        assertThat(clock(vm)).isGreaterThanOrEqualTo(first);
        assertOk(setClock(vm, 2 * HOUR, Uapi.KVM_CLOCK_TSC_STABLE | Uapi.KVM_CLOCK_HOST_TSC));
        assertThat(clock(vm)).isBetween(2 * HOUR, 3 * HOUR);
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
        assertOk(setClock(vm, HOUR, Uapi.KVM_CLOCK_REALTIME, -1));
        assertThat(clock(vm)).as("a number without sign").isBetween(HOUR, 2 * HOUR);
        assertOk(setClock(vm, HOUR, 0, ofDay() - 4 * HOUR));
        assertThat(clock(vm)).as("without the flag").isBetween(HOUR, 2 * HOUR);
    }

    private static long ofDay() {
        return System.currentTimeMillis() * 1_000_000;
    }

    /** Which of them a kernel gives depends on the clock of its host. */
    @Test
    void clockThatWasReadCanBeSet() {
        world.assumeX86();
        int vm = world.bareVm();
        world.vcpu(vm, 0);
        ByteBuffer read = get(vm, Uapi.KVM_GET_CLOCK, KvmClockData.SIZE);
        int flags = read.getInt(KvmClockData.FLAGS);
        int ofDay = Uapi.KVM_CLOCK_REALTIME | Uapi.KVM_CLOCK_HOST_TSC;
        assertThat(flags & ofDay).isIn(0, ofDay);
        assertThat(read.getLong(KvmClockData.REALTIME) != 0).isEqualTo((flags & ofDay) != 0);
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_CLOCK, read.putLong(KvmClockData.CLOCK, HOUR)));
        assertThat(clock(vm)).isBetween(HOUR, 2 * HOUR);
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

    @Test
    void vcpuHasTheRateOfItsTsc() {
        assertThat(libc.ioctl(world.vcpu(vm(), 0), Uapi.KVM_GET_TSC_KHZ, 0)).isPositive();
    }
}
