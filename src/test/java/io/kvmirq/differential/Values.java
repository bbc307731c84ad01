/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.testing.Choices;
import io.kvmirq.uapi.Uapi;

/** Arguments at random, near what matters. */
final class Values {
    private static final long[] GSIS = {0, 1, 2, 5, 8, 8, 9, 12, 23, 24, 30, 30, 31, 31};
    private static final long[] ODD_GSIS = {100, 4095, 4096, 0x7fffffff, -1};
    private static final long[] VECTORS = {0x31, 0x31, 0x40, 0x41, 0x42, 0x10, 5, 0, 0xff};
    private static final long[] DESTINATIONS = {0, 0, 0, 1, 1, 2, 2, 3, 7, 0x11, 0xff};
    /** SMI, mode 2, is left out: what System Management Mode does is not modelled. */
    private static final long[] MODES = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 4, 4, 5, 6, 7};

    private static final long[] PAGES = {0x100000, 0x100000, 0x101000, 0x102000, 0x108000};
    private static final long[] REQUESTS = {
        0xaeffL,
        0x5401L,
        0x5421L,
        0x3b64L,
        0x3b70L,
        0x12345678L,
        0,
        0xffffffffL,
        Uapi.KVM_GET_API_VERSION,
        Uapi.KVM_GET_VCPU_MMAP_SIZE,
        Uapi.KVM_GET_SUPPORTED_CPUID,
        Uapi.KVM_CREATE_VM,
        Uapi.KVM_CREATE_VCPU,
        Uapi.KVM_SET_TSS_ADDR,
        Uapi.KVM_SET_USER_MEMORY_REGION,
        Uapi.KVM_ENABLE_CAP,
        Uapi.KVM_GET_IRQCHIP,
        Uapi.KVM_SET_IRQCHIP,
        Uapi.KVM_SET_GSI_ROUTING,
        Uapi.KVM_IRQFD,
        Uapi.KVM_IOEVENTFD,
        Uapi.KVM_IRQ_LINE,
        Uapi.KVM_IRQ_LINE_STATUS,
        Uapi.KVM_SIGNAL_MSI,
        Uapi.KVM_CREATE_DEVICE,
        Uapi.KVM_SET_DEVICE_ATTR,
        Uapi.KVM_GET_DEVICE_ATTR,
        Uapi.KVM_HAS_DEVICE_ATTR,
        Uapi.KVM_RUN,
        Uapi.KVM_SET_REGS,
        Uapi.KVM_GET_SREGS,
        Uapi.KVM_SET_SREGS,
        Uapi.KVM_GET_LAPIC,
        Uapi.KVM_SET_LAPIC,
        Uapi.KVM_SET_CPUID2
    };

    private final Choices random;

    Values(Choices random) {
        this.random = random;
    }

    /** Once in so many. */
    boolean rarely(int oneIn) {
        return random.nextInt(oneIn) == 0;
    }

    long below(int bound) {
        return random.nextInt(bound);
    }

    long of(long... values) {
        return values[random.nextInt(values.length)];
    }

    long gsi() {
        return rarely(12) ? of(ODD_GSIS) : of(GSIS);
    }

    long request() {
        return of(REQUESTS);
    }

    long vcpuId() {
        return rarely(6) ? of(3, 0xff, 0x100, 1023, 4095, 4096, -1) : of(0, 0, 1, 1, 2);
    }

    long addressLow() {
        return 0xfee00000L | of(DESTINATIONS) << 12 | (rarely(8) ? 8 : 0) | (rarely(3) ? 4 : 0);
    }

    long addressHigh() {
        return rarely(6) ? of(1, 0x100, 0x80, 0x10000, 0xffffff00L) : 0;
    }

    long data() {
        return of(VECTORS) | of(MODES) << 8 | below(2) << 14 | (rarely(4) ? 1 << 15 : 0);
    }

    /** A redirection entry of the IOAPIC. */
    long redirection() {
        long masked = rarely(4) ? 1L << 16 : 0;
        long remote = rarely(8) ? 1L << 14 : 0;
        long logical = rarely(3) ? 1L << 11 : 0;
        long odd = rarely(8) ? 1L << 20 | 1L << 12 : 0;
        return of(VECTORS)
                | of(MODES) << 8
                | below(2) << 13
                | remote
                | logical
                | below(2) << 15
                | masked
                | odd
                | of(DESTINATIONS) << 56;
    }

    /** A redirection entry that reaches somebody, level more often than not. */
    long servedPin() {
        long logical = rarely(5) ? 1L << 11 : 0;
        long level = rarely(3) ? 0 : 1L << 15;
        return of(0x31, 0x40, 0x41, 0x42, 0x10) | of(0, 0, 0, 0, 1, 4) << 8 | logical | level | of(0, 0, 1, 0xff) << 56;
    }

    /** Offset and value of 8 bytes of the IOAPIC's state. */
    long[] ioapicState() {
        return switch (random.nextInt(8)) {
            case 0 -> new long[] {0, 0xfec00000L + below(2)};
            case 1 -> new long[] {8, below(4) | below(3) << 32};
            case 2 -> new long[] {16, random.nextLong() & 0xffffff};
            default -> new long[] {24 + 8 * of(0, 1, 2, 5, 8, 8, 9, 12, 23), redirection()};
        };
    }

    /** Offset and value of a byte of a PIC's state; the special modes are not lines. */
    long[] picState() {
        return rarely(3)
                ? new long[] {of(0, 1, 2, 14), below(256)}
                : new long[] {of(0, 1, 2, 3, 4, 5, 6, 14, 15), of(0, 1, 2, 4, 0x20, 0xff)};
    }

    /** Offset and value of a LAPIC's register. */
    long[] lapicRegister() {
        return switch (random.nextInt(10)) {
            case 0 -> new long[] {0x200 + 16 * below(8), of(0, 1, 0x20000, -1)};
            case 1 -> new long[] {0x180 + 16 * below(8), of(0, 1, 0x20000, -1)};
            case 2 -> new long[] {0x100 + 16 * below(8), of(0, 1, 0x20000)};
            case 3 ->
                rarely(2)
                        ? new long[] {of(0x20, 0x20, 0x30), of(0, 1 << 24, 2 << 24, 7 << 24)}
                        : new long[] {0x80, of(0, 0x20, 0x35, 0x40, 0xff)};
            case 5, 6 ->
                rarely(4)
                        ? new long[] {0xe0, of(0x0fffffff, -1, 0)}
                        : new long[] {0xd0, of(1 << 24, 2 << 24, 1 << 24, 2 << 24, 3 << 24, 0x11 << 24, 0)};
            case 4 -> new long[] {0xf0, of(0xff, 0, 0x0f)};
            default -> new long[] {0xf0, of(0x1ff, 0x1ff, 0x10f)};
        };
    }

    /** Events of poll(2): one bit more often than many. */
    long pollEvents() {
        return switch (random.nextInt(4)) {
            case 0 -> 1L << random.nextInt(16);
            case 1 -> random.nextInt(1 << 16);
            default -> of(1, 4, 5, 0, 0x40, 0x100, 0xffff);
        };
    }

    /** Epoll event bits, except EPOLLEXCLUSIVE and EPOLLONESHOT (bits 28 and 30), which the fake does not model. */
    long epollEvents() {
        return switch (random.nextInt(4)) {
            case 0 -> 1L << random.nextInt(28);
            case 1 -> 1L << random.nextInt(12) | of(1, 4) | of(0, 2, 8) << 28;
            default -> of(0, 1, 1, 4, 5, 1L << 31 | 1, 1L << 31 | 5, 1L << 29 | 1, 0x40);
        };
    }

    /** The address and mode of a LAPIC. */
    long apicBase() {
        return of(0xfee00000L, 0xfee00000L, 0xfee00000L, 0xfee00000L, 0xfee00000L, 0, 0xfec10000L, 1L << 35, 1L << 36)
                | of(0x800, 0x800, 0xc00, 0xc00, 0, 0x400, 0x801)
                | (rarely(2) ? 1 << 8 : 0);
    }

    long guestPage() {
        return rarely(10) ? of(0x800, -0x1000, Long.MAX_VALUE & -0x1000, -0x2000) : of(PAGES);
    }

    long size() {
        return rarely(10) ? of(0x800, -0x1000, 0x1001) : of(0, 0x1000, 0x1000, 0x2000, 0x2000);
    }

    long user() {
        return rarely(10) ? of(0x10, Side.NOWHERE) : of(0, 0, 0x1000, 0x2000);
    }
}
