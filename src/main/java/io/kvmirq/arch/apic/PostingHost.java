/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import java.util.EnumSet;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;

/**
 * The features of a host that decide about posting. Immutable.
 *
 * @param vendor the maker of the processor
 * @param commandLine the kernel's command line, which may switch features off
 */
public record PostingHost(Vendor vendor, String commandLine, Set<Feature> features) {
    /** Each is needed. */
    public enum Feature {
        /** The host remaps interrupts. */
        REMAPPING,
        /**
         * Intel: CAP.PI of every remapping unit is set, and the processor has cx16. AMD: the hardware has the virtual
         * APIC mode, EFR bit 21.
         */
        POSTING_UNITS,
        /** The module parameter enable_apicv of kvm_intel, or avic of kvm_amd. */
        APIC_VIRTUALIZATION,
        /** The module parameter enable_device_posted_irqs; before Linux 6.16 every host has the feature. */
        DEVICE_POSTED_IRQS
    }

    public PostingHost {
        features = Set.copyOf(features);
    }

    /** A host on which everything is switched on. */
    public static PostingHost of(Vendor vendor) {
        return new PostingHost(vendor, "", EnumSet.allOf(Feature.class));
    }

    /** The same host with another command line. */
    public PostingHost withCommandLine(String line) {
        return new PostingHost(vendor, line, features);
    }

    /** The same host without a feature. */
    public PostingHost without(Feature feature) {
        Set<Feature> fewer = new HashSet<>(features);
        fewer.remove(feature);
        return new PostingHost(vendor, commandLine, fewer);
    }

    /** The first reason against posting, before any VM is looked at. */
    public Optional<PostingObstacle> flaw() {
        boolean remapping = features.contains(Feature.REMAPPING);
        boolean unitsPost = features.contains(Feature.POSTING_UNITS);
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
            return Optional.of(PostingObstacle.NO_REMAPPING);
        }
        if (noPosting) {
            return Optional.of(PostingObstacle.SWITCHED_OFF);
        }
        if (vendor == Vendor.AMD && (legacy || !unitsPost)) {
            return Optional.of(PostingObstacle.NO_VIRTUAL_APIC);
        }
        if (!unitsPost) {
            return Optional.of(PostingObstacle.UNIT_CANNOT_POST);
        }
        if (!features.contains(Feature.APIC_VIRTUALIZATION)) {
            return Optional.of(PostingObstacle.NO_APIC_VIRTUALIZATION);
        }
        return features.contains(Feature.DEVICE_POSTED_IRQS)
                ? Optional.empty()
                : Optional.of(PostingObstacle.DEVICES_NOT_POSTED);
    }
}
