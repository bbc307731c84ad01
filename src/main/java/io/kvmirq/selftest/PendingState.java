/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.kvm.Vgic;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.VgicV3;

/**
 * The pending state of a VGIC. A GICv3 shows latches and lines. A GICv2 has one bit for both in GICD_ISPENDR: the latch
 * of an edge, or the line or latch of a level.
 */
abstract class PendingState {
    /** Whether the latch of an edge is set. */
    abstract boolean isLatched(Spi spi);

    /** Clears the latch. */
    abstract void clear(Spi spi);

    /** Whether a level is latched beside its line; false if the VGIC does not show it. */
    abstract boolean isLevelLatched(Spi spi);

    /** Whether the line of a level is high. */
    abstract boolean isHigh(Spi spi);

    /** Whether the line of a PPI of the first vCPU is high. */
    abstract boolean isHigh(Ppi ppi);

    static PendingState of(Vgic vgic) {
        return vgic instanceof VgicV3 v3 ? new V3(v3) : new V2((VgicV2) vgic);
    }

    private static final class V3 extends PendingState {
        private final VgicV3 vgic;

        V3(VgicV3 vgic) {
            this.vgic = vgic;
        }

        @Override
        boolean isLatched(Spi spi) {
            return vgic.isLatched(spi);
        }

        @Override
        void clear(Spi spi) {
            vgic.setLatched(spi, false);
        }

        @Override
        boolean isLevelLatched(Spi spi) {
            return vgic.isLatched(spi);
        }

        @Override
        boolean isHigh(Spi spi) {
            return vgic.isHigh(spi);
        }

        @Override
        boolean isHigh(Ppi ppi) {
            return vgic.isHigh(Guest.VCPU, ppi);
        }
    }

    private static final class V2 extends PendingState {
        /** GICD_ISPENDR. */
        private static final int SET = 0x200;
        /** GICD_ICPENDR. */
        private static final int CLEAR = 0x280;

        private final VgicV2 vgic;

        V2(VgicV2 vgic) {
            this.vgic = vgic;
        }

        private boolean isPending(int interrupt) {
            return (vgic.readDistributor(Guest.VCPU, word(SET, interrupt)) & bit(interrupt)) != 0;
        }

        private static int word(int registers, int interrupt) {
            return registers + interrupt / Integer.SIZE * Integer.BYTES;
        }

        private static int bit(int interrupt) {
            return 1 << interrupt % Integer.SIZE;
        }

        @Override
        boolean isLatched(Spi spi) {
            return isPending(spi.number());
        }

        @Override
        void clear(Spi spi) {
            vgic.writeDistributor(Guest.VCPU, word(CLEAR, spi.number()), bit(spi.number()));
        }

        @Override
        boolean isLevelLatched(Spi spi) {
            return false;
        }

        @Override
        boolean isHigh(Spi spi) {
            return isPending(spi.number());
        }

        @Override
        boolean isHigh(Ppi ppi) {
            return isPending(ppi.number());
        }
    }
}
