/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** Name of a host device that VFIO can open. {@code toString} returns its name in sysfs. */
public interface DeviceName {
    /** The name of the device's bus in {@code /sys/bus}, such as {@code pci}. */
    String busName();
}
