/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.InterruptVector;
import io.kvmirq.fake.file.ScriptedExit;
import io.kvmirq.fake.file.ScriptedExit.Kind;
import io.kvmirq.uapi.Uapi;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;

/**
 * A vCPU exit that a test scripts, see {@link ScriptedVcpu#exits}. {@code io.kvmirq.kvm.VcpuExit} describes the exits
 * and their data.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="exits"}
 */
public final class FakeExit {
    private static final int LAST_PORT = 0xffff;
    /** The size of the page after struct kvm_run, which has the data of port accesses. */
    private static final int IO_BYTES = 4096;

    private static final int LARGEST_PORT_ACCESS = 4;
    private static final int MOST_WORDS = 32;

    private final ScriptedExit exit;

    private FakeExit(ScriptedExit exit) {
        this.exit = exit;
    }

    ScriptedExit exit() {
        return exit;
    }

    // Accesses

    /**
     * The guest writes 1, 2 or 4 bytes to a port, 0 to 65535 (x86). A string instruction writes each element of {@code
     * data}. If an ioeventfd matches the write, the vCPU does not exit.
     */
    public static FakeExit ioOut(int port, int size, long... data) {
        Objects.requireNonNull(data, "data is null");
        String text = "ioOut(" + hex(port) + ", " + size + ", "
                + Arrays.stream(data).mapToObj(FakeExit::hex).collect(Collectors.joining(", ")) + ")";
        requirePort(text, port, size, data.length);
        for (long value : data) {
            requireFits(text, size, value);
        }
        return new FakeExit(new ScriptedExit(
                Kind.IO_OUT, port, size, Arrays.stream(data).boxed().toList(), text));
    }

    /** The guest reads 1, 2 or 4 bytes from a port, 0 to 65535 (x86). */
    public static FakeExit ioIn(int port, int size) {
        return ioIn(port, size, 1);
    }

    /** A guest's string instruction reads 1, 2 or 4 bytes {@code count} times, at most 4096 bytes in all. */
    public static FakeExit ioIn(int port, int size, int count) {
        String text = "ioIn(" + hex(port) + ", " + size + (count == 1 ? "" : ", " + count) + ")";
        requirePort(text, port, size, count);
        return new FakeExit(new ScriptedExit(Kind.IO_IN, port, size, Collections.nCopies(count, 0L), text));
    }

    /**
     * The guest writes 1, 2, 4 or 8 bytes to a physical address outside memory. If an ioeventfd matches the write, the
     * vCPU does not exit.
     */
    public static FakeExit mmioWrite(long address, int size, long data) {
        String text = "mmioWrite(" + hex(address) + ", " + size + ", " + hex(data) + ")";
        requireSize(text, size, Long.BYTES);
        requireFits(text, size, data);
        return new FakeExit(new ScriptedExit(Kind.MMIO_WRITE, address, size, List.of(data), text));
    }

    /** The guest reads 1, 2, 4 or 8 bytes at a physical address outside memory. */
    public static FakeExit mmioRead(long address, int size) {
        String text = "mmioRead(" + hex(address) + ", " + size + ")";
        requireSize(text, size, Long.BYTES);
        return new FakeExit(new ScriptedExit(Kind.MMIO_READ, address, size, List.of(0L), text));
    }

    // The others

    /**
     * The guest halts with interrupts enabled (x86). Without an in-kernel LAPIC the vCPU exits. With one, the guest
     * enables the LAPIC, and {@code KVM_RUN} continues until the guest has taken an interrupt and written its EOI.
     */
    public static FakeExit hlt() {
        return new FakeExit(new ScriptedExit(Kind.HLT, 0, 0, List.of(), "hlt()"));
    }

    /** The guest writes the EOI of a level-triggered interrupt of the VMM's IOAPIC (x86, split irqchip). */
    public static FakeExit ioapicEoi(InterruptVector vector) {
        Objects.requireNonNull(vector, "vector is null");
        return new FakeExit(new ScriptedExit(
                Kind.IOAPIC_EOI, 0, 0, List.of((long) vector.number()), "ioapicEoi(" + vector.number() + ")"));
    }

    /** The guest causes a triple fault (x86). */
    public static FakeExit shutdown() {
        return other(Uapi.KVM_EXIT_SHUTDOWN, 0, "shutdown()");
    }

    /** The processor refuses to enter the guest. The processor's manual lists the values of {@code reason}. */
    public static FakeExit failEntry(long reason) {
        return other(Uapi.KVM_EXIT_FAIL_ENTRY, reason, "failEntry(" + hex(reason) + ")");
    }

    /**
     * KVM reports an internal error, {@code KVM_INTERNAL_ERROR_*}, such as 1 for an instruction that it cannot emulate.
     */
    public static FakeExit internalError(int suberror) {
        return other(Uapi.KVM_EXIT_INTERNAL_ERROR, Integer.toUnsignedLong(suberror), "internalError(" + suberror + ")");
    }

    /**
     * The guest requests power-off (type 1) or reset (type 2), for example with PSCI. Types are {@code
     * KVM_SYSTEM_EVENT_*}.
     */
    public static FakeExit systemEvent(int type) {
        return other(Uapi.KVM_EXIT_SYSTEM_EVENT, Integer.toUnsignedLong(type), "systemEvent(" + type + ")");
    }

    /**
     * Any other exit, by its {@code KVM_EXIT_*} number.
     *
     * @param words the data in {@code struct kvm_run}, at most 32 64-bit words, as {@code VcpuExit.word} reads them
     */
    public static FakeExit unknown(int number, long... words) {
        Objects.requireNonNull(words, "words is null");
        if (words.length > MOST_WORDS) {
            throw new IllegalArgumentException(
                    words.length + " words of exit " + number + ": expected at most " + MOST_WORDS);
        }
        return other(number, "unknown(" + number + ")", words);
    }

    private static FakeExit other(int number, long code, String text) {
        return other(number, text, code);
    }

    private static FakeExit other(int number, String text, long... words) {
        List<Long> data = Arrays.stream(words).boxed().toList();
        return new FakeExit(new ScriptedExit(Kind.OTHER, number, 0, data, text));
    }

    // Checks

    private static void requirePort(String text, int port, int size, int count) {
        if (port < 0 || port > LAST_PORT) {
            throw new IllegalArgumentException(text + ": expected a port of 0 to 0xffff");
        }
        requireSize(text, size, LARGEST_PORT_ACCESS);
        if (count < 1 || count > IO_BYTES / size) {
            throw new IllegalArgumentException(text + ": expected 1 to " + IO_BYTES / size + " accesses of that size");
        }
    }

    private static void requireSize(String text, int size, int largest) {
        if (size < 1 || size > largest || Integer.bitCount(size) != 1) {
            throw new IllegalArgumentException(
                    text + ": expected a size of 1, 2" + (largest == Long.BYTES ? ", 4 or 8" : " or 4") + " bytes");
        }
    }

    private static void requireFits(String text, int size, long value) {
        if (size < Long.BYTES && value >>> Byte.SIZE * size != 0) {
            throw new IllegalArgumentException(text + ": expected data of " + size + " bytes, zero-extended");
        }
    }

    private static String hex(long value) {
        return "0x" + Long.toHexString(value);
    }

    @Override
    public String toString() {
        return exit.toString();
    }
}
