/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.Kernel;
import java.nio.file.Path;

/** {@code main}: a process in which a {@link CountingArmVm} of another process goes on. It prints the last count. */
public final class RestoredArmVm {
    private RestoredArmVm() {}

    /** @param arguments a binding, the directory of the snapshot, and the interrupts to raise beside those that wait */
    public static void main(String[] arguments) throws Exception {
        try (Kernel kernel = Kernel.over(Backends.ofThisMachine().open(arguments[0]));
                CountingArmVm vm = CountingArmVm.restore(kernel, Path.of(arguments[1]))) {
            int saved = vm.counted();
            vm.run();
            while (vm.counted() == saved) {
                Thread.onSpinWait(); // the one that was pending
            }
            for (int i = 0; i < Integer.parseInt(arguments[2]); i++) {
                int before = vm.counted();
                vm.signal();
                while (vm.counted() == before) {
                    Thread.onSpinWait();
                }
            }
            vm.pause();
            System.out.println(vm.counted());
        }
    }
}
