/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.IoapicGuest.lowHalf;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.undo.Undo;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** INTA# of emulated functions, as a guest takes it from KVM's IOAPIC or from ours beside a split irqchip. */
@Contract
class EmulatedPinContract {
    private static final int LEVEL = PinGuest.LINE | PinGuest.LEVEL;
    private static final String TAKEN = "0:0x77";
    private static final int INTERRUPT_STATUS = 1 << 19;
    /** For each kernel and irqchip: on the four fakes 1000 in all. */
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.pin.programs", 125);

    private final World world;
    private final Undo made = new Undo();
    private PinGuest pin;
    private IoapicGuest guest;
    private List<EmulatedFunction> functions;

    EmulatedPinContract(World world) {
        this.world = world;
    }

    @AfterEach
    void close() {
        made.close();
        world.closeAll();
    }

    /** The handler does {@code serve}. */
    private void open(boolean inKernel, Consumer<IoapicGuest> serve) {
        pin = new PinGuest(world, inKernel, made);
        guest = pin.guest;
        functions = pin.functions;
        guest.onService(vector -> serve.accept(guest));
    }

    /** The guest takes just so many, or more if its KVM ends the interrupts of real mode early. */
    private void takes(int count) {
        guest.pass(0);
        List<String> served = guest.served();
        if (guest.keepsInService()) {
            assertThat(served).isEqualTo(Collections.nCopies(count, TAKEN));
        } else {
            assertThat(served).hasSizeGreaterThanOrEqualTo(count);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void raisedLineInterruptsUntilItIsLowered(boolean inKernel) {
        int[] left = {3};
        open(inKernel, service -> {
            if (--left[0] <= 0) {
                functions.get(0).lowerLine();
            }
        });
        assertThat(pin.config(1, 0x3c) & 0xffff).as("line and pin").isEqualTo(1 << 8 | PinGuest.PIN);
        functions.get(0).raiseLine();
        takes(3);
        takes(0);
        functions.get(0).raiseLine();
        takes(1);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void functionsOfOnePinAreJoined(boolean inKernel) {
        open(inKernel, service -> pin.lowerAll());
        functions.forEach(EmulatedFunction::raiseLine);
        functions.get(0).lowerLine();
        takes(1);
        functions.get(1).raiseLine();
        functions.get(0).reset();
        takes(1);
        functions.forEach(EmulatedFunction::raiseLine);
        functions.get(1).close();
        functions.remove(1);
        takes(1);
        takes(0);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void maskedOrHeldLineInterruptsAfterwards(boolean inKernel) {
        open(inKernel, service -> pin.lowerAll());
        EmulatedFunction function = functions.get(0);
        pin.config(1, PinGuest.COMMAND, 2, PinGuest.INTX_OFF);
        function.raiseLine();
        takes(0);
        assertThat(pin.config(1, PinGuest.COMMAND) & INTERRUPT_STATUS).isNotZero();
        pin.config(1, PinGuest.COMMAND, 2, 0);
        takes(1);
        assertThat(pin.config(1, PinGuest.COMMAND) & INTERRUPT_STATUS).isZero();
        pin.config(1, PinGuest.MSIX_CONTROL, 2, PinGuest.MSIX_ENABLE);
        function.raiseLine();
        takes(0);
        pin.config(1, PinGuest.MSIX_CONTROL, 2, 0);
        takes(1);
        function.hold();
        function.raiseLine();
        takes(0);
        function.release();
        takes(1);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void resetAndCloseLowerTheLine(boolean inKernel) {
        open(inKernel, service -> pin.lowerAll());
        guest.write(lowHalf(PinGuest.PIN), LEVEL | PinGuest.MASKED);
        functions.forEach(EmulatedFunction::raiseLine);
        pin.bus.reset();
        guest.write(lowHalf(PinGuest.PIN), LEVEL);
        takes(0);
        guest.write(lowHalf(PinGuest.PIN), LEVEL | PinGuest.MASKED);
        functions.forEach(EmulatedFunction::raiseLine);
        functions.forEach(EmulatedFunction::close);
        functions.clear();
        guest.write(lowHalf(PinGuest.PIN), LEVEL);
        takes(0);
    }

    /** Each step of guest, device and VMM beside a plain account of both levels. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void randomProgramsLoseNoneAndTakeNoneTwice(boolean inKernel) {
        search(inKernel, false);
    }

    /** The same beside a host device on the pin, whose line our loop relays to our IOAPIC. */
    @Test
    void randomProgramsWithAHostDeviceLoseNoneAndTakeNoneTwice() {
        assumeTrue(world.fake().isPresent(), "needs a device of the fake");
        search(false, true);
    }

    private void search(boolean inKernel, boolean withDevice) {
        try (PinSearch search = new PinSearch(world, inKernel, withDevice)) {
            assumeTrue(search.isPossible(), "this KVM ends an interrupt of real mode when it injects it");
            search.run(world + " pin", 0, PROGRAMS);
            System.out.println(world + ", IOAPIC " + (inKernel ? "in KVM: " : "here: ") + search.counts());
        }
    }
}
