/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/** The interface through which a file uses its kernel. The caller of each method holds the kernel's lock. */
public interface KernelOfFile {
    Build build();

    UserMemory memory();

    FakeTime time();

    Work work();

    IrqHardware hardware();

    Threads threads();

    Ledger ledger();

    /** Returns the exits that a test has defined, keyed by the vCPU's id. */
    Map<Integer, Script> scripts();

    void note(Answer rule);

    /** @return the result of a call that this rule refuses */
    int refuse(Answer rule);

    /** @return the result of a call that this rule refuses; 0 if there is no rule */
    default int refuse(Optional<Answer> rule) {
        return rule.isPresent() ? refuse(rule.get()) : 0;
    }

    @Nullable
    FakeFile file(int fd);

    /** Whether every descriptor below the limit is open. */
    boolean isFull();

    int install(FakeFile file);

    boolean isForeign();

    /** Copies a buffer to the caller's memory, up to the first unwritable byte. Returns 0 or -EFAULT. */
    default int copyOut(long address, ByteBuffer from, int length) {
        return memory().copyOut(address, from, length) ? 0 : refuse(FileAnswer.FAULT);
    }

    /** Writes a number to the caller's memory, all bytes or none. Returns 0 or -EFAULT. */
    default int put(long address, ByteBuffer from, int length) {
        return memory().put(address, from, length) ? 0 : refuse(FileAnswer.FAULT);
    }

    /** Passes a copy of the caller's structure to {@code call}. Returns -EFAULT or the result of {@code call}. */
    default int copied(long address, int size, ToIntFunction<ByteBuffer> call) {
        ByteBuffer structure = memory().copyIn(address, size);
        return structure == null ? refuse(FileAnswer.FAULT) : call.applyAsInt(structure);
    }
}
