/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@RealKvm
class MappingTest {
    private static final Pattern AREA = Pattern.compile("([0-9a-f]+)-([0-9a-f]+) ");

    @AutoClose
    private final Kernel kernel = Kernel.open();

    @Test
    void unmappedMemoryIsRefusedNotTouched() {
        Mapping.Owner owner = Mapping.anonymous(kernel, 4096);
        Mapping mapping = owner.mapping();
        mapping.putInt(8, 0x12345678);
        assertThat(mapping.getInt(8)).isEqualTo(0x12345678);
        owner.close();
        owner.close();
        assertThatThrownBy(() -> mapping.getInt(8)).isInstanceOf(ClosedHandleException.class);
    }

    @Test
    void outsideOfItIsRefused() {
        try (Mapping.Owner owner = Mapping.anonymous(kernel, 4096)) {
            Mapping mapping = owner.mapping();
            String beyond = " is outside of the mapping of memory, which has 4096 bytes";
            assertThatThrownBy(() -> mapping.getInt(4096))
                    .isInstanceOf(IndexOutOfBoundsException.class)
                    .hasMessage("offset 4096, length 4" + beyond);
            assertThatThrownBy(() -> mapping.getLong(4089)).hasMessage("offset 4089, length 8" + beyond);
            assertThatThrownBy(() -> mapping.putByte(-1, (byte) 0))
                    .isInstanceOf(IndexOutOfBoundsException.class)
                    .hasMessage("offset -1, length 1" + beyond);
            assertThatThrownBy(() -> mapping.put(4095, new byte[2])).hasMessage("offset 4095, length 2" + beyond);
            assertIllegalArgument(
                    () -> mapping.get(0, ByteBuffer.allocate(8).asReadOnlyBuffer()),
                    "content is a read-only buffer, but bytes of the mapping of memory are to be copied into it: pass"
                            + " a writable buffer");
            mapping.put(4095, new byte[] {7});
            assertThat(mapping.getByte(4095)).isEqualTo((byte) 7);
        }
    }

    @Test
    void intOffItsAlignmentIsRefused() {
        try (Mapping.Owner owner = Mapping.anonymous(kernel, 4096)) {
            Mapping mapping = owner.mapping();
            assertIllegalArgument(() -> mapping.getInt(2), "offset 2 is not a multiple of 4, as a volatile int needs");
            assertThatThrownBy(() -> mapping.putInt(7, 0)).isInstanceOf(IllegalArgumentException.class);
        }
    }

    @Test
    void emptyMappingIsRefused() {
        assertIllegalArgument(
                () -> Mapping.anonymous(kernel, 0),
                "a mapping of memory with 0 bytes is invalid: expected at least one page");
    }

    /** Pages that nobody touches cost nothing. */
    @ParameterizedTest
    @EnumSource
    void memoryMayBeLargerThanABuffer(Kernels on) {
        long gib = 1L << 30;
        try (Kernel opened = on.open();
                Mapping.Owner owner = Mapping.anonymous(opened, 5 * gib)) {
            Mapping mapping = owner.mapping();
            assertThat(mapping.length()).isEqualTo(5 * gib);
            for (long at : new long[] {0, gib - 4, gib, 3 * gib + 8, 5 * gib - 4}) {
                mapping.putInt(at, (int) (at >>> 2 | 1));
            }
            for (long at : new long[] {0, gib - 4, gib, 3 * gib + 8, 5 * gib - 4}) {
                assertThat(mapping.getInt(at)).isEqualTo((int) (at >>> 2 | 1));
            }
            byte[] content = {1, 2, 3, 4, 5, 6, 7, 8, 9};
            mapping.put(2 * gib - 4, content);
            ByteBuffer read = ByteBuffer.allocate(content.length);
            mapping.get(2 * gib - 4, read);
            assertThat(read.array()).isEqualTo(content);
            assertThat(mapping.getLong(2 * gib - 4)).isEqualTo(0x08070605_04030201L);
            assertThat(mapping.getShort(2 * gib - 1)).isEqualTo((short) 0x0504);
            for (long at : new long[] {2 * gib - 4, 64}) {
                mapping.putLong(at, 0x11223344_aabbccddL);
                assertThat(mapping.getLong(at)).isEqualTo(0x11223344_aabbccddL);
                assertThat(mapping.getInt(at)).isEqualTo(0xaabbccdd);
                assertThat(mapping.view(at, 4).getInt(0)).isEqualTo(0xaabbccdd);
                mapping.putShort(at + 3, (short) 0x5566);
                assertThat(mapping.getLong(at)).isEqualTo(0x11223355_66bbccddL);
            }
            assertThatThrownBy(() -> mapping.get(5 * gib - 8, ByteBuffer.allocate(9)))
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    /** VmFlags of a mapping: dc is MADV_DONTFORK, dd is MADV_DONTDUMP; Documentation/filesystems/proc.rst. */
    private static String flags(Mapping mapping) throws IOException {
        long[] address = new long[1];
        mapping.withAddress(found -> address[0] = found);
        boolean within = false;
        for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
            Matcher area = AREA.matcher(line);
            if (area.lookingAt()) {
                within = Long.parseUnsignedLong(area.group(1), 16) <= address[0]
                        && address[0] < Long.parseUnsignedLong(area.group(2), 16);
            } else if (within && line.startsWith("VmFlags:")) {
                return line;
            }
        }
        throw new AssertionError("no area has 0x" + Long.toHexString(address[0]));
    }

    /** A child's first write would give the guest a page of its own, and a dump has the guest's secrets. */
    @Test
    void memoryIsInNoChildAndNoDump() throws IOException {
        try (Mapping.Owner anonymous = Mapping.anonymous(kernel, 8192);
                MemoryFile file = MemoryFile.create(kernel, "shared", 8192);
                Mapping.Owner shared = file.map()) {
            assertThat(flags(anonymous.mapping())).contains(" dc", " dd");
            assertThat(flags(shared.mapping())).contains(" dc", " dd");
        }
    }
}
