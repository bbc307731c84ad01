/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Memory;
import com.sun.jna.NativeLibrary;
import com.sun.jna.NativeLong;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The CPUs on which threads may run, of the first 64. */
final class Affinity {
    private Affinity() {}

    private static int set(int tid, Memory mask) {
        return NativeLibrary.getInstance("c")
                .getFunction("sched_setaffinity")
                .invokeInt(new Object[] {tid, new NativeLong(mask.size()), mask});
    }

    /** Leaves a thread one CPU. */
    static void set(int tid, int cpu) {
        try (Memory mask = new Memory(Long.BYTES)) {
            mask.setLong(0, 1L << cpu);
            assertThat(set(tid, mask)).isZero();
        }
    }

    /** Leaves one CPU to all threads of this process but one. A thread may end meanwhile. */
    static void setOfOthers(int tid, int cpu) throws IOException {
        List<Integer> others;
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            others = tasks.map(task -> Integer.parseInt(task.getFileName().toString()))
                    .filter(task -> task != tid)
                    .toList();
        }
        try (Memory mask = new Memory(Long.BYTES)) {
            mask.setLong(0, 1L << cpu);
            others.forEach(other -> set(other, mask));
        }
    }
}
