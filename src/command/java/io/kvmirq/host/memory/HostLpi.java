/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.VcpuId;
import java.util.Objects;
import java.util.Optional;

/**
 * A host irq that an ITS raises, in the records of the ITS's driver and of KVM. The ITS's own table is not readable. Immutable.
 *
 * @param vlpi the vLPI that the driver has mapped it to; empty if the LPI goes to a CPU of the host
 */
public record HostLpi(Optional<Vlpi> vlpi) {
    /**
     * A vLPI, by {@code its_vlpi_map}.
     *
     * @param thread the thread that made its VM
     * @param ofIrqfd whether the irqfd of the host irq's eventfd is of that VM; empty if the eventfd has not one irqfd
     * @param id its INTID in the guest
     * @param vcpu the vCPU of its vPE
     * @param index the place of that vCPU among those of the VM. {@code vgic-state} names vCPUs by it since Linux 6.7
     * @param properties the byte of its configuration: priority and enable bit
     * @param recorded KVM's own record of the LPI; empty where KVM has them in a list, as in Linux 6.1
     */
    public record Vlpi(
            int thread,
            Optional<Boolean> ofIrqfd,
            long id,
            VcpuId vcpu,
            int index,
            int properties,
            Optional<Recorded> recorded) {
        public Vlpi {
            Objects.requireNonNull(ofIrqfd, "ofIrqfd is null");
            Objects.requireNonNull(vcpu, "vcpu is null");
            Objects.requireNonNull(recorded, "recorded is null");
        }
    }

    /**
     * KVM's record of a guest's LPI: {@code vgic_irq}.
     *
     * @param hostIrq the number of the host irq that raises it; empty if none does
     * @param target the vCPU that the guest's ITS sends it to; empty if its collection has none
     */
    public record Recorded(Optional<Long> hostIrq, Optional<VcpuId> target, int properties) {
        public Recorded {
            Objects.requireNonNull(hostIrq, "hostIrq is null");
            Objects.requireNonNull(target, "target is null");
        }
    }

    public HostLpi {
        Objects.requireNonNull(vlpi, "vlpi is null");
    }
}
