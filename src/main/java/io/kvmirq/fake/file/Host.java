/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import io.kvmirq.fake.rules.KernelRule;
import java.nio.ByteBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a file sees of the kernel it is in. Every method is called with the kernel's lock held. */
public interface Host {
    Build build();

    UserMemory memory();

    FakeTime time();

    Work work();

    /** The fake behaves as a rule says. */
    void note(KernelRule rule);

    /** @return the result of a call that {@code rule} refuses */
    int refuse(KernelRule rule);

    /** @return the result of a call that {@code rule} refuses; 0 for no rule */
    default int refuse(Optional<KernelRule> rule) {
        return rule.isPresent() ? refuse(rule.get()) : 0;
    }

    /** What a descriptor refers to; null when it is not open. */
    @Nullable
    FakeFile file(int fd);

    /** Whether every descriptor up to the limit is open. */
    boolean isFull();

    /** Gives a file the lowest free descriptor. */
    int install(FakeFile file);

    /** Whether calls come from the other process now. */
    boolean isForeign();

    /** Copies to the caller's memory: 0, or EFAULT. */
    default int copyOut(long address, ByteBuffer from, int length) {
        return memory().copyOut(address, from, length) ? 0 : refuse(KernelRule.FAULT);
    }

    /** What is done with a structure of the caller's. */
    interface OnStructure {
        int apply(ByteBuffer structure);
    }

    /** Copies a structure from the caller's memory before anything about it is checked, or EFAULT. */
    default int copied(long address, int size, OnStructure call) {
        ByteBuffer structure = memory().copyIn(address, size);
        return structure == null ? refuse(KernelRule.FAULT) : call.apply(structure);
    }
}
