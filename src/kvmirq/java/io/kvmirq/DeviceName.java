/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** Names a host device that VFIO can open. {@code toString} returns the device's sysfs name. */
public interface DeviceName {
    /** The name of the device's bus in {@code /sys/bus}, such as {@code pci}. */
    String busName();
}
