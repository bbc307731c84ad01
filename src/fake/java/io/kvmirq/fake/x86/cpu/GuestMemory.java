/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.kvm.FakeMemorySlots;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * Guest memory, at physical addresses. An operand outside memory goes to an ioeventfd, a chip, or the VMM. An
 * instruction that waits for the VMM's value has no effect yet; it is restarted, and then reads the value. Source:
 * {@code emulator_read_write()} in arch/x86/kvm/x86.c.
 */
final class GuestMemory {
    /** Aborts an instruction that waits for the VMM's value; {@link #isReading} is true. */
    static final class Unanswered extends RuntimeException {
        private static final long serialVersionUID = 1;

        private Unanswered() {
            super("awaits the VMM's answer", null, false, false);
        }
    }

    private static final long PAGE = 4096;

    private final KernelOfFile host;
    private final FakeMemorySlots slots;
    private final GuestBus bus;
    /** The size of the read for which the guest has exited; 0 for none. */
    private int asked;
    /** The VMM's value, and whether the restarted instruction has it. */
    private int value;

    private boolean answered;
    /** Whether the guest exits for a write of the instruction. */
    private boolean writes;

    GuestMemory(KernelOfFile host, FakeMemorySlots slots, GuestBus bus) {
        this.host = host;
        this.slots = slots;
        this.bus = bus;
    }

    void reset() {
        asked = 0;
        answered = false;
    }

    /** Whether a read stays in memory, and does not exit. */
    boolean has(long address) {
        return mayAccess(address, Uapi.PROT_READ);
    }

    private boolean isWritable(long address) {
        return slots.isWritable(address) && mayAccess(address, Uapi.PROT_WRITE);
    }

    private boolean mayAccess(long address, int access) {
        Optional<Long> user = slots.user(address);
        boolean may = user.isPresent() && host.memory().has(user.get(), 1, access);
        if (user.isPresent() && !may) {
            host.note(VmAnswer.MEMORY_UNUSABLE);
        }
        return may;
    }

    private static NotModelledException unmodelled(long address, String what) {
        return new NotModelledException(
                "guest access to address 0x" + Long.toHexString(address) + ", which is " + what);
    }

    // Memory alone: instructions, the stack and the table of vectors

    /** The caller's address of bytes that one slot has. */
    private long user(long address, int size) {
        long user = slots.user(address).orElseThrow(() -> unmodelled(address, "not memory"));
        if (slots.user(address + size - 1).orElse(0L) != user + size - 1) {
            throw unmodelled(address, "the last of its memory slot");
        }
        return user;
    }

    private ByteBuffer at(long user, int size) {
        ByteBuffer mapped = host.memory().at(user, size);
        if (mapped == null) {
            throw new NotModelledException("a guest whose memory has been unmapped");
        }
        return mapped;
    }

    /** @param size 1, 2 or 4 bytes; zero-extended */
    int readMemory(long address, int size) {
        long user = user(address, size);
        ByteBuffer mapped = at(user, size);
        int offset = host.memory().offset(user);
        int read = 0;
        for (int i = size - 1; i >= 0; i--) {
            read = read << Byte.SIZE | mapped.get(offset + i) & 0xff;
        }
        return read;
    }

    void writeMemory(long address, int size, int written) {
        if (!isWritable(address) || !isWritable(address + size - 1)) {
            throw unmodelled(address, "read-only or not memory");
        }
        long user = user(address, size);
        slots.written(address, size);
        ByteBuffer mapped = at(user, size);
        int offset = host.memory().offset(user);
        for (int i = 0; i < size; i++) {
            mapped.put(offset + i, (byte) (written >>> Byte.SIZE * i));
        }
    }

    // Operands, which need not be memory

    /** {@code first}: whether memory has the first byte. */
    private static void requireOne(boolean first, boolean last, long address, int size) {
        if (first != last || !first && address % PAGE + size > PAGE) {
            throw unmodelled(address, "at the end of a page, with bytes that are not memory");
        }
    }

    /** Reads 1, 2 or 4 bytes, zero-extended, at most once an instruction. Unanswered if the guest exits for it. */
    int read(long address, int size) {
        if (answered) {
            return value;
        }
        boolean inMemory = has(address);
        requireOne(inMemory, has(address + size - 1), address, size);
        if (inMemory) {
            return readMemory(address, size);
        }
        OptionalLong served = bus.readServed(address);
        if (served.isPresent()) {
            return (int) (served.getAsLong() & -1L >>> Long.SIZE - Byte.SIZE * size);
        }
        bus.readMemory(address, size);
        asked = size;
        throw new Unanswered();
    }

    /** Whether a read waits for the VMM's value. */
    boolean isReading() {
        return asked != 0;
    }

    /** Takes the VMM's value, while {@link #isReading}. */
    void complete() {
        value = (int) bus.answer(asked);
        asked = 0;
        answered = true;
    }

    void write(long address, int size, int written) {
        boolean inMemory = isWritable(address);
        requireOne(inMemory, isWritable(address + size - 1), address, size);
        long wide = Integer.toUnsignedLong(written) & -1L >>> Long.SIZE - Byte.SIZE * size;
        if (inMemory) {
            writeMemory(address, size, written);
        } else if (!bus.takes(address, size, wide)) {
            bus.writeMemory(address, size, wide);
            writes = true;
        }
    }

    /** Ends an instruction; returns whether the guest exits for its write. */
    boolean exits() {
        boolean exits = writes;
        writes = false;
        answered = false;
        return exits;
    }
}
