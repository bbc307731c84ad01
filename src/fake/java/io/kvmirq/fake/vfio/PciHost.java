/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import java.util.List;

/** The parameters of vfio-pci on a host, and the host's other PCI devices, as a device of vfio-pci needs them. */
interface PciHost {
    /** The lowest free number of a device's own file. */
    int freeIndex();

    /** The parameter nointxmask of the module. */
    boolean isNointxmask();

    HostVectors vectors();

    /** The PCI devices on the bus of one, itself included. */
    List<PciFunction> onBusOf(PciFunction one);

    /** Those of some PCI devices that vfio-pci is bound to. */
    List<VfioPci> boundAmong(List<PciFunction> functions);
}
