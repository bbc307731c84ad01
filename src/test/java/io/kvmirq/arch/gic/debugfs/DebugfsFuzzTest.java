/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.debugfs;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.debugfs.VgicState.Interrupt;
import java.nio.charset.StandardCharsets;
import java.util.function.Function;

/**
 * Any text is read, or refused by one sentence. What was read is the same after it is written as the kernel prints it
 * and read again.
 *
 * <p>As a test it runs over the inputs kept; {@code make fuzz} seeks others.
 */
class DebugfsFuzzTest {
    private static final String DURATION = "60s";

    private static <T> void read(byte[] text, Function<String, T> parser, Function<T, String> writer) {
        T read;
        try {
            read = parser.apply(new String(text, StandardCharsets.UTF_8));
        } catch (IllegalArgumentException e) {
            assertThat(e.getMessage()).contains(": expected ");
            assertThat(String.valueOf(e.getMessage()).chars()).noneMatch(Character::isISOControl);
            return;
        }
        assertThat(parser.apply(writer.apply(read))).isEqualTo(read);
    }

    private static String written(VgicState state) {
        StringBuilder text = new StringBuilder("vgic_model:\t" + state.model() + "\nnr_spis:\t" + state.spis() + "\n");
        state.lpis().ifPresent(lpis -> text.append("nr_lpis:\t").append(lpis).append('\n'));
        text.append("enabled:\t").append(state.enabled() ? 1 : 0).append('\n');
        for (Interrupt interrupt : state.interrupts()) {
            assertThat(interrupt.owner().isPresent() && interrupt.id() >= InterruptId.FIRST_SPI)
                    .isFalse();
            text.append(
                            interrupt.owner().isPresent()
                                    ? "VCPU " + interrupt.owner().getAsInt()
                                    : "SPI 0")
                    .append(" TYP ID TGT_ID PLAEHCG HWID TARGET SRC PRI VCPU_ID\n")
                    .append(row(interrupt));
        }
        return text.toString();
    }

    private static String row(Interrupt interrupt) {
        return interrupt.kind() + " " + interrupt.id() + " "
                + interrupt.target().orElse(-1) + " " + digit(interrupt.pendingLatch())
                + digit(interrupt.lineHigh()) + digit(interrupt.active()) + digit(interrupt.enabled())
                + digit(interrupt.hardware())
                + digit(interrupt.level()) + interrupt.group() + " " + interrupt.hardwareId() + " "
                + Long.toHexString(interrupt.targets())
                + " "
                + Integer.toHexString(interrupt.sources()) + " " + interrupt.priority() + " "
                + interrupt.queuedOn().orElse(-1) + "\n";
    }

    private static int digit(boolean set) {
        return set ? 1 : 0;
    }

    private static String written(ItsState state) {
        StringBuilder text = new StringBuilder();
        for (ItsState.Device device : state.devices()) {
            text.append("Device ID: 0x" + Long.toHexString(device.id()) + ", Event ID Range: [0 - " + device.lastEvent()
                    + "]\n");
            for (ItsState.Translation translation : device.translations()) {
                text.append(translation.event() + " " + translation.id() + " " + translation.hardwareId() + " "
                        + translation.target().orElse(0xffff_ffffL) + " " + translation.collection() + " "
                        + digit(translation.isVlpi())
                        + "\n");
            }
        }
        return text.toString();
    }

    @FuzzTest(maxDuration = DURATION)
    void vgicState(byte[] text) {
        read(text, VgicState::parse, DebugfsFuzzTest::written);
    }

    @FuzzTest(maxDuration = DURATION)
    void itsState(byte[] text) {
        read(text, ItsState::parse, DebugfsFuzzTest::written);
    }
}
