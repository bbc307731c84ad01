/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import java.util.Optional;

/**
 * What a host says about posting. Immutable.
 *
 * @param vendor the maker of the processor
 * @param remapping whether the host remaps interrupts
 * @param commandLine the kernel's command line
 * @param unitsPost Intel: CAP.PI of every remapping unit is set, and the processor has cx16. AMD: the hardware has the
 *     virtual APIC mode, EFR bit 21
 * @param apicVirtualization the module parameter enable_apicv of kvm_intel, or avic of kvm_amd
 * @param devicePostedIrqs the module parameter enable_device_posted_irqs; empty before Linux 6.16, which has none
 */
public record PostingHost(
        Vendor vendor,
        boolean remapping,
        String commandLine,
        boolean unitsPost,
        boolean apicVirtualization,
        Optional<Boolean> devicePostedIrqs) {
    /** A host on which everything is switched on. */
    public static PostingHost of(Vendor vendor) {
        return new PostingHost(vendor, true, "", true, true, Optional.of(true));
    }

    /** The same host with another command line. */
    public PostingHost withCommandLine(String line) {
        return new PostingHost(vendor, remapping, line, unitsPost, apicVirtualization, devicePostedIrqs);
    }

    /** The first reason, before any VM is looked at. */
    Optional<NotPosted> flaw() {
        boolean noRemapping = !remapping;
        boolean noPosting = false;
        boolean legacy = false;
        // The kernel applies the words in order (setup_irqremap).
        for (String word : commandLine.strip().split("\\s+")) {
            legacy = word.startsWith("amd_iommu_intr=") ? word.endsWith("=legacy") : legacy;
            noRemapping |= word.equals("nointremap");
            if (word.startsWith("intremap=")) {
                for (String option : word.substring("intremap=".length()).split(",")) {
                    noPosting = option.equals("off") || option.equals("nopost") || noPosting && !option.equals("on");
                    noRemapping = option.equals("off") || noRemapping && (!remapping || !option.equals("on"));
                }
            }
        }
        if (noRemapping) {
            return Optional.of(NotPosted.NO_REMAPPING);
        }
        if (noPosting) {
            return Optional.of(NotPosted.SWITCHED_OFF);
        }
        if (vendor == Vendor.AMD && (legacy || !unitsPost)) {
            return Optional.of(NotPosted.NO_VIRTUAL_APIC);
        }
        if (!unitsPost) {
            return Optional.of(NotPosted.UNIT_CANNOT_POST);
        }
        if (!apicVirtualization) {
            return Optional.of(NotPosted.NO_APIC_VIRTUALIZATION);
        }
        return devicePostedIrqs.orElse(true) ? Optional.empty() : Optional.of(NotPosted.DEVICES_NOT_POSTED);
    }
}
