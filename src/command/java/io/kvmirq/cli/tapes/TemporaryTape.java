/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.UnnamedFile;
import io.kvmirq.kernel.Undo;
import io.kvmirq.recording.SlotFile;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Path;

/**
 * The memory to which the recorder appends while a program runs. This command holds a lock on it: without the lock the
 * recorder takes no more memory, so a killed command ends the recording.
 */
public final class TemporaryTape implements AutoCloseable {
    private final UnnamedFile memory;
    private final FileOutputStream locked;

    private TemporaryTape(UnnamedFile memory, FileOutputStream locked) {
        this.memory = memory;
        this.locked = locked;
    }

    public static TemporaryTape create() {
        try (Undo undo = new Undo()) {
            UnnamedFile memory = undo.add(UnnamedFile.create("kvmirq-tape"));
            FileOutputStream locked =
                    undo.add(new FileOutputStream(memory.path().toFile(), true));
            SlotFile.prepare(locked);
            locked.getChannel().lock();
            memory.keepLength();
            undo.keep();
            return new TemporaryTape(memory, locked);
        } catch (IOException e) {
            throw new TapeFileException("cannot prepare the tape in memory: " + e.getMessage(), e);
        }
    }

    public Path file() {
        return memory.path();
    }

    @Override
    public void close() {
        try {
            locked.close();
        } catch (IOException e) {
            // Nothing is written through it.
        }
        memory.close();
    }
}
