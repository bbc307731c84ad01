/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import java.util.List;

/**
 * The hardware side of an LPI that is a vLPI: its pending bit is in the table of a vPE.
 *
 * @param hostIrq the device's interrupt on the host
 * @param vpes the vPE of each vCPU, by index
 */
record LpiForwarding(int hostIrq, List<Vpe> vpes) {
    private static int vlpi(int id) {
        return id - InterruptId.FIRST_LPI;
    }

    void setPending(int vcpu, int id, boolean pending) {
        vpes.get(vcpu).setPending(vlpi(id), pending);
    }

    boolean isPending(int vcpu, int id) {
        return vpes.get(vcpu).isPending(vlpi(id));
    }

    /** VMOVI: the pending bit goes along. */
    void move(int id, int from, int to) {
        if (from != to && isPending(from, id)) {
            setPending(from, id, false);
            setPending(to, id, true);
        }
    }
}
