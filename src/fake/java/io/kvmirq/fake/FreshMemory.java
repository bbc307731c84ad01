/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Allocates anonymous memory for mmap. */
final class FreshMemory {
    /** From this size on, memory is a private mapping of an empty file, whose pages are allocated when written. */
    private static final int LARGE = 1 << 20;

    private FreshMemory() {}

    static ByteBuffer allocate(int bytes) {
        if (bytes < LARGE) {
            return ByteBuffer.allocateDirect(bytes);
        }
        try {
            Path file = Files.createTempFile("kvmirq-fake", null);
            try (FileChannel channel = FileChannel.open(
                    file, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.DELETE_ON_CLOSE)) {
                return channel.map(MapMode.PRIVATE, 0, bytes);
            }
        } catch (IOException e) {
            // Without a temporary directory, all memory is allocated now.
            return ByteBuffer.allocateDirect(bytes);
        }
    }
}
