/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.VECTORS;

import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import java.util.List;
import java.util.function.Function;

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
        return run(
                profile + " MSI-X", first, programs, random -> new MsixSearch(profile, random.nextBoolean(), random));
    }

    static String ofMsi(String profile, long first, long programs) {
        return run(profile + " MSI", first, programs, random -> {
            MessagesWorld world = new MessagesWorld(profile);
            return new MsiSearch(world.searched(() -> world.msi.read(20, 4)), world.msi, VECTORS, random);
        });
    }

    /** MSI-X and MSI of emulated functions. */
    static String ofEmulated(String profile, long first, long programs) {
        return run(profile + " emulated", first, programs, random -> {
            EmulatedWorld world = new EmulatedWorld(profile);
            boolean lazy = random.nextBoolean();
            return random.nextInt(4) == 0
                    ? new MsiSearch(world.searched(() -> world.msi.read(20, 4)), world.msi, VECTORS, lazy, random)
                    : new EmulatedSearch(world, lazy, random);
        });
    }

    /** @throws AssertionError also if the programs took no message, because then they show nothing */
    static String run(String name, long first, long programs, Function<Choices, MessageSearch> of) {
        long[] counts = new long[3];
        Search.run(name, first, programs, random -> {
            try (MessageSearch search = of.apply(random)) {
                search.run();
                counts[0] += search.sent();
                counts[1] += search.signalled();
                counts[2] += search.arrived();
            }
        });
        if (programs > 0 && counts[2] == 0) {
            throw new AssertionError(name + ": no message arrived in " + programs + " programs");
        }
        return name + ": " + programs + " programs, " + counts[0] + " messages sent, " + counts[1] + " by an eventfd, "
                + counts[2] + " arrived";
    }
}
