/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.VECTORS;

import java.util.List;
import java.util.function.LongFunction;

/**
 * {@code main}: how many programs of guests with MSI-X to run on each profile, and the first seed; a line for each profile.
 * It fails at the first message that is lost or comes twice.
 */
final class MessageReport {
    /** Profiles whose irqfds differ. */
    static final List<String> EMULATED = List.of("6.1", "6.12", "6.18", "vtd-posting", "amd-avic");

    private MessageReport() {}

    /** Profiles that answer such programs differently. */
    static List<String> profiles() {
        return List.of("vtd-posting", "amd-avic", "6.1,amd-avic", "avic-inhibited", "6.18", "gicv3", "gicv4");
    }

    /** @param arguments how many programs, and the first seed */
    public static void main(String[] arguments) {
        long programs = Long.parseLong(arguments[0]);
        long first = arguments.length > 1 ? Long.parseLong(arguments[1]) : 0;
        for (String profile : profiles()) {
            System.out.println(ofMsix(profile, first, programs));
        }
        EMULATED.forEach(profile -> System.out.println(ofEmulated(profile, first, programs)));
    }

    /** Half of the guests are lazy. */
    static String ofMsix(String profile, long first, long programs) {
        return run(profile + " MSI-X", first, programs, seed -> new MsixSearch(profile, seed % 2 == 0, seed));
    }

    static String ofMsi(String profile, long first, long programs) {
        return run(profile + " MSI", first, programs, seed -> {
            MessagesWorld world = new MessagesWorld(profile);
            return new MsiSearch(world.searched(() -> world.msi.read(20, 4)), world.msi, VECTORS, seed);
        });
    }

    /** MSI-X and MSI of emulated functions. */
    static String ofEmulated(String profile, long first, long programs) {
        return run(profile + " emulated", first, programs, seed -> {
            EmulatedWorld world = new EmulatedWorld(profile);
            return seed % 4 == 0
                    ? new MsiSearch(
                            world.searched(() -> world.msi.read(20, 4)), world.msi, VECTORS, seed % 8 == 0, seed)
                    : new EmulatedSearch(world, seed % 2 == 0, seed);
        });
    }

    private static String run(String name, long first, long programs, LongFunction<MessageSearch> of) {
        long sent = 0;
        long signalled = 0;
        long arrived = 0;
        for (long seed = first; seed < first + programs; seed++) {
            try (MessageSearch search = of.apply(seed)) {
                search.run();
                sent += search.sent();
                signalled += search.signalled();
                arrived += search.arrived();
            } catch (AssertionError e) {
                throw new AssertionError(name + ", program " + seed + ": " + e.getMessage(), e);
            }
        }
        if (programs > 0 && arrived == 0) {
            throw new AssertionError(name + ": no message arrived in " + programs + " programs");
        }
        return name + ": " + programs + " programs, " + sent + " messages sent, " + signalled + " by an eventfd, "
                + arrived + " arrived";
    }
}
