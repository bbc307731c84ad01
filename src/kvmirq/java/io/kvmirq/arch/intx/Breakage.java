/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx;

/**
 * Conflicts that direct EOI causes by leaving the line unmasked at each interrupt. {@link #OTHERS_WAIT} occurs on a
 * shareable line, {@link #VM_GONE} on any line, and the others on a PCI line that is requested exclusively.
 */
public enum Breakage {
    OTHERS_WAIT("other devices on the line wait for this guest's EOI, forever if its vCPU is stopped"),
    TWO_VMS("of two VMs with devices on the line, only the first gets it; the other fails with EBUSY"),
    LATER_REBOOT(
            "a VM that switched to MSI frees the line, another VM takes it, and the first fails at its next reboot"),
    TWO_DEVICES("a VM with two devices on the line cannot start, because the second device fails with EBUSY"),
    VM_GONE("if the VM ends before its EOI, the host has to deactivate the interrupt, or the line stays silent");

    private final String text;

    Breakage(String text) {
        this.text = text;
    }

    /** The conflict in one sentence. */
    public String text() {
        return text;
    }
}
