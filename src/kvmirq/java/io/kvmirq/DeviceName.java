/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** The name of a host device that VFIO can open. {@code toString} returns the name in sysfs. */
public interface DeviceName {
    /** The bus of the device: its directory below {@code /sys/bus}. */
    String busName();
}
