/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.MemorySlots;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/** The memory of a guest in real mode, at physical addresses. */
final class RealModeMemory {
    private static final long PAGE = 4096;

    private final Host host;
    private final MemorySlots slots;

    RealModeMemory(Host host, MemorySlots slots) {
        this.host = host;
        this.slots = slots;
    }

    /** Whether a read stays in memory, and does not exit. */
    boolean has(long address) {
        return mayAccess(address, Uapi.PROT_READ);
    }

    /** Whether a write stays in memory, and does not exit. */
    boolean isWritable(long address) {
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

    private ByteBuffer at(long address, int length) {
        long user = slots.user(address)
                .orElseThrow(() -> new NotModelledException(
                        "guest access to address 0x" + Long.toHexString(address) + ", which is not memory"));
        ByteBuffer mapped = host.memory().at(user, length);
        if (mapped == null) {
            throw new NotModelledException("a guest whose memory has been unmapped");
        }
        return mapped;
    }

    private int offset(long address) {
        return host.memory().offset(slots.user(address).orElseThrow());
    }

    /** The number of bytes that are in the page of the first byte. */
    static int inPage(long address, int size) {
        return (int) Math.min(size, PAGE - address % PAGE);
    }

    /** @param size 1, 2 or 4 bytes; zero-extended */
    int read(long address, int size) {
        int inPage = inPage(address, size);
        return inPage == size
                ? readInPage(address, size)
                : readInPage(address, inPage) | readInPage(address + inPage, size - inPage) << Byte.SIZE * inPage;
    }

    private int readInPage(long address, int size) {
        ByteBuffer mapped = at(address, size);
        int offset = offset(address);
        int value = 0;
        for (int i = size - 1; i >= 0; i--) {
            value = value << Byte.SIZE | mapped.get(offset + i) & 0xff;
        }
        return value;
    }

    void write(long address, int size, int value) {
        int inPage = inPage(address, size);
        if (inPage < size) {
            requireWritable(address + inPage);
        }
        writeInPage(address, inPage, value);
        if (inPage < size) {
            writeInPage(address + inPage, size - inPage, value >>> Byte.SIZE * inPage);
        }
    }

    private void writeInPage(long address, int size, int value) {
        requireWritable(address);
        slots.written(address, size);
        ByteBuffer mapped = at(address, size);
        int offset = offset(address);
        for (int i = 0; i < size; i++) {
            mapped.put(offset + i, (byte) (value >>> Byte.SIZE * i));
        }
    }

    private void requireWritable(long address) {
        if (!isWritable(address)) {
            throw new NotModelledException("a guest whose stack is at address 0x" + Long.toHexString(address)
                    + ", which is read-only or not memory");
        }
    }
}
