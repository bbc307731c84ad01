/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.explorer.Race;
import java.util.List;

/** The searches of posting on VT-d and VMX, with their verdicts. */
public final class PostedRaces {
    private PostedRaces() {}

    private static Race race(Variant variant, Scenario scenario, boolean losesInOrder, boolean losesBuffered) {
        return new Race(
                variant.text(),
                scenario.text(),
                losesInOrder,
                losesBuffered,
                memory -> scenario.explore(variant, memory));
    }

    private static Race loses(Variant variant, Scenario scenario) {
        return race(variant, scenario, true, true);
    }

    /** Dropped there, an ordering is only missed where stores are buffered. */
    private static Race losesBuffered(Variant variant, Scenario scenario) {
        return race(variant, scenario, false, true);
    }

    private static Race keeps(Variant variant, Scenario scenario) {
        return race(variant, scenario, false, false);
    }

    /** The thread of January 2019: what was proposed, and what Linux does. */
    public static final List<Race> REPAIRS = List.of(
            loses(Variant.ON_ONLY, Scenario.DEVICE),
            loses(Variant.ON_ONLY, Scenario.DEVICE_AND_SOFTWARE),
            loses(Variant.PIR_ONLY, Scenario.DEVICE_AND_SOFTWARE),
            keeps(Variant.PIR_OR_ON, Scenario.DEVICE_AND_SOFTWARE),
            keeps(Variant.ON_SN_STORE, Scenario.DEVICE_AND_SOFTWARE),
            loses(Variant.CHECK_THEN_CLEAR, Scenario.DEVICE_AND_SOFTWARE),
            keeps(Variant.TODAY, Scenario.DEVICE_AND_SOFTWARE));

    /** Ours, with one thing taken away. */
    public static final List<Race> ORDERINGS = List.of(
            loses(Variant.PLAIN_PIR, Scenario.DEVICE_AND_SOFTWARE),
            loses(Variant.PLAIN_ON, Scenario.DEVICE_AND_SOFTWARE),
            loses(Variant.ON_BEFORE_PIR, Scenario.DEVICE_AND_SOFTWARE),
            loses(Variant.HARVEST_FIRST, Scenario.DEVICE_AND_SOFTWARE),
            losesBuffered(Variant.PLAIN_CLEAR_ON, Scenario.DEVICE_AND_SOFTWARE),
            losesBuffered(Variant.PLAIN_CLEAR_SN, Scenario.DEVICE_AND_SOFTWARE),
            losesBuffered(Variant.NO_MODE_BARRIER, Scenario.DEVICE_AND_SOFTWARE),
            losesBuffered(Variant.PLAIN_SLEEP, Scenario.TWO_OF_SOFTWARE),
            losesBuffered(Variant.TEST_FIRST, Scenario.DATA),
            loses(Variant.NO_UNBLOCK, Scenario.START_OF_BYPASS),
            keeps(Variant.PLAIN_PUT, Scenario.DEVICE_AND_SOFTWARE),
            keeps(Variant.WITH_BARRIERS, Scenario.DEVICE_AND_SOFTWARE));

    /** Ours, wherever two senders meet a vCPU. */
    public static final List<Race> OURS = List.of(
            keeps(Variant.TODAY, Scenario.TWO_DEVICES),
            keeps(Variant.TODAY, Scenario.DEVICE_AND_SOFTWARE),
            keeps(Variant.TODAY, Scenario.TWO_OF_SOFTWARE),
            keeps(Variant.TODAY, Scenario.TWO_PROCESSORS),
            keeps(Variant.TODAY, Scenario.START_OF_BYPASS),
            keeps(Variant.TODAY, Scenario.TWO_VCPUS),
            keeps(Variant.TODAY, Scenario.MASKED),
            keeps(Variant.TODAY, Scenario.IN_TWO_ACCESSES),
            keeps(Variant.TODAY, Scenario.DATA));
}
