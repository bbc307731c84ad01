/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

/**
 * What a PCI device is.
 *
 * @param address such as {@code 0000:00:02.0}
 * @param group the number of its IOMMU group
 * @param intx whether it has an interrupt pin
 * @param disIntx whether it can mask INTx itself, as since PCI 2.3
 * @param sharesLine whether a driver of the host has the same interrupt line
 * @param msi the number of MSI vectors; 0 without the capability
 * @param msix the number of MSI-X vectors; 0 without the capability
 * @param express whether it is a PCI Express device
 * @param resets whether it has a function reset
 */
public record PciFunction(
        String address,
        int group,
        boolean intx,
        boolean disIntx,
        boolean sharesLine,
        int msi,
        int msix,
        boolean express,
        boolean resets) {}
