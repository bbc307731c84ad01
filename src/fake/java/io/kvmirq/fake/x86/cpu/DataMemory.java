/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The memory operands of a guest. An access to two pages has two parts. A part outside memory goes to an ioeventfd, a
 * ring, or the VMM; the guest exits for one part at a time. An instruction that waits for the VMM's value has no effect
 * yet. When the value is complete, the instruction is restarted and reads it. Source: {@code emulator_read_write()} and
 * {@code complete_emulated_mmio()} in arch/x86/kvm/x86.c.
 */
final class DataMemory {
    /** Aborts an instruction that waits for the VMM's value; {@link #isReading} is true. */
    static final class Unanswered extends RuntimeException {
        private static final long serialVersionUID = 1;

        private Unanswered() {
            super("awaits the VMM's answer", null, false, false);
        }
    }

    /** @param from the offset of the part in the operand */
    private record Part(long address, int size, int from, int value) {}

    private final Host host;
    private final RealModeMemory memory;
    private final GuestBus bus;
    /** The parts of a read or write for which the guest has not exited yet. */
    private final Deque<Part> left = new ArrayDeque<>();

    /** The part of a read for which the guest has exited. */
    private @Nullable Part asked;
    /** The known bytes of the operand, and whether all are known. */
    private int value;

    private boolean answered;

    DataMemory(Host host, RealModeMemory memory, GuestBus bus) {
        this.host = host;
        this.memory = memory;
        this.bus = bus;
    }

    void reset() {
        left.clear();
        asked = null;
        answered = false;
    }

    // Reads

    /** Reads 1, 2 or 4 bytes, zero-extended, at most once an instruction. Unanswered if the guest exits for it. */
    int read(long address, int size) {
        if (answered) {
            return value;
        }
        int inPage = RealModeMemory.inPage(address, size);
        value = 0;
        readPart(address, inPage, 0);
        if (inPage < size) {
            readPart(address + inPage, size - inPage, inPage);
        }
        if (asks()) {
            if (inPage < size) {
                host.note(VmAnswer.MMIO_READ_PAGES);
            }
            throw new Unanswered();
        }
        return value;
    }

    private void readPart(long address, int size, int from) {
        if (memory.has(address)) {
            value |= memory.read(address, size) << Byte.SIZE * from;
            return;
        }
        OptionalLong served = bus.readServed(address);
        if (served.isPresent()) {
            value |= (int) (served.getAsLong() & -1L >>> Long.SIZE - Byte.SIZE * size) << Byte.SIZE * from;
        } else {
            left.add(new Part(address, size, from, 0));
        }
    }

    /** Exits for the next part of a read; false if none is left. */
    private boolean asks() {
        asked = left.poll();
        if (asked != null) {
            bus.readMemory(asked.address, asked.size);
        }
        return asked != null;
    }

    /** Whether a read waits for the VMM's value. */
    boolean isReading() {
        return asked != null;
    }

    /** Takes the VMM's value, while {@link #isReading}. False if the guest exits again for the rest. */
    boolean complete() {
        Part part = asked;
        if (part != null) {
            value |= (int) bus.answer(part.size) << Byte.SIZE * part.from;
        }
        answered = !asks();
        return answered;
    }

    // Writes

    void write(long address, int size, int written) {
        int inPage = RealModeMemory.inPage(address, size);
        writePart(address, inPage, written);
        if (inPage < size) {
            writePart(address + inPage, size - inPage, written >>> Byte.SIZE * inPage);
            host.note(VmAnswer.MMIO_PAGES);
        }
    }

    private void writePart(long address, int size, int written) {
        if (memory.isWritable(address)) {
            memory.write(address, size, written);
        } else if (!bus.takes(address, size, Integer.toUnsignedLong(written) & -1L >>> Long.SIZE - Byte.SIZE * size)) {
            left.add(new Part(address, size, 0, written));
        }
    }

    /** Ends an instruction; returns whether the guest exits for a part of a write. */
    boolean exits() {
        answered = false;
        Part next = left.poll();
        if (next != null) {
            bus.writeMemory(next.address, next.size, next.value);
        }
        return next != null;
    }
}
