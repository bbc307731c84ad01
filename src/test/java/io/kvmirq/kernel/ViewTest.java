/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.OnBothKernels;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Views of a mapping; all bindings are in the contract of memory. */
class ViewTest {
    private static final int PAGE = 4096;
    /** One is enough, but a thread of its own gives addresses back. */
    private static final int COLLECTIONS = 1000;

    private static final VarHandle SHORT =
            MethodHandles.byteBufferViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle LONG = MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    @OnBothKernels
    void viewIsTheMemory(Kernels on) {
        try (Kernel kernel = on.open();
                Mapping.Owner owner = Mapping.anonymous(kernel, 2 * PAGE)) {
            Mapping memory = owner.mapping();
            ByteBuffer view = memory.view(PAGE - 8, 16);
            assertThat(view.capacity()).isEqualTo(16);
            view.putLong(0, 0x1122334455667788L);
            assertThat(memory.getInt(PAGE - 8)).isEqualTo(0x55667788);
            memory.putInt(PAGE, 7);
            assertThat(view.getInt(8)).isEqualTo(7);
            SHORT.setRelease(view, 8, (short) 0x8001);
            assertThat((short) SHORT.getAcquire(view, 8)).isEqualTo((short) 0x8001);
            assertThat(LONG.compareAndSet(view, 8, 0x8001L, -1L)).isTrue();
            assertThat(memory.getLong(PAGE)).isEqualTo(-1);
        }
    }

    @OnBothKernels
    void viewIsInsideOfOpenMemory(Kernels on) {
        try (Kernel kernel = on.open()) {
            Mapping.Owner owner = Mapping.anonymous(kernel, PAGE);
            Mapping memory = owner.mapping();
            assertIllegalArgument(
                    () -> memory.view(0, 0),
                    "a view of 0 bytes is invalid: expected 1 to 1073741824; for more memory, use several views");
            assertThatThrownBy(() -> memory.view(0, (1 << 30) + 1)).isInstanceOf(IllegalArgumentException.class);
            assertThatThrownBy(() -> memory.view(1, PAGE))
                    .isInstanceOf(IndexOutOfBoundsException.class)
                    .hasMessage("offset 1, length 4096 is outside of the mapping of memory, which has 4096 bytes");
            owner.close();
            assertThatThrownBy(() -> memory.view(0, PAGE)).isInstanceOf(ClosedHandleException.class);
        }
    }

    /** A guest or a device that has the memory keeps it; then the pages go, and the view shows none of others. */
    @Test
    void viewOfClosedMemoryReachesNoMemoryOfOthers() throws IOException {
        try (Kernel kernel = Kernels.REAL.open();
                MemoryFile file = MemoryFile.create(kernel, "ram", PAGE);
                Mapping.Owner witness = file.map()) {
            Mapping.Owner owner = file.map();
            Mapping.Lease lease = owner.mapping().lease();
            ByteBuffer view = owner.mapping().view(0, PAGE).putInt(0, 5);
            owner.close();
            assertThat(view.getInt(0)).as("leased").isEqualTo(5);
            lease.close();
            assertThat(view.getInt(0)).isZero();
            view.putInt(0, 6);
            assertThat(witness.mapping().getInt(0)).isEqualTo(5);
            assertThat(view.getInt(0)).isEqualTo(6);
            assertThat(kernel.openHandles()).hasSize(2);
        }
    }

    @Test
    void addressesAreGivenBackWhenNoViewIsReachable() throws IOException {
        try (Kernel kernel = Kernels.REAL.open()) {
            Mapping.Owner owner = Mapping.anonymous(kernel, PAGE);
            long[] address = new long[1];
            owner.mapping().withAddress(found -> address[0] = found);
            ByteBuffer slice = owner.mapping().view(0, PAGE).slice(8, 8).asReadOnlyBuffer();
            owner.mapping().view(8, 8);
            owner.close();
            System.gc();
            assertThat(slice.getLong(0)).isZero();
            assertThat(isMapped(address[0])).isTrue();
            slice = ByteBuffer.allocate(0);
            for (int i = 0; i < COLLECTIONS && isMapped(address[0]); i++) {
                System.gc();
            }
            assertThat(isMapped(address[0])).as("%s", slice).isFalse();
        }
    }

    private static boolean isMapped(long address) throws IOException {
        return Files.readAllLines(Path.of("/proc/self/maps")).stream()
                .map(line -> line.split("[- ]"))
                .anyMatch(area -> Long.parseUnsignedLong(area[0], 16) <= address
                        && address < Long.parseUnsignedLong(area[1], 16));
    }

    /** Without a view nothing is left, and no view forgotten by its user unmaps memory that is open. */
    @Test
    void memoryWithoutViewsIsUnmappedAtOnce() {
        Faults faults = new Faults();
        KernelBackend backend = faults.over(new FakeKernel(Machine.profile()).backend());
        try (Kernel kernel = Kernel.over(backend, Kernel.DEVICE)) {
            faults.listen();
            Mapping.anonymous(kernel, PAGE).close();
            assertThat(faults.calls()).containsExactly("mmap", "madvise", "madvise", "munmap");
            Mapping.Owner owner = Mapping.anonymous(kernel, PAGE);
            ByteBuffer view = owner.mapping().view(0, PAGE);
            faults.listen();
            owner.close();
            assertThat(faults.calls()).containsExactly("mapZeros");
            view.putInt(0, 1);
        }
    }

    /** Where the kernel refuses, the addresses may be free already: they are never unmapped. */
    @Test
    void refusalOfZerosLeavesTheAddresses() {
        Faults faults = new Faults();
        KernelBackend backend = faults.over(new FakeKernel(Machine.profile()).backend());
        try (Kernel kernel = Kernel.over(backend, Kernel.DEVICE)) {
            Mapping.Owner owner = Mapping.anonymous(kernel, PAGE);
            ByteBuffer view = owner.mapping().view(0, PAGE);
            faults.fail("mapZeros", 1, Errno.ENOMEM).listen();
            owner.close();
            owner.close();
            view.putInt(0, 1);
            assertThat(faults.calls()).containsExactly("mapZeros");
            assertThat(kernel.openHandles()).isEmpty();
        }
    }
}
