/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import java.util.List;

/** The parameters of vfio-pci and the other PCI devices of a host, for a device that is bound to vfio-pci. */
interface PciHost {
    /** The lowest free number for a device's own file. */
    int freeIndex();

    /** The module parameter nointxmask. */
    boolean isNointxmask();

    HostVectors vectors();

    /** All PCI devices on the bus of {@code one}, including it. */
    List<PciFunction> onBusOf(PciFunction function);

    /** The devices among {@code functions} that are bound to vfio-pci. */
    List<VfioPci> boundAmong(List<PciFunction> functions);
}
