/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

/** Detects programs into which the recorder cannot be loaded. Source: elf(5). */
final class StaticProgram {
    private static final int MAGIC = 0x464c457f;
    private static final int CLASS_AT = 4;
    private static final int CLASS_64 = 2;
    private static final int PHOFF_AT = 0x20;
    private static final int PHENTSIZE_AT = 0x36;
    private static final int PHNUM_AT = 0x38;
    private static final int HEADER = 0x40;
    private static final int PT_INTERP = 3;

    private StaticProgram() {}

    /** Whether it is a 64-bit program that names no dynamic loader, and is not the loader itself. */
    static boolean is(Path program) {
        if (program.getFileName() != null && program.getFileName().toString().startsWith("ld")) {
            return false;
        }
        try (FileChannel file = FileChannel.open(program)) {
            ByteBuffer header = read(file, 0, HEADER);
            if (header.remaining() < HEADER || header.getInt(0) != MAGIC || header.get(CLASS_AT) != CLASS_64) {
                return false;
            }
            int size = header.getShort(PHENTSIZE_AT) & 0xffff;
            int count = header.getShort(PHNUM_AT) & 0xffff;
            ByteBuffer segments = read(file, header.getLong(PHOFF_AT), size * count);
            if (size < Integer.BYTES || segments.remaining() < size * count) {
                return false;
            }
            for (int at = 0; at < size * count; at += size) {
                if (segments.getInt(at) == PT_INTERP) {
                    return false;
                }
            }
            return count > 0;
        } catch (IOException | IllegalArgumentException e) {
            // A program that this user may run but not read, or that is not an ELF file.
            return false;
        }
    }

    private static ByteBuffer read(FileChannel file, long at, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        long from = at;
        for (int read = 0; read >= 0 && bytes.hasRemaining(); ) {
            read = file.read(bytes, from);
            from += Math.max(0, read);
        }
        return bytes.flip();
    }
}
