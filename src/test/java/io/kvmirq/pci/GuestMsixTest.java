/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.ENABLE;
import static io.kvmirq.pci.MessagesWorld.FUNCTION_MASK;
import static io.kvmirq.pci.MessagesWorld.VECTORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A guest's accesses to its MSI-X, and the kernel calls that follow. */
class GuestMsixTest {
    private final MessagesWorld world = new MessagesWorld("vtd-posting");
    private final GuestMsix msix = world.msix;

    @AfterEach
    void close() {
        world.close();
    }

    /** As Linux sets it up: enabled with all masked, then the entries, then the vectors open. */
    private void enable(int vectors) {
        msix.writeMessageControl(ENABLE | FUNCTION_MASK);
        for (int i = 0; i < vectors; i++) {
            world.entry(i, i % 2, 0x40 + i);
            world.mask(i, false);
        }
        msix.writeMessageControl(ENABLE);
    }

    @Test
    void registersAreAsAfterAReset() {
        assertThat(msix.messageControl()).isEqualTo(VECTORS - 1);
        for (int vector = 0; vector < VECTORS; vector++) {
            assertThat(msix.readTable(vector * 16L, 8)).isZero();
            assertThat(msix.readTable(vector * 16L + 8, 8)).isEqualTo(1L << 32);
        }
        assertThat(msix.readPending(0, 8)).isZero();
    }

    @Test
    void openVectorsAreOneCallOfEachKind() {
        msix.writeMessageControl(ENABLE | FUNCTION_MASK);
        long commits = world.vm.routes().commits();
        long changes = world.device.irqChanges();
        for (int i = 1; i < 5; i++) {
            world.entry(i, i % 2, 0x40 + i);
            world.mask(i, false);
        }
        assertThat(world.vm.routes().commits()).isEqualTo(commits);
        msix.writeMessageControl(ENABLE);
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.device.irqChanges() - changes).isEqualTo(1);
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactly("1:0x43");
    }

    @Test
    void registersTakeWritesWhileMsixIsDisabled() {
        msix.writeMessageControl(FUNCTION_MASK);
        assertThat(msix.messageControl()).isEqualTo(FUNCTION_MASK | VECTORS - 1);
        msix.writeTable(4, 4, 1);
        msix.writeTable(4, 4, 2);
        msix.writeTable(0, 4, 0xfee0_1000L);
        assertThat(msix.readTable(0, 8)).isEqualTo(2L << 32 | 0xfee0_1000L);
    }

    @Test
    void lastVectorHasAPendingBit() {
        enable(VECTORS);
        world.mask(VECTORS - 1, true);
        world.hardware.sendMessage(VECTORS - 1);
        assertThat(msix.readPending(0, 8)).isEqualTo(1L << VECTORS - 1);
    }

    @Test
    void maskedVectorIsPendingAndArrivesWhenItOpens() {
        enable(4);
        world.mask(2, true);
        world.hardware.sendMessage(2);
        world.hardware.sendMessage(2);
        assertThat(world.taken()).isEmpty();
        assertThat(msix.readPending(0, 8)).isEqualTo(0b100);
        assertThat(msix.readPending(0, 4)).isEqualTo(0b100);
        assertThat(msix.readPending(4, 4)).isZero();
        world.mask(2, false);
        assertThat(msix.readPending(0, 8)).isZero();
        assertThat(world.taken()).containsExactly("0:0x42");
    }

    /** The vector is disconnected at each disable, and its eventfd with it. */
    @Test
    void pendingVectorStaysPendingThoughMsixIsDisabledTwice() {
        enable(4);
        for (int vector : new int[] {0, 2}) {
            world.mask(vector, true);
            world.hardware.sendMessage(vector);
        }
        for (int i = 0; i < 2; i++) {
            msix.writeMessageControl(0);
            assertThat(msix.readPending(0, 8)).as("disabled").isEqualTo(0b101);
            msix.writeMessageControl(ENABLE);
            assertThat(msix.readPending(0, 8)).as("enabled and masked").isEqualTo(0b101);
        }
        world.mask(0, false);
        world.mask(2, false);
        assertThat(msix.readPending(0, 8)).as("delivered").isZero();
        assertThat(world.taken()).containsExactlyInAnyOrder("0:0x40", "0:0x42");
    }

    @Test
    void functionMaskHoldsAllBack() {
        enable(3);
        msix.writeMessageControl(ENABLE | FUNCTION_MASK);
        for (int i = 0; i < 3; i++) {
            world.hardware.sendMessage(i);
        }
        world.mask(1, true);
        assertThat(world.taken()).isEmpty();
        assertThat(msix.readPending(0, 8)).isEqualTo(0b111);
        msix.writeMessageControl(ENABLE);
        assertThat(world.taken()).containsExactlyInAnyOrder("0:0x40", "0:0x42");
        assertThat(msix.readPending(0, 8)).isEqualTo(0b010);
    }

    @Test
    void whatChangesNothingMakesNoCall() {
        enable(4);
        world.mask(3, true);
        world.faults.listen();
        for (int i = 0; i < 100; i++) {
            world.mask(3, true);
            world.mask(0, false);
            world.entry(3, 1, 0x80 + i % 8); // masked: nobody needs it yet
            world.entry(0, 0, 0x40);
            msix.writeMessageControl(ENABLE);
        }
        assertThat(world.faults.calls()).isEmpty();
        world.mask(3, false);
        assertThat(world.faults.calls()).containsExactly("routesSet", "irqfdAssign");
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactly("1:0x83");
    }

    @Test
    void entryOfAnOpenVectorIsUsedAtOnce() {
        enable(2);
        msix.writeTable(16 + 8, 4, 0x99);
        world.hardware.sendMessage(1);
        assertThat(world.taken()).containsExactly("1:0x99");
    }

    @Test
    void disabledMsixKeepsEntriesMasksAndPendingBits() {
        enable(3);
        world.mask(1, true);
        world.hardware.sendMessage(1);
        msix.writeMessageControl(0);
        assertThat(world.forwarding.irqs()).isEmpty();
        assertThat(msix.readPending(0, 8)).isEqualTo(0b010);
        assertThat(msix.readTable(16 + 8, 8)).isEqualTo(1L << 32 | 0x41);
        msix.writeMessageControl(ENABLE);
        assertThat(world.taken()).isEmpty();
        world.hardware.sendMessage(2);
        assertThat(world.taken()).containsExactly("0:0x42");
        world.mask(1, false);
        assertThat(world.taken()).containsExactly("1:0x41");
        assertThat(msix.readPending(0, 8)).isZero();
    }

    /** The end of a vLPI drops its pending bit, and no register tells it before. */
    @Test
    void vlpiThatIsPendingWhenMsixIsDisabledArrivesWhenItIsEnabled() {
        try (MessagesWorld other = new MessagesWorld("gicv4")) {
            other.entry(0, 1, 0x41);
            other.mask(0, false);
            other.msix.writeMessageControl(ENABLE);
            other.hardware.sendMessage(0);
            other.msix.writeMessageControl(0);
            assertThat(other.taken()).isEmpty();
            assertThat(other.msix.readPending(0, 8)).isEqualTo(1);
            other.msix.writeMessageControl(ENABLE);
            assertThat(other.taken()).containsExactly("1:0x41");
        }
    }

    /** A message that comes before any vector was open waits in the device. */
    @Test
    void messageOfAVectorThatWasNeverOpenArrives() {
        msix.writeMessageControl(ENABLE);
        world.hardware.sendMessage(5);
        world.entry(5, 1, 0x55);
        world.mask(5, false);
        assertThat(world.taken()).containsExactly("1:0x55");
    }

    @Test
    void resetLeavesItAsNew() {
        enable(4);
        world.mask(2, true);
        world.hardware.sendMessage(2);
        msix.reset();
        world.device.reset();
        registersAreAsAfterAReset();
        assertThat(world.forwarding.irqs()).isEmpty();
        assertThat(world.vm.routes().routes()).noneMatch(Route.Msi.class::isInstance);
        enable(4);
        assertThat(world.taken()).isEmpty();
        world.hardware.sendMessage(2);
        assertThat(world.taken()).containsExactly("0:0x42");
    }

    @Test
    void lineIsFreeWhenMsixIsDisabled() {
        enable(1);
        msix.writeMessageControl(0);
        world.forwarding.forward(world.device.intx(), new Gsi(11)).close();
        msix.writeMessageControl(ENABLE);
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly("0:0x40");
    }

    @ParameterizedTest
    @CsvSource({"0, 1", "0, 2", "2, 4", "4, 8", "128, 4", "124, 8", "-4, 4", "0, 16", "9223372036854775804, 4"})
    void accessesOfWrongSizeOrPlaceDoNothing(long at, int size) {
        enable(1);
        world.faults.listen();
        msix.writeTable(at, size, -1);
        assertThat(msix.readTable(at, size)).isZero();
        assertThat(world.faults.calls()).isEmpty();
        assertThat(msix.readTable(8, 8)).isEqualTo(0x40);
        assertThat(msix.readTable(VECTORS * 16L - 8, 8)).isEqualTo(1L << 32);
        assertThat(msix.readPending(size == 8 ? 4 : at + 8, size)).isZero();
    }

    @Test
    void reservedBitsAreZero() {
        msix.writeTable(0, 8, -1);
        msix.writeTable(8, 8, -1);
        assertThat(msix.readTable(0, 8)).isEqualTo(~3L);
        assertThat(msix.readTable(8, 8)).isEqualTo(1L << 32 | 0xffff_ffffL);
        msix.writeMessageControl(0x3fff);
        assertThat(msix.messageControl()).isEqualTo(VECTORS - 1);
    }

    @Test
    void writeThatTheKernelRefusesIsTriedAgain() {
        enable(2);
        world.mask(1, true);
        world.entry(1, 0, 0x91);
        world.faults.fail("routesSet", 1, Errno.ENOMEM);
        assertThatThrownBy(() -> world.mask(1, false))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("ENOMEM");
        world.hardware.sendMessage(1);
        assertThat(world.taken()).isEmpty();
        assertThat(msix.readTable(16 + 8, 8)).isEqualTo(0x91);
        msix.settle();
        assertThat(world.taken()).containsExactly("0:0x91");
    }

    /** One pending bit is one interrupt: that of before the disabling is signalled before the vector opens. */
    @Test
    void keptMessageAndOneOfMeanwhileAreOneInterrupt() {
        enable(1);
        world.mask(0, true);
        world.hardware.sendMessage(0);
        msix.writeMessageControl(0);
        world.mask(0, false);
        List<String> taken = new ArrayList<>();
        world.faults.delay("irqfdAssign", 1, () -> world.hardware.sendMessage(0));
        world.faults.delay("eventfdSignal", 1, () -> taken.addAll(world.taken()));
        msix.writeMessageControl(ENABLE);
        taken.addAll(world.taken());
        assertThat(taken).containsExactly("0:0x40");
        assertThat(world.faults.unused()).isEmpty();
    }

    /** A vector that the kernel still delivers is not held, and neither are the others. */
    @Test
    void refusedHoldHoldsNone() {
        enable(3);
        world.faults.fail("irqfdDeassign", 2, Errno.EIO);
        assertThatThrownBy(msix::hold).isInstanceOf(KernelException.class).hasMessageContaining("EIO");
        assertThat(msix.isHeld()).isFalse();
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly("0:0x40");
        msix.hold();
        world.hardware.sendMessage(1);
        assertThat(world.taken()).isEmpty();
        msix.release();
        assertThat(world.taken()).containsExactly("1:0x41");
    }

    @Test
    void maskThatTheKernelRefusesIsTriedAgain() {
        enable(2);
        world.faults.fail("irqfdDeassign", 1, Errno.EIO);
        assertThatThrownBy(() -> world.mask(1, true))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("EIO");
        world.hardware.sendMessage(1);
        assertThat(world.taken()).containsExactly("1:0x41");
        msix.settle();
        world.hardware.sendMessage(1);
        assertThat(world.taken()).isEmpty();
        assertThat(msix.readPending(0, 8)).isEqualTo(0b10);
    }

    /** The Pending Bit Array is made of 64-bit words. */
    @Test
    void savedPendingBitsBeyondTheTableAreNone() {
        enable(2);
        world.mask(1, true);
        world.hardware.sendMessage(1);
        byte[] state = msix.state();
        Arrays.fill(state, state.length - 7, state.length, (byte) -1);
        msix.restore(state);
        assertThat(msix.readPending(0, 8)).isEqualTo(0b10);
        world.mask(1, false);
        assertThat(world.taken()).containsExactly("1:0x41");
        assertThat(msix.readPending(0, 8)).isZero();
    }

    @Test
    void deviceWithoutMsixIsRefused() {
        world.fake.pciDevice("0000:3c:00.0", 8).intx().express().add();
        try (VfioDevice other = VfioDevice.open(world.device.fd().kernel(), PciAddress.parse("0000:3c:00.0"))) {
            assertThatThrownBy(() -> new GuestMsix(world.forwarding, other, OptionalInt.empty()))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("0000:3c:00.0 has no MSI-X: emulate MSI or INTx, which device.info() lists");
        }
    }
}
