/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** A buffer's byte order and origin are Java's: the kernel sees and writes the same bytes through every binding. */
@Contract
class OddBuffersContract extends KernelSuite {
    private static final int GSI = 30;
    private static final long COUNT = 0x0102030405060708L;
    private static final int EVENTFDS = UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD | UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;

    /** Buffers of these bytes that the kernel may write into, by what is odd about them. */
    private static Map<String, ByteBuffer> writable(ByteBuffer bytes) {
        int length = bytes.capacity();
        Map<String, ByteBuffer> odd = new LinkedHashMap<>();
        // Java gives each duplicate and slice big-endian order again.
        odd.put("duplicate", copy(bytes, 0, 0).duplicate());
        odd.put("little-endian", copy(bytes, 0, 0).order(ByteOrder.LITTLE_ENDIAN));
        odd.put("big-endian", copy(bytes, 0, 0).order(ByteOrder.BIG_ENDIAN));
        odd.put("slice at 8", copy(bytes, 8, 8).slice(8, length));
        odd.put("slice at 4", copy(bytes, 4, 0).slice(4, length));
        odd.put("slice at 1", copy(bytes, 1, 0).slice(1, length));
        odd.put("longer", copy(bytes, 0, 100));
        odd.put("limited", copy(bytes, 0, 100).limit(length));
        return odd;
    }

    /** Also those that it may only read. */
    private static Map<String, ByteBuffer> readable(ByteBuffer bytes) {
        Map<String, ByteBuffer> odd = writable(bytes);
        odd.put("read-only", copy(bytes, 0, 0).asReadOnlyBuffer());
        odd.put("read-only slice", copy(bytes, 8, 0).asReadOnlyBuffer().slice(8, bytes.capacity()));
        return odd;
    }

    private static ByteBuffer copy(ByteBuffer bytes, int before, int after) {
        int length = bytes.capacity();
        return Buffers.allocate(before + length + after).put(before, bytes, 0, length);
    }

    /** The bytes that the kernel wrote there. */
    private static ByteBuffer content(ByteBuffer odd, int length) {
        return ByteBuffer.allocate(length).order(ByteOrder.nativeOrder()).put(0, odd, 0, length);
    }

    @Test
    void routesAreReadInNativeOrder() {
        int vcpu = world.vcpuWithLapic(vm());
        ByteBuffer route = message(records(1), 0, GSI, MSI_ADDRESS, VECTOR, 0, 0);
        readable(route).forEach((name, odd) -> {
            assertOk(kernel.routesSet(vm(), records(0), 0));
            world.forget(vcpu);
            assertThat(kernel.routesSet(vm(), odd, 1)).as(name).isZero();
            assertThat(world.status(vm(), GSI, 1)).as(name).isPositive();
            assertThat(world.requested(vcpu, VECTOR)).as(name).isTrue();
        });
    }

    @Test
    void tableOfMoreThanAnyHoldsIsRefused() {
        int many = 5000;
        ByteBuffer typed = records(many);
        for (int i = 0; i < many; i++) {
            typed.putInt(i * KernelBackend.ROUTE_SIZE + KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_MSI);
        }
        readable(typed).forEach((name, odd) -> assertErrno(Errno.EINVAL, kernel.routesSet(vm(), odd, many)));
    }

    @Test
    void chipStateIsTheSameBytes() {
        world.redirect(vm(), 5, 0x0100_0000_0000_8031L);
        ByteBuffer plain = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        assertOk(kernel.irqchipGet(vm(), IOAPIC, plain));
        writable(Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE)).forEach((name, odd) -> {
            assertOk(kernel.irqchipGet(vm(), IOAPIC, odd));
            assertThat(content(odd, KernelBackend.IRQCHIP_STATE_SIZE))
                    .as(name)
                    .isEqualTo(content(plain, KernelBackend.IRQCHIP_STATE_SIZE));
        });
        readable(plain).forEach((name, odd) -> {
            world.redirect(vm(), 5, MASKED);
            assertOk(kernel.irqchipSet(vm(), IOAPIC, odd));
            assertThat(world.redirection(vm(), 5)).as(name).isEqualTo(0x0100_0000_0000_8031L);
        });
    }

    @Test
    void countsAndStatusesAreWrittenInNativeOrder() {
        int event = world.eventfd();
        writable(Buffers.allocate(Long.BYTES)).forEach((name, odd) -> {
            assertOk(kernel.eventfdSignal(event, COUNT));
            assertOk(kernel.eventfdDrain(event, odd));
            assertThat(content(odd, Long.BYTES).getLong(0)).as(name).isEqualTo(COUNT);
            assertOk(kernel.eventfdSignal(event, COUNT + 1));
            assertOk(kernel.eventfdDrainForeign(event, odd));
            assertThat(content(odd, Long.BYTES).getLong(0)).as(name).isEqualTo(COUNT + 1);
            assertOk(kernel.lineSetStatus(vm(), 100, 1, odd));
            assertThat(content(odd, Integer.BYTES).getInt(0)).as(name).isEqualTo(-1);
        });
    }

    /** No device is needed: the header is written before the kernel refuses the file. */
    @Test
    void headersOfSetIrqsAreWrittenInNativeOrder() {
        int noDevice = world.eventfd();
        ByteBuffer expected = Buffers.allocate(28);
        Structs.put(expected, 0, "vfio_irq_set", 28, EVENTFDS, UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, 5, 2, noDevice)
                .putInt(VfioIrqSet.DATA + Integer.BYTES, -1);
        ByteBuffer data = copy(expected, 0, 0).putLong(0, -1).putLong(8, -1).putInt(16, -1);
        writable(data).forEach((name, odd) -> {
            assertErrno(Errno.ENOTTY, kernel.vfioIrqsSet(noDevice, EVENTFDS, 2, 5, 2, odd));
            assertThat(content(odd, 28)).as(name).isEqualTo(content(expected, 28));
        });
    }

    /** A count beyond 2^31 is a large one, not a negative one. */
    @Test
    void setIrqsNeedsABufferForAllItsInterrupts() {
        ByteBuffer two = Buffers.allocate(KernelBackend.VFIO_IRQS_HEADER_SIZE + 2 * Integer.BYTES);
        int bytes = UapiVfio.VFIO_IRQ_SET_DATA_BOOL | UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER;
        assertTooShort(two, EVENTFDS, 3, 32);
        assertTooShort(two, EVENTFDS, -1, 17179869200L);
        assertTooShort(two, bytes, 9, 29);
        assertTooShort(two, bytes, Integer.MIN_VALUE, 2147483668L);
        assertThat(content(two, two.capacity())).isEqualTo(ByteBuffer.allocate(two.capacity()));
        int noDevice = world.eventfd();
        assertErrno(Errno.ENOTTY, kernel.vfioIrqsSet(noDevice, bytes, 2, 0, 8, two));
        assertErrno(Errno.ENOTTY, kernel.vfioIrqsSet(noDevice, 0x21, 2, 0, -1, two));
    }

    private void assertTooShort(ByteBuffer set, int flags, int count, long needed) {
        assertIllegalArgument(
                () -> kernel.vfioIrqsSet(1001, flags, 2, 0, count, set),
                "buffer has 28 bytes: this call needs at least " + needed);
    }

    @Test
    void rawReadsAndWritesMoveTheSameBytes() {
        int event = world.eventfd();
        ByteBuffer count = Buffers.allocate(Long.BYTES).putLong(0, COUNT);
        readable(count).forEach((name, from) -> {
            ByteBuffer limited = from.duplicate().limit(Long.BYTES);
            assertThat(libc.write(event, limited)).as(name).isEqualTo(Long.BYTES);
            assertThat(world.drain(event)).as(name).isEqualTo(COUNT);
        });
        writable(Buffers.allocate(Long.BYTES)).forEach((name, to) -> {
            assertOk(kernel.eventfdSignal(event, COUNT));
            assertThat(libc.read(event, to)).as(name).isEqualTo(Long.BYTES);
            assertThat(content(to, Long.BYTES).getLong(0)).as(name).isEqualTo(COUNT);
        });
    }

    /** The first word says how much room there is, in native order. */
    @Test
    void sizesInsideAreReadInNativeOrder() {
        world.assumeX86();
        int kvm = world.kvm();
        int entries = 256;
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + entries * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, entries);
        writable(cpuid).forEach((name, odd) -> {
            assertThat(libc.ioctl(kvm, Uapi.KVM_GET_SUPPORTED_CPUID, odd))
                    .as(name)
                    .isZero();
            assertThat(content(odd, Integer.BYTES).getInt(0)).as(name).isBetween(1, entries);
        });
    }

    @Test
    void addressOfASliceIsThatOfItsFirstByte() {
        if (!kernel.isReal()) {
            return; // a fake process has addresses of its own
        }
        ByteBuffer whole = Buffers.allocate(64);
        long first = libc.addressOf(whole);
        for (int at : new int[] {0, 1, 8, 63}) {
            assertThat(libc.addressOf(whole.slice(at, 64 - at))).isEqualTo(first + at);
            assertThat(libc.addressOf(whole.asReadOnlyBuffer().slice(at, 64 - at)))
                    .isEqualTo(first + at);
        }
    }

    /** An int counts a buffer's bytes; a longer one would be cut, or look short. */
    @Test
    void viewBeyondWhatABufferHoldsIsRefused() {
        long address = world.map(PAGE, -1);
        for (long length : new long[] {1L << 31, (1L << 32) + 8, Long.MAX_VALUE, -1, Long.MIN_VALUE}) {
            assertIllegalArgument(
                    () -> libc.view(address, length),
                    "a view of " + length + " bytes is out of range: a buffer holds 0 to 2147483647");
        }
        assertThat(libc.view(address, 16).order()).isEqualTo(ByteOrder.nativeOrder());
        assertThat(libc.view(address, 16).capacity()).isEqualTo(16);
    }
}
