/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The memory of the running kernel, by virtual address and by the names of its variables. For root. */
final class KernelMemory {
    private record Segment(long address, long length, long offset) {}

    private final FileChannel memory;
    private final Map<String, Long> symbols;
    private final List<Segment> segments = new ArrayList<>();

    private KernelMemory(FileChannel memory, Set<String> names) throws IOException {
        this.memory = memory;
        this.symbols = symbols(names);
        ByteBuffer header = read(0, 64);
        int count = header.getShort(0x38) & 0xffff;
        ByteBuffer programs = read(header.getLong(0x20), count * 56);
        for (int at = 0; at < count * 56; at += 56) {
            if (programs.getInt(at) == 1) {
                segments.add(new Segment(
                        programs.getLong(at + 0x10), programs.getLong(at + 0x28), programs.getLong(at + 8)));
            }
        }
    }

    /**
     * Empty where it cannot be read.
     *
     * @param names of the variables that {@link #symbol} is asked for, also those of modules
     */
    static Optional<KernelMemory> ofThisMachine(Set<String> names) throws IOException {
        Path core = Path.of("/proc/kcore");
        return Files.isReadable(core) ? Optional.of(new KernelMemory(FileChannel.open(core), names)) : Optional.empty();
    }

    private ByteBuffer read(long position, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining() && memory.read(bytes, position + bytes.position()) > 0) {
            // the rest
        }
        return bytes;
    }

    ByteBuffer at(long address, int length) throws IOException {
        for (Segment segment : segments) {
            if (Long.compareUnsigned(address, segment.address) >= 0
                    && Long.compareUnsigned(address + length, segment.address + segment.length) <= 0) {
                return read(segment.offset + (address - segment.address), length);
            }
        }
        throw new IOException("the kernel's memory at 0x" + Long.toHexString(address) + " is not shown");
    }

    long word(long address) throws IOException {
        return at(address, Long.BYTES).getLong(0);
    }

    /** The address of a variable; empty if this kernel has none of that name. */
    Optional<Long> symbol(String name) {
        return Optional.ofNullable(symbols.get(name));
    }

    /** There are more than a hundred thousand. The name of a module follows that of its variable. */
    private static Map<String, Long> symbols(Set<String> names) throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/kallsyms"))) {
            return lines.filter(line -> names.stream().anyMatch(line::contains))
                    .map(line -> line.split("\\s+", 4))
                    .filter(parts -> names.contains(parts[2]))
                    .collect(Collectors.toMap(
                            parts -> parts[2],
                            parts -> Long.parseUnsignedLong(parts[0], 16),
                            (first, second) -> first));
        }
    }
}
