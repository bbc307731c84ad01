/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

/** Conflicts of direct EOI that the automatic mask does not have. */
public enum Breakage {
    /** On a line that others share: their devices wait until this guest ends its interrupt. */
    OTHERS_WAIT("other devices on the line wait until this guest ends its interrupt, for ever if its vCPU is stopped"),
    /** On a PCI line that is requested exclusively: only the first of two VMs with devices on it gets it. */
    TWO_VMS("of two VMs with devices on the line only the first gets it; the other fails with EBUSY"),
    /**
     * On a PCI line that is requested exclusively: a VM that switched to MSI has freed it, another VM takes it,
     * and the first fails at its next reboot.
     */
    LATER_REBOOT("a VM that switched to MSI frees the line; another takes it, and the first fails at its next reboot"),
    /** On a PCI line that is requested exclusively: a VM with two devices on it cannot start. */
    TWO_DEVICES("a VM with two devices on the line cannot start: the second device fails with EBUSY"),
    /** Always: if the VM ends before its EOI, the host has to deactivate the interrupt. */
    VM_GONE("if the VM ends before its EOI, the host has to deactivate the interrupt, or the line stays silent");

    private final String text;

    Breakage(String text) {
        this.text = text;
    }

    /** One sentence. */
    public String text() {
        return text;
    }
}
