/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.text.Foreign;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The kernel that a fake imitates: a version, and switches for its configuration, its patches and the host's hardware.
 * A profile's text lists them, separated by commas, such as {@code 6.18,split}. Without a version, {@code vtd-posting}
 * means 6.18,vtd-posting, {@code gicv4} means 6.18,arm64,gicv4 and {@code historic} means 6.1,arm64,historic. The other
 * hardware switches work the same way.
 *
 * <p>Source: the profile 6.18,pvm was measured on a real kernel. The other x86 profiles follow Debian's kernels 6.1,
 * 6.12 and (for 7.1) 7.2, which {@code make lab} measures, and the git history of virt/kvm/eventfd.c (2cdd64cbf990) and
 * arch/x86/kvm. The arm64 profiles follow measured Debian kernels, 6.1.192 and 6.12.117, and for later versions Linux's
 * source. Because the lab's GICv3 host cannot run GICv2 VMs, GICv2 was measured separately, on Debian's 6.1, 6.12 and
 * 7.2.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="kernel"}
 */
public final class Profile {
    private static final int HOST_WIDE_MINOR = 17;
    private static final int CDEV_MINOR = 6;

    private enum Version {
        V6_1("6.1", 6, 1),
        V6_12("6.12", 6, 12),
        V6_18("6.18", 6, 18),
        V7_1("7.1", 7, 1);

        private final String label;
        private final int major;
        private final int minor;

        Version(String label, int major, int minor) {
            this.label = label;
            this.major = major;
            this.minor = minor;
        }
    }

    /** A difference among kernels of one version. */
    private enum Switch {
        /** Built without CONFIG_KVM_IOAPIC: KVM emulates LAPICs only, and the VMM emulates PIC and IOAPIC. */
        SPLIT("split"),
        /** An eventfd can have an irqfd on only one GSI across all VMs, as since 6.17 (a backport). */
        IRQFD_HOST("irqfd-host"),
        /** An eventfd can have an irqfd in each VM, as before 6.17 (a revert). */
        IRQFD_VM("irqfd-vm"),
        /** The measured 6.18: with kvm_pvm, at most 1024 vCPUs, without System Management Mode and Hyper-V. */
        PVM("pvm"),
        /** arm64, on a host with a GICv3 that cannot run a GICv2; gicv2 or gicv4 replaces it. */
        ARM64("arm64"),
        /** Built with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV, so with /dev/iommu and /dev/vfio/devices. */
        CDEV("cdev"),
        /** With an Intel IOMMU that remaps interrupts but cannot post them. */
        VTD("vtd", Hardware.VTD),
        /** With an Intel IOMMU that posts interrupts. */
        VTD_POSTING("vtd-posting", Hardware.VTD_POSTING),
        /** With an AMD IOMMU that remaps interrupts but cannot post them, as in the lab. */
        AMD_VI("amd-vi", Hardware.AMD_VI),
        /** With an AMD IOMMU that posts interrupts. */
        AMD_AVIC("amd-avic", Hardware.AMD_AVIC),
        /** Like amd-avic, but with AVIC inhibited in every VM. */
        AVIC_INHIBITED("avic-inhibited", Hardware.AVIC_INHIBITED),
        /** arm64 on a host with a GICv2, so that VMs have a GICv2. */
        GICV2("gicv2", Hardware.GICV2),
        /** arm64 on a host with a GICv3: the default of arm64. */
        GICV3("gicv3", Hardware.GICV3),
        /** arm64 on a host with a GICv4. */
        GICV4("gicv4", Hardware.GICV4),
        /** With the patches of 2014 that forward VFIO device interrupts. They have no effect on x86. */
        HISTORIC("historic");

        private final String label;
        private final Optional<Hardware> hardware;

        Switch(String label, Hardware... hardware) {
            this.label = label;
            this.hardware = Arrays.stream(hardware).findFirst();
        }

        /** Whether the switch may be used without a version. */
        private boolean standsAlone() {
            return hardware.isPresent() || this == HISTORIC;
        }

        private boolean isOfArm64() {
            return hardware.isPresent() && !hardware.get().isX86();
        }
    }

    /** The profile of Linux 6.1 in Debian 12. */
    public static final Profile V6_1 = parse("6.1");
    /** The profile of Linux 6.12 in Debian 13. */
    public static final Profile V6_12 = parse("6.12");
    /** Linux 6.18 as Debian would build it. The contract tests ran on a real {@code 6.18,pvm} kernel instead. */
    public static final Profile V6_18 = parse("6.18");

    /** Linux 7.1. */
    public static final Profile V7_1 = parse("7.1");

    private final Version version;
    private final Set<Switch> switches;

    private Profile(Version version, Set<Switch> switches) {
        this.version = version;
        this.switches = switches;
    }

    /**
     * Parses a profile.
     *
     * @throws IllegalArgumentException if the version or a switch is unknown (the message lists the known ones), or if
     *     switches contradict the version or each other
     */
    public static Profile parse(String text) {
        Objects.requireNonNull(text, "text is null");
        List<String> parts = List.of(text.split(",", -1));
        Optional<Version> named = Arrays.stream(Version.values())
                .filter(candidate -> candidate.label.equals(parts.get(0)))
                .findFirst();
        if (named.isEmpty() && switchOf(parts.get(0)).isEmpty()) {
            throw unknown(text);
        }
        Set<Switch> switches = EnumSet.noneOf(Switch.class);
        for (String part : parts.subList(named.isPresent() ? 1 : 0, parts.size())) {
            switches.add(switchOf(part)
                    .orElseThrow(() -> new IllegalArgumentException("profile " + Foreign.quoted(text) + ": switch "
                            + Foreign.quoted(part) + " is unknown, expected " + labels(each -> true))));
        }
        if (named.isEmpty() && switches.stream().noneMatch(Switch::standsAlone)) {
            throw unknown(text);
        }
        boolean historic = switches.contains(Switch.HISTORIC);
        if (switches.stream().anyMatch(Switch::isOfArm64)
                || named.isEmpty() && historic && hardware(switches).isEmpty()) {
            switches.add(Switch.ARM64);
        }
        Profile profile = new Profile(named.orElse(historic ? Version.V6_1 : Version.V6_18), switches);
        profile.contradiction().ifPresent(contradiction -> {
            throw new IllegalArgumentException(
                    "profile " + Foreign.quoted(text) + " contradicts itself: " + contradiction);
        });
        return profile;
    }

    private static IllegalArgumentException unknown(String text) {
        return new IllegalArgumentException(
                "profile " + Foreign.quoted(text) + " is unknown: expected one of " + expected());
    }

    private static Optional<Switch> switchOf(String label) {
        return Arrays.stream(Switch.values())
                .filter(candidate -> candidate.label.equals(label))
                .findFirst();
    }

    private static List<Hardware> hardware(Set<Switch> switches) {
        return switches.stream().flatMap(part -> part.hardware.stream()).toList();
    }

    private static String labels(Predicate<Switch> which) {
        return Arrays.stream(Switch.values())
                .filter(which)
                .map(part -> part.label)
                .collect(Collectors.joining(", "));
    }

    /** The syntax of a profile's text, for error messages and help. */
    public static String expected() {
        return String.join(", ", labels()) + "; options after a version and a comma: "
                + labels(part -> !part.standsAlone()) + "; options that need no version: "
                + labels(Switch::standsAlone);
    }

    /** Returns the names that are complete profiles: versions, and switches that need no version. */
    public static List<String> names() {
        return Stream.concat(
                        labels().stream(),
                        Arrays.stream(Switch.values())
                                .filter(Switch::standsAlone)
                                .map(part -> part.label))
                .toList();
    }

    private Optional<String> contradiction() {
        if (switches.contains(Switch.IRQFD_HOST) && switches.contains(Switch.IRQFD_VM)) {
            return Optional.of("an eventfd is exclusive on the host (irqfd-host) or in each VM (irqfd-vm), choose one");
        }
        List<Hardware> hardware = hardware(switches);
        if (hardware.size() > 1) {
            return Optional.of("a host has one of " + labels(part -> part.hardware.isPresent()) + ", choose one");
        }
        if (switches.contains(Switch.ARM64) && hardware.stream().anyMatch(Hardware::isX86)) {
            return Optional.of("only x86 has " + labels(part -> part.hardware.isPresent() && !part.isOfArm64())
                    + ", choose arm64 or one of these");
        }
        if (switches.contains(Switch.ARM64) && switches.contains(Switch.SPLIT)) {
            return Optional.of("only x86 has an irqchip to split, choose arm64 or split");
        }
        if (switches.contains(Switch.SPLIT) && !build().isSince(6, HOST_WIDE_MINOR)) {
            return Optional.of("before 6.17 every x86 kernel has the full irqchip (split needs 6.18 or 7.1); to use the"
                    + " split irqchip of such a kernel, ask it for one");
        }
        if (switches.contains(Switch.PVM) && (version != Version.V6_18 || isArm64() || !hardware.isEmpty())) {
            return Optional.of("kvm_pvm is modelled as measured, on x86 with 6.18 and without posting (6.18,pvm)");
        }
        if (switches.contains(Switch.CDEV) && !build().isSince(6, CDEV_MINOR)) {
            return Optional.of("before 6.6 VFIO devices have no files of their own (cdev needs 6.12, 6.18 or 7.1)");
        }
        return Optional.empty();
    }

    /** Returns the profile's text, which {@link #parse} parses. */
    public String label() {
        return Stream.concat(Stream.of(version.label), switches.stream().map(part -> part.label))
                .collect(Collectors.joining(","));
    }

    /** The version and configuration of the kernel that the profile imitates. */
    Build build() {
        boolean since617 = version.major > 6 || version.minor >= HOST_WIDE_MINOR;
        boolean hostWide = switches.contains(Switch.IRQFD_HOST) || since617 && !switches.contains(Switch.IRQFD_VM);
        return new Build(
                version.major,
                version.minor,
                isArm64(),
                !switches.contains(Switch.SPLIT),
                switches.contains(Switch.CDEV),
                hostWide,
                switches.contains(Switch.HISTORIC),
                switches.contains(Switch.PVM),
                hardware(switches).stream().findFirst().orElse(isArm64() ? Hardware.GICV3 : Hardware.REMAPPING));
    }

    /** Whether the profile's kernel is for arm64 and has a VGIC. */
    public boolean isArm64() {
        return switches.contains(Switch.ARM64);
    }

    @Override
    public boolean equals(@Nullable Object other) {
        return other instanceof Profile profile && label().equals(profile.label());
    }

    @Override
    public int hashCode() {
        return label().hashCode();
    }

    @Override
    public String toString() {
        return label();
    }

    /** Returns the kernel versions that a profile's text may name. */
    public static List<String> labels() {
        return Arrays.stream(Version.values()).map(version -> version.label).toList();
    }
}
