/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * The kernel version a fake stands for; what separates them is where the contract differs.
 *
 * <p>Source: measured on 6.18; git history of virt/kvm/eventfd.c (2cdd64cbf990) and arch/x86/kvm for the others.
 */
public enum Profile {
    V6_1("6.1", false, 3),
    V6_12("6.12", false, 3),
    V6_18("6.18", true, 0xf),
    V7_1("7.1", true, 0xf);

    private final String label;
    private final boolean irqfdHostWide;
    private final int x2apicBits;

    Profile(String label, boolean irqfdHostWide, int x2apicBits) {
        this.label = label;
        this.irqfdHostWide = irqfdHostWide;
        this.x2apicBits = x2apicBits;
    }

    /** Whether it has what came with that version. */
    boolean isSince(int major, int minor) {
        String[] numbers = label.split("\\.", -1);
        int difference = Integer.parseInt(numbers[0]) - major;
        return difference > 0 || difference == 0 && Integer.parseInt(numbers[1]) >= minor;
    }

    /** As users name it. */
    public String label() {
        return label;
    }

    /** Whether an eventfd that feeds a GSI of one VM is busy for every other (since 6.17). */
    boolean irqfdHostWide() {
        return irqfdHostWide;
    }

    /** The bits of KVM_CAP_X2APIC_API this kernel knows. */
    int x2apicBits() {
        return x2apicBits;
    }

    /**
     * The profile of that label.
     *
     * @throws IllegalArgumentException listing those there are
     */
    public static Profile of(String label) {
        return Arrays.stream(values())
                .filter(profile -> profile.label.equals(label))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("profile '" + label + "' is unknown: expected one of "
                        + labels().stream().collect(Collectors.joining(", "))));
    }

    public static List<String> labels() {
        return Arrays.stream(values()).map(Profile::label).toList();
    }
}
