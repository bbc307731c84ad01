/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static io.kvmirq.forward.ForwardWorld.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Route;
import io.kvmirq.kernel.EventLoop;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * An Error of the JVM in each call of a mask and of an unmask in turn, before the kernel sees the call and after it
 * answered. The interrupt is then open or masked, as it says, and nothing that came before is lost.
 */
class MaskErrorTest {
    private final ErrorInCall errors = new ErrorInCall();
    private final ForwardWorld world = new ForwardWorld("6.12", errors::over);
    private final EventLoop loop = EventLoop.create(world.kernel);
    private final Forwarding forwarding = Forwarding.builder(world.vm, world.device)
            .userspace(Userspace.into(world.vm, loop))
            .build();
    private int vector = 0x30;

    @AfterEach
    void close() {
        errors.disarm();
        forwarding.close();
        loop.close();
        world.closeAndExpectNothingLeft();
    }

    @ParameterizedTest
    @CsvSource({"false, false", "false, true", "true, false", "true, true"})
    void interruptIsAsItSaysAfterAnError(boolean isLine, boolean relayed) {
        for (boolean unmasks : List.of(false, true)) {
            for (boolean after : List.of(false, true)) {
                for (boolean waits : List.of(false, true)) {
                    int call = 1;
                    while (fails(isLine, relayed, unmasks, after, waits, false, call)) {
                        assertThat(fails(isLine, relayed, unmasks, after, waits, true, call))
                                .isTrue();
                        call++;
                    }
                    assertThat(call).isGreaterThan(1);
                }
            }
        }
    }

    /**
     * @param waits whether the device interrupts before the Error
     * @param again whether it is masked once more after it
     * @return whether there was an Error
     */
    private boolean fails(
            boolean isLine, boolean relayed, boolean unmasks, boolean after, boolean waits, boolean again, int call) {
        vector++;
        List<String> before = world.kernel.openHandles();
        boolean failed;
        try (ForwardedIrq irq = isLine
                ? forwarding.forward(world.device.intx(), PIN)
                : forwarding.forward(world.device.msix().get(0), message(vector))) {
            if (relayed) {
                irq.moveTo(Mechanism.USERSPACE);
            }
            if (unmasks) {
                irq.mask();
            }
            boolean requested = waits && (isLine || unmasks);
            if (requested) {
                interrupt(isLine);
            }
            errors.arm(call, after);
            Throwable thrown = catchThrowable(unmasks ? irq::unmask : irq::mask);
            failed = errors.disarm();
            String step = thrown + " in call " + call + " of " + (unmasks ? "unmask, " : "mask, ")
                    + (requested ? "after an interrupt, " : "") + (irq.isMasked() ? "now masked" : "now open");
            if (irq.isMasked()) {
                // The line could not be lowered, or the unmask let a message through before it failed.
                boolean came =
                        step.contains("before lineSetStatus") || step.contains("after irqfdAssign ") && requested;
                assertThat(arrives(isLine)).as(step).isEqualTo(came);
                irq.unmask();
            }
            if (again) {
                irq.mask();
            }
            if (!requested) {
                interrupt(isLine);
            }
            if (again) {
                assertThat(isLine && arrives(true)).as(step + ", masked again").isFalse();
                irq.unmask();
            }
            assertThat(arrives(isLine)).as(step).isTrue();
            if (isLine) {
                world.hardware.serve();
                irq.endOfInterrupt();
                loop.pollNanos(0);
            }
        }
        assertThat(world.kernel.openHandles()).isEqualTo(before);
        return failed;
    }

    private void interrupt(boolean isLine) {
        if (isLine) {
            world.hardware.requestService();
        } else {
            world.hardware.sendMessage(0);
        }
        loop.pollNanos(0);
    }

    private boolean arrives(boolean isLine) {
        loop.pollNanos(0);
        return isLine
                ? world.vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()))
                : world.first.x86().isRequested(vector(vector));
    }
}
