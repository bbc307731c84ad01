/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.StringTokenizer;

/**
 * Host features that KVM needs to post interrupts. The version {@code kernel} determines which inhibit reasons exist,
 * and the kernel's {@code commandLine} can disable features.
 */
public record PostingHost(Vendor vendor, LinuxVersion kernel, String commandLine, Set<Feature> features) {
    private static final int AVIC_MAX_PHYSICAL_ID = 0xfe;
    private static final int X2AVIC_MAX_PHYSICAL_ID = 0x1ff;

    /** A host feature. Posting needs all features except {@link #X2AVIC}, {@link #X2AVIC_EXT} and {@link #AVIC_IDS}. */
    public enum Feature {
        /** The host remaps interrupts. */
        REMAPPING,
        /**
         * Intel: CAP.PI of every remapping unit is set, and the processor has cx16. AMD: the IOMMU supports the virtual
         * APIC mode, EFR bit 21.
         */
        POSTING_UNITS,
        /** The module parameter enable_apicv of kvm_intel, or avic of kvm_amd, is on. */
        APIC_VIRTUALIZATION,
        /** The module parameter enable_device_posted_irqs is on. Before Linux 6.16 every host has this feature. */
        DEVICE_POSTED_IRQS,
        /** AMD: AVIC's physical APIC id table has entries for vCPU ids above 254, up to 511. */
        X2AVIC,
        /** AMD, since Linux 6.18: AVIC's table covers all vCPU ids. */
        X2AVIC_EXT,
        /** AMD: AVIC's table covers vCPU ids above 0. Missing in Linux 6.18 to 6.18.9 without {@link #X2AVIC}. */
        AVIC_IDS
    }

    public PostingHost {
        Objects.requireNonNull(vendor, "vendor is null");
        Objects.requireNonNull(kernel, "kernel is null");
        Objects.requireNonNull(commandLine, "commandLine is null");
        Objects.requireNonNull(features, "features is null");
        features = Set.copyOf(features);
    }

    /** A host with the newest kernel and all features. */
    public static PostingHost of(Vendor vendor) {
        Objects.requireNonNull(vendor, "vendor is null");
        return new PostingHost(vendor, LinuxVersion.NEWEST, "", EnumSet.allOf(Feature.class));
    }

    /** Returns a copy with another command line. */
    public PostingHost withCommandLine(String line) {
        Objects.requireNonNull(line, "line is null");
        return new PostingHost(vendor, kernel, line, features);
    }

    /** Returns a copy with another kernel version. */
    public PostingHost withKernel(LinuxVersion version) {
        Objects.requireNonNull(version, "version is null");
        return new PostingHost(vendor, version, commandLine, features);
    }

    /** Returns a copy without a feature. */
    public PostingHost without(Feature feature) {
        Objects.requireNonNull(feature, "feature is null");
        Set<Feature> fewer = new HashSet<>(features);
        fewer.remove(feature);
        return new PostingHost(vendor, kernel, commandLine, fewer);
    }

    /** The highest vCPU id that AVIC supports ({@code avic_init_backing_page}). */
    public int highestAvicId() {
        if (!features.contains(Feature.AVIC_IDS)) {
            return 0;
        }
        if (!features.contains(Feature.X2AVIC)) {
            return AVIC_MAX_PHYSICAL_ID;
        }
        return features.contains(Feature.X2AVIC_EXT) && kernel.isSince(6, 18) ? VcpuId.MAX : X2AVIC_MAX_PHYSICAL_ID;
    }

    /** The first obstacle to posting that affects every VM on this host. Empty if the host can post. */
    public Optional<PostingObstacle> flaw() {
        boolean remapping = features.contains(Feature.REMAPPING);
        boolean unitsPost = features.contains(Feature.POSTING_UNITS);
        boolean noRemapping = !remapping;
        boolean noPosting = false;
        boolean legacy = false;
        // The kernel applies the options in order (setup_irqremap). A regular expression would load more classes, which
        // takes most of a short command's time.
        for (StringTokenizer words = new StringTokenizer(commandLine); words.hasMoreTokens(); ) {
            String word = words.nextToken();
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
