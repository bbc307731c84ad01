/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;

/** A VMM that closes nothing. */
final class LeakyVmm {
    LeakyVmm(Kernel kernel) {
        Vm.create(kernel);
    }
}
