/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.gic.InterruptId;
import java.util.List;

/** The vLPI of an LPI, raised by the device's {@code hostIrq}. Its pending bit is in a vPE's table. */
record Vlpi(int hostIrq, List<Vpe> vpes) {
    private static int vlpi(int id) {
        return id - InterruptId.FIRST_LPI;
    }

    void setPending(int vcpu, int id, boolean pending) {
        vpes.get(vcpu).setPending(vlpi(id), pending);
    }

    boolean isPending(int vcpu, int id) {
        return vpes.get(vcpu).isPending(vlpi(id));
    }

    void setEnabled(int vcpu, int id, boolean enabled) {
        vpes.get(vcpu).setEnabled(vlpi(id), enabled);
    }

    /** Whether KVM can read the pending bit. */
    boolean isReadable() {
        return vpes.stream().allMatch(vpe -> vpe.version() == Vpe.Version.V4_1);
    }

    /** Clears the vLPI's state in the vPE. */
    void unmap(int vcpu, int id) {
        setPending(vcpu, id, false);
        setEnabled(vcpu, id, false);
    }

    /** VMOVI: moves the pending bit and the property too. */
    void move(int id, int from, int to, boolean enabled) {
        if (from == to) {
            return;
        }
        boolean pending = isPending(from, id);
        unmap(from, id);
        setEnabled(to, id, enabled);
        setPending(to, id, pending);
    }
}
