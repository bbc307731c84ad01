/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import java.util.List;

/**
 * {@code main}: how many programs of {@link PinSearch} to run on each profile and irqchip, and the first seed; a line for
 * each. It fails at the first interrupt that is lost, comes twice or has no cause, and if a set-up did nothing.
 */
final class PinReport {
    private static final List<String> PROFILES = List.of("6.1", "6.12", "6.18");

    private PinReport() {}

    /** @param arguments how many programs, and the first seed */
    public static void main(String[] arguments) {
        long programs = Long.parseLong(arguments[0]);
        long first = arguments.length > 1 ? Long.parseLong(arguments[1]) : 0;
        for (String profile : PROFILES) {
            report(profile + " pin, full irqchip", profile, true, false, first, programs);
            report(profile + " pin, split irqchip", profile, false, false, first, programs);
            report(profile + " pin, split irqchip and host device", profile, false, true, first, programs);
        }
    }

    private static void report(
            String name, String profile, boolean inKernel, boolean withDevice, long first, long programs) {
        World world = World.fake(profile);
        try (PinSearch search = new PinSearch(world, inKernel, withDevice)) {
            search.run(name, first, programs);
            System.out.println(name + ": " + search.counts() + ", 0 lost, 0 twice, 0 spurious");
        } finally {
            world.closeFiles();
        }
    }
}
