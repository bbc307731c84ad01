/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kvm.Irqfd;
import io.kvmirq.mirror.DeliveryPath;
import org.jspecify.annotations.Nullable;

/** The guest's half of a forwarded interrupt: the irqfd or relay that reads its eventfd. */
sealed interface GuestHalf {
    /** The irqfd, which is masked while a relay injects; null if there never was one. */
    @Nullable
    Irqfd irqfd();

    /** The relay; null if the irqfd injects. */
    @Nullable
    RelayedIrq relay();

    /** The delivery path while the interrupt is not masked. */
    DeliveryPath path();

    /** KVM injects. */
    final class InKernel implements GuestHalf {
        private final Irqfd irqfd;

        InKernel(Irqfd irqfd) {
            this.irqfd = irqfd;
        }

        @Override
        public Irqfd irqfd() {
            return irqfd;
        }

        @Override
        public @Nullable RelayedIrq relay() {
            return null;
        }

        @Override
        public DeliveryPath path() {
            return DeliveryPath.KERNEL;
        }
    }

    /** This process injects. An interrupt that moved here keeps its masked irqfd and its GSI. */
    final class Relayed implements GuestHalf {
        private final RelayedIrq relay;
        private volatile @Nullable Irqfd irqfd;

        Relayed(RelayedIrq relay, @Nullable Irqfd left) {
            this.relay = relay;
            this.irqfd = left;
        }

        @Override
        public @Nullable Irqfd irqfd() {
            return irqfd;
        }

        /** Keeps a masked irqfd for a move into the kernel. */
        void keep(Irqfd made) {
            irqfd = made;
        }

        @Override
        public RelayedIrq relay() {
            return relay;
        }

        @Override
        public DeliveryPath path() {
            return DeliveryPath.USERSPACE;
        }
    }
}
