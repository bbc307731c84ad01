/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A test's exits for vCPUs with one id, and the values that the VMM returned. The caller holds the kernel's lock. */
public final class Script {
    private final Deque<ScriptedExit> exits = new ArrayDeque<>();
    private final List<Long> answers = new ArrayList<>();
    private final List<Integer> interrupts = new ArrayList<>();

    public void add(ScriptedExit exit) {
        exits.add(exit);
    }

    public int left() {
        return exits.size();
    }

    public @Nullable ScriptedExit next() {
        return exits.poll();
    }

    public void answered(long value) {
        answers.add(value);
    }

    public List<Long> answers() {
        return List.copyOf(answers);
    }

    public void interrupted(int vector) {
        interrupts.add(vector);
    }

    public List<Integer> interrupts() {
        return List.copyOf(interrupts);
    }
}
