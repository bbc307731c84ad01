/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/** The name of a host device that VFIO can open. {@code toString} gives the name as sysfs has it. */
public interface DeviceName {
    /** The bus of the device: its directory below {@code /sys/bus}. */
    String busName();
}
