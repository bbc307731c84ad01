/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

public enum InterruptMode {
    NONE,
    INTX,
    MSI,
    MSIX
}
