/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import java.util.Set;

/** The calls on KVM-VFIO devices. On leases, so that what was added can be removed whatever has been closed meanwhile. */
final class ForwardCalls extends Calls {
    ForwardCalls(Kernel kernel) {
        super(kernel);
    }

    void add(Fd.Lease kvmVfio, Fd.Lease file, String name) {
        check(
                backend().deviceVfioAdd(number(kvmVfio), number(file)),
                KernelCall.KVM_VFIO_ADD,
                Set.of(),
                () -> "kvm-vfio=" + kvmVfio.number() + " " + name);
    }

    void remove(Fd.Lease kvmVfio, Fd.Lease file) {
        backend().deviceVfioRemove(number(kvmVfio), number(file));
    }

    void closeDevice(Fd kvmVfio) {
        close(kvmVfio);
    }
}
