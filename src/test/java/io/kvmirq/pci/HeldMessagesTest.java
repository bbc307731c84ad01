/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.mirror.HeldMessage;
import io.kvmirq.mirror.Producer;
import java.util.Optional;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The pending bits of a guest's MSI-X that the mirror calls held back. */
class HeldMessagesTest {
    private enum Host {
        X86("vtd-posting", HeldMessage.KNOWN),
        GICV4("gicv4", HeldMessage.POSSIBLE);

        private final String profile;
        private final HeldMessage message;

        Host(String profile, HeldMessage message) {
            this.profile = profile;
            this.message = message;
        }
    }

    private static Optional<HeldMessage> held(MessagesWorld world) {
        return world.forwarding.mirror().now().held(new Producer(world.device.name(), Producer.Kind.MSI_X, 0));
    }

    /** Vector 0 is masked and pending. */
    private static void pend(MessagesWorld world) {
        world.entry(0, 0, 0x40);
        world.mask(0, false);
        world.msix.writeMessageControl(MessagesWorld.ENABLE);
        world.mask(0, true);
        world.hardware.sendMessage(0);
    }

    @ParameterizedTest
    @EnumSource
    void heldFromTheEndToTheNextOpening(Host host) {
        try (MessagesWorld world = new MessagesWorld(host.profile)) {
            pend(world);
            world.msix.writeMessageControl(0);
            assertThat(held(world)).contains(host.message);
            world.msix.writeMessageControl(MessagesWorld.ENABLE);
            assertThat(held(world)).contains(host.message);
            world.mask(0, false);
            assertThat(held(world)).isEmpty();
            assertThat(world.taken()).containsExactly("0:0x40");
        }
    }

    @ParameterizedTest
    @EnumSource
    void restoredPendingBitIsHeldUntilTheReset(Host host) {
        try (MessagesWorld world = new MessagesWorld(host.profile)) {
            pend(world);
            byte[] state = world.msix.state();
            world.msix.reset();
            assertThat(held(world)).isEmpty();
            world.msix.restore(state);
            assertThat(held(world)).contains(host.message);
            world.msix.reset();
            assertThat(held(world)).isEmpty();
            assertThat(world.taken()).isEmpty();
        }
    }

    /** As a snapshot does, before it reads the state. */
    @ParameterizedTest
    @EnumSource
    void heldWhileTheHostHoldsTheDevice(Host host) {
        try (MessagesWorld world = new MessagesWorld(host.profile)) {
            world.entry(0, 0, 0x40);
            world.mask(0, false);
            world.msix.writeMessageControl(MessagesWorld.ENABLE);
            world.msix.hold();
            assertThat(held(world)).isEqualTo(Optional.of(host.message).filter(HeldMessage.POSSIBLE::equals));
            world.msix.release();
            assertThat(held(world)).isEmpty();
        }
    }
}
