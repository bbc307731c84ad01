/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** The files of a VM in debugfs, in {@code kvm/TID-FD}: the thread that created the VM, and its descriptor. */
final class KvmDebugfs {
    private static final Path VMS = Path.of("/sys/kernel/debug/kvm");

    private final Path files;

    /** Skips, with the reason, where the kernel of the world shows no such files. */
    KvmDebugfs(World world, Vm vm) throws IOException {
        assumeTrue(world.fake().isEmpty(), "the fake kernel has no debugfs");
        assumeTrue(Files.isReadable(VMS), "needs " + VMS + ": root, and mount -t debugfs debugfs /sys/kernel/debug");
        String number;
        number = Integer.toString(Numbers.of(vm.fd()));
        try (Stream<Path> threads = Files.list(Path.of("/proc/self/task"))) {
            List<Path> found = threads.map(thread -> VMS.resolve(thread.getFileName() + "-" + number))
                    .filter(Files::isDirectory)
                    .toList();
            files = Optional.of(found)
                    .filter(all -> all.size() == 1)
                    .orElseThrow(() -> new AssertionError(VMS + " has " + found + " for descriptor " + number))
                    .get(0);
        }
    }

    String read(String name) throws IOException {
        return Files.readString(files.resolve(name));
    }

    /** The interrupt as the first vCPU that has it shows it. */
    static VgicState.Interrupt find(VgicState state, VgicState.Kind kind, int id) {
        return state.interrupts().stream()
                .filter(interrupt -> interrupt.kind() == kind && interrupt.id() == id)
                .findFirst()
                .orElseThrow(() -> new AssertionError(kind + " " + id + " is not in " + state));
    }
}
