/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.backend.HostFiles;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.Consumer;

/** Addresses in the memory of this machine's kernel, from the reads of an answer. For root, and for use by one thread. */
public final class KernelPlaces implements AutoCloseable {
    private static final int PROGRAM = 56;

    private final FileChannel core = FileChannel.open(KernelStructures.CORE);
    /** Headers of programs, by the offset of their bytes. */
    private final List<ByteBuffer> programs = new ArrayList<>();

    public KernelPlaces() throws IOException {
        ByteBuffer header = bytes(0, 64);
        for (int i = 0; i < header.getShort(0x38); i++) {
            programs.add(bytes(header.getLong(0x20) + (long) i * PROGRAM, PROGRAM));
        }
    }

    private ByteBuffer bytes(long position, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.nativeOrder());
        while (bytes.hasRemaining() && core.read(bytes, position + bytes.position()) > 0) {
            // the rest
        }
        return bytes.flip();
    }

    private OptionalLong address(long position) {
        return programs.stream()
                .filter(program -> program.getInt(0) == 1
                        && Long.compareUnsigned(position - program.getLong(8), program.getLong(0x28)) < 0)
                .mapToLong(program -> program.getLong(0x10) + position - program.getLong(8))
                .findFirst();
    }

    /** The addresses at which some bytes were read for an answer, in the order of the reads. */
    public List<Long> of(Consumer<KernelStructures> question, byte[] wanted) {
        Map<Long, byte[]> reads = new LinkedHashMap<>();
        KernelMemory.Source source = (into, position) -> {
            int begin = into.position();
            int read = core.read(into, position);
            byte[] copy = new byte[Math.max(read, 0)];
            into.get(begin, copy);
            reads.put(position, copy);
            return read;
        };
        try (KernelStructures structures = KernelStructures.open(
                        HostFiles.at(Path.of("/")), () -> KernelMemory.open("/proc/kcore", source, () -> {}))
                .known()
                .orElseThrow()) {
            question.accept(structures);
        }
        List<Long> found = new ArrayList<>();
        reads.forEach((position, read) -> {
            for (int at = 0; at + wanted.length <= read.length; at++) {
                if (Arrays.equals(read, at, at + wanted.length, wanted, 0, wanted.length)) {
                    address(position + at).ifPresent(found::add);
                }
            }
        });
        return found;
    }

    /** The byte at an address. */
    public byte at(long address) throws IOException {
        ByteBuffer program = programs.stream()
                .filter(header -> header.getInt(0) == 1
                        && Long.compareUnsigned(address - header.getLong(0x10), header.getLong(0x28)) < 0)
                .findFirst()
                .orElseThrow();
        return bytes(program.getLong(8) + address - program.getLong(0x10), 1).get(0);
    }

    @Override
    public void close() throws IOException {
        core.close();
    }
}
