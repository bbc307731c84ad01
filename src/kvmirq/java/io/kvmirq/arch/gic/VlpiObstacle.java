/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

/** Reasons why KVM delivers an irqfd's LPI in software, in KVM's order of checks. KVM does not report them. */
public enum VlpiObstacle {
    NO_GICV4("KVM does not use GICv4", "boot with kvm-arm.vgic_v4_enable=1 if the host has a GICv4"),
    NO_DEVICE_ID("the route has no device id", "set it with the route"),
    NO_ITS("no ITS of the guest has this doorbell address", "use the address of GITS_TRANSLATER in the route"),
    UNMAPPED(
            "the guest has not mapped the event yet, or its ITS or LPIs are disabled",
            "register the irqfd again later"),
    /** Exists since Linux 6.16. Before that, the last host interrupt to register gets the LPI. */
    TAKEN("the LPI is a vLPI of another host interrupt", "have the guest map each event to its own LPI");

    private final String text;
    private final String remedy;

    VlpiObstacle(String text, String remedy) {
        this.text = text;
        this.remedy = remedy;
    }

    /** The reason as a clause. */
    public String text() {
        return text;
    }

    /** The remedy, as an imperative. */
    public String remedy() {
        return remedy;
    }
}
