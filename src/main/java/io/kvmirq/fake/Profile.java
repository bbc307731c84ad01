/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.fake.file.Build;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The kernel that a fake imitates: a version, and switches for its configuration and patches. The text form is the
 * version and the switches, separated by commas: {@code 6.18,split}.
 *
 * <p>Source: 6.18 was measured. The others are as built by Debian, seen on its 6.1, 6.12 and, for 7.1, its 7.2 ({@code
 * make lab}); git history of virt/kvm/eventfd.c (2cdd64cbf990) and arch/x86/kvm. On arm64, Debian's 6.1.192 and
 * 6.12.117 were seen; later versions behave like 6.12.
 */
public final class Profile {
    private static final int HOST_WIDE_MINOR = 17;
    private static final int CDEV_MINOR = 6;

    /** The versions that have a profile. */
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

    /** Differences among kernels of one version. */
    private enum Switch {
        /** Built without CONFIG_KVM_IOAPIC: the kernel has LAPICs only; the VMM emulates PIC and IOAPIC. */
        SPLIT("split"),
        /** One eventfd feeds one GSI of the host: the behaviour since 6.17, backported. */
        IRQFD_HOST("irqfd-host"),
        /** One eventfd may feed a GSI of each VM: the behaviour before 6.17, restored by a revert. */
        IRQFD_VM("irqfd-vm"),
        /** arm64, on a host with a GICv3 only. */
        ARM64("arm64"),
        /** Built with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV: has /dev/iommu and /dev/vfio/devices. */
        CDEV("cdev");

        private final String label;

        Switch(String label) {
            this.label = label;
        }
    }

    /** Linux 6.1 of Debian 12. */
    public static final Profile V6_1 = of("6.1");
    /** Linux 6.12 of Debian 13. */
    public static final Profile V6_12 = of("6.12");
    /** Linux 6.18, on which the contract suite was measured. */
    public static final Profile V6_18 = of("6.18");

    /** Linux 7.1. */
    public static final Profile V7_1 = of("7.1");

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
     *     switches contradict the version or one another
     */
    public static Profile of(String text) {
        String[] parts = text.split(",", -1);
        Version version = Arrays.stream(Version.values())
                .filter(candidate -> candidate.label.equals(parts[0]))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("profile '" + text + "' is unknown: expected one of "
                        + String.join(", ", labels()) + ", and after a comma " + switches()));
        Set<Switch> switches = EnumSet.noneOf(Switch.class);
        for (int i = 1; i < parts.length; i++) {
            String part = parts[i];
            switches.add(Arrays.stream(Switch.values())
                    .filter(candidate -> candidate.label.equals(part))
                    .findFirst()
                    .orElseThrow(() -> new IllegalArgumentException(
                            "profile '" + text + "': switch '" + part + "' is unknown, expected " + switches())));
        }
        Profile profile = new Profile(version, switches);
        profile.contradiction().ifPresent(contradiction -> {
            throw new IllegalArgumentException("profile '" + text + "' contradicts itself: " + contradiction);
        });
        return profile;
    }

    /** The known switches, for messages. */
    public static String switches() {
        return Arrays.stream(Switch.values()).map(one -> one.label).collect(Collectors.joining(", "));
    }

    private Optional<String> contradiction() {
        if (switches.contains(Switch.IRQFD_HOST) && switches.contains(Switch.IRQFD_VM)) {
            return Optional.of("an eventfd is exclusive on the host (irqfd-host) or in each VM (irqfd-vm), choose one");
        }
        if (switches.contains(Switch.ARM64) && switches.contains(Switch.SPLIT)) {
            return Optional.of("only x86 has an irqchip to split, choose arm64 or split");
        }
        if (switches.contains(Switch.SPLIT) && !build().isSince(6, HOST_WIDE_MINOR)) {
            return Optional.of("before 6.17 every x86 kernel has the full irqchip (split needs 6.18 or 7.1); to use the"
                    + " split irqchip of such a kernel, ask it for one");
        }
        if (switches.contains(Switch.CDEV) && !build().isSince(6, CDEV_MINOR)) {
            return Optional.of("before 6.6 VFIO devices have no files of their own (cdev needs 6.12, 6.18 or 7.1)");
        }
        return Optional.empty();
    }

    /** The text form. */
    public String label() {
        return Stream.concat(Stream.of(version.label), switches.stream().map(one -> one.label))
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
                hostWide);
    }

    /** Whether the profile is for arm64, with a VGIC. */
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

    /** The versions, without switches. */
    public static List<String> labels() {
        return Arrays.stream(Version.values()).map(version -> version.label).toList();
    }
}
