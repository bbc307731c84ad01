/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Allocations;
import io.kvmirq.uapi.Uapi;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.function.IntSupplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** No call of a binding allocates, once it is compiled. */
@Contract
class AllocationContract extends KernelSuite {
    private static final int WARM_UP = 20_000;
    private static final int CALLS = 5_000;
    private static final int NO_FD = 1 << 20;

    private final ByteBuffer eight = Buffers.allocate(Long.BYTES);

    @BeforeEach
    void onlyBindings() {
        assumeTrue(kernel.isReal(), "the fake is no binding");
        assumeTrue(
                !kernel.name().equals("ffm")
                        || !ManagementFactory.getRuntimeMXBean()
                                .getInputArguments()
                                .contains("-XX:TieredStopAtLevel=1"),
                "only the second compiler removes the objects of a method handle's call");
    }

    private static int repeat(IntSupplier call, int times) {
        int last = 0;
        for (int i = 0; i < times; i++) {
            last = call.getAsInt();
        }
        return last;
    }

    /** The JIT compiles in its own time: the calls get several turns. */
    private static void assertAllocatesNothing(IntSupplier call) {
        long min = Long.MAX_VALUE;
        for (int turn = 0; turn < 10 && min >= CALLS; turn++) {
            repeat(call, WARM_UP);
            min = Allocations.leastOf(() -> repeat(call, CALLS));
        }
        assertThat(min).as("bytes of %d calls", CALLS).isLessThan(CALLS);
    }

    @Test
    void signalAndDrain() {
        int fd = world.eventfd();
        assertAllocatesNothing(() -> kernel.eventfdSignal(fd, 1) | kernel.eventfdDrain(fd, eight));
        assertAllocatesNothing(() -> kernel.eventfdSignal(fd, 2) | kernel.eventfdDrainForeign(fd, eight));
        assertAllocatesNothing(() -> kernel.fdWait(fd, fd, 0));
    }

    @Test
    void callsThatFail() {
        int empty = world.eventfd();
        assertAllocatesNothing(() -> kernel.eventfdSignal(NO_FD, 1));
        assertAllocatesNothing(() -> kernel.eventfdDrain(empty, eight));
        assertAllocatesNothing(() -> kernel.msiSignal(NO_FD, MSI_ADDRESS, VECTOR, 0, 0));
    }

    @Test
    void messagesAndLines() {
        int vm = vm();
        world.vcpuWithLapic(vm);
        assertAllocatesNothing(() -> kernel.msiSignal(vm, MSI_ADDRESS, VECTOR, 0, 0));
        assertAllocatesNothing(() -> kernel.lineSet(vm, 4, 1) | kernel.lineSet(vm, 4, 0));
        assertAllocatesNothing(() -> kernel.lineSetStatus(vm, 4, 0, eight));
    }

    @Test
    void attributesAndCapabilities() {
        int vm = vm();
        int device = world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO));
        assertAllocatesNothing(() -> kernel.deviceAttrHas(device, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD));
        assertAllocatesNothing(() -> kernel.capabilityCheck(vm, Uapi.KVM_CAP_IRQFD));
    }

    @Test
    void rawCalls() {
        int fd = world.eventfd();
        long address = libc.addressOf(eight);
        eight.putLong(0, 1);
        assertAllocatesNothing(() -> (int) (libc.write(fd, address, 8) + libc.read(fd, address, 8)));
        assertAllocatesNothing(() -> libc.ioctl(fd, Uapi.KVM_GET_API_VERSION, 0));
        assertAllocatesNothing(() -> libc.fcntl(fd, Uapi.F_GETFL, 0));
    }
}
