/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.UnnamedFile;
import io.kvmirq.recording.SlotFile;
import io.kvmirq.undo.Undo;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The memory to which the recorder appends while a program runs. This command holds a lock on it: without the lock the
 * recorder takes no more memory, so a killed command ends the recording.
 */
public final class TemporaryTape implements AutoCloseable {
    /** The largest page size of all architectures. The recorder's mappings begin at multiples of it. */
    private static final long LARGEST_PAGE = 65536;

    private final UnnamedFile memory;
    private long released = LARGEST_PAGE;

    private TemporaryTape(UnnamedFile memory) {
        this.memory = memory;
    }

    public static TemporaryTape create() {
        try (Undo undo = new Undo()) {
            UnnamedFile memory = undo.add(UnnamedFile.create("kvmirq-tape"));
            try (OutputStream empty = Files.newOutputStream(memory.path())) {
                SlotFile.prepare(empty);
            }
            memory.lock();
            memory.keepLength();
            undo.keep();
            return new TemporaryTape(memory);
        } catch (IOException e) {
            throw new TapeFileException("cannot prepare the tape in memory: " + e.getMessage(), e);
        }
    }

    /**
     * Frees the memory of the slots that were read, except the head.
     *
     * @param read where the next slot begins
     */
    public void release(long read) {
        long end = read & -LARGEST_PAGE;
        if (end > released) {
            memory.release(released, end);
            released = end;
        }
    }

    public Path file() {
        return memory.path();
    }

    @Override
    public void close() {
        memory.close();
    }
}
