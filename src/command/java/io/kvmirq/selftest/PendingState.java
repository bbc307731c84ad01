/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.kvm.Vgic;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.VgicV3;

/**
 * The pending state of a VGIC, and its active one. A GICv3 shows latches and lines. A GICv2 has one bit for both in GICD_ISPENDR: the latch
 * of an edge, or the line or latch of a level.
 */
record PendingState(Vgic vgic) {
    boolean isLatched(Spi spi) {
        return vgic instanceof VgicV3 v3 ? v3.isLatched(spi) : isPending(spi.number());
    }

    void clear(Spi spi) {
        if (vgic instanceof VgicV3 v3) {
            v3.setLatched(spi, false);
        } else {
            int word = word(DistributorRegister.GICD_ICPENDR, spi.number());
            ((VgicV2) vgic).writeDistributor(Board.VCPU, word, bit(spi.number()));
        }
    }

    boolean isHigh(Spi spi) {
        return vgic instanceof VgicV3 v3 ? v3.isHigh(spi) : isPending(spi.number());
    }

    /** Whether the line of a PPI of the first vCPU is high. */
    boolean isHigh(Ppi ppi) {
        return vgic instanceof VgicV3 v3 ? v3.isHigh(Board.VCPU, ppi) : isPending(ppi.number());
    }

    /** Whether the guest has acknowledged an SPI and has not deactivated it. */
    boolean isActive(Spi spi) {
        int word = word(DistributorRegister.GICD_ISACTIVER, spi.number());
        return (vgic.readDistributor(word) & bit(spi.number())) != 0;
    }

    private boolean isPending(int interrupt) {
        int word = word(DistributorRegister.GICD_ISPENDR, interrupt);
        return (((VgicV2) vgic).readDistributor(Board.VCPU, word) & bit(interrupt)) != 0;
    }

    private static int word(DistributorRegister register, int interrupt) {
        return register.offset() + interrupt / Integer.SIZE * Integer.BYTES;
    }

    private static int bit(int interrupt) {
        return 1 << interrupt % Integer.SIZE;
    }
}
