/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static io.kvmirq.pci.MessagesWorld.CAPABLE_OF_8;
import static io.kvmirq.pci.MessagesWorld.MASKABLE;
import static io.kvmirq.pci.MessagesWorld.WIDE;
import static java.nio.ByteOrder.LITTLE_ENDIAN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.mirror.HeldMessage;
import io.kvmirq.mirror.Producer;
import io.kvmirq.vfio.VectorsExhaustedException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A guest's accesses to its MSI capability, and the kernel calls that follow. */
class GuestMsiTest {
    private static final int CONTROL = 2;
    private static final int ADDRESS = 4;
    private static final int UPPER_ADDRESS = 8;
    private static final int DATA = 12;
    private static final int MASKS = 16;
    private static final int PENDING = 20;
    private static final int LENGTH = 24;
    private static final int BASE = 0xfee0_0000;
    private static final int ENABLE = 1;
    private static final int FOUR = 2 << 4;
    private static final int EIGHT = 3 << 4;

    private final MessagesWorld world = new MessagesWorld("vtd-posting");
    private final GuestMsi msi = world.msi;

    @AfterEach
    void close() {
        world.close();
    }

    private void control(int value) {
        msi.write(CONTROL, 2, value);
    }

    private void masks(int value) {
        msi.write(MASKS, 4, value);
    }

    private int pending() {
        return msi.read(PENDING, 4);
    }

    private void message(int vcpu, int guestVector) {
        msi.write(ADDRESS, 4, BASE | vcpu << 12);
        msi.write(UPPER_ADDRESS, 4, 0);
        msi.write(DATA, 2, guestVector);
    }

    /** As Linux sets it up: all masked, then the message, then enabled, then the vectors open. */
    private void enable(int count) {
        masks(-1);
        message(1, 0x40);
        control(count);
        control(count | ENABLE);
        masks(0);
    }

    private List<Route> messageRoutes() {
        return world.vm.routes().routes().stream()
                .filter(Route.Msi.class::isInstance)
                .toList();
    }

    @Test
    void registersAreAsAfterAReset() {
        assertThat(msi.length()).isEqualTo(LENGTH);
        assertThat(msi.read(CONTROL, 2)).isEqualTo(CAPABLE_OF_8 | WIDE | MASKABLE);
        for (int at = ADDRESS; at < LENGTH; at += 4) {
            assertThat(msi.read(at, 4)).isZero();
        }
        assertThat(msi.isEnabled()).isFalse();
    }

    @ParameterizedTest
    @CsvSource({"0, 10, 8", "128, 14, 12", "256, 20, 8", "384, 24, 12"})
    void capabilitiesSayHowLongItIsAndWhereTheDataStands(int capabilities, int length, int data) {
        GuestMsi other = world.msi(capabilities);
        assertThat(other.length()).isEqualTo(length);
        other.write(ADDRESS, 4, BASE);
        other.write(data, 2, 0x51);
        other.write(CONTROL, 2, ENABLE);
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly("0:0x51");
        other.reset();
    }

    @Test
    void vectorsAreForwardedByOneCallOfEachKindAndOpenByNone() {
        masks(0xff);
        message(1, 0x40);
        long commits = world.vm.routes().commits();
        long changes = world.device.irqChanges();
        control(EIGHT | ENABLE);
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.device.irqChanges() - changes).isEqualTo(1);
        masks(0);
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.device.irqChanges() - changes).isEqualTo(1);
        world.hardware.sendMessage(0);
        world.hardware.sendMessage(7);
        assertThat(world.taken()).containsExactlyInAnyOrder("1:0x40", "1:0x47");
    }

    /** Linux gives a device as many messages as are enabled for it: it would send others, or none. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3})
    void deviceHasAsManyVectorsAsTheGuestEnables(int log) {
        enable(log << 4);
        assertThat(world.forwarding.irqs()).hasSize(1 << log);
        control(0);
        assertThat(world.forwarding.irqs()).isEmpty();
        assertThat(messageRoutes()).isEmpty();
    }

    @Test
    void numberOfTheVectorReplacesTheLowBitsOfTheData() {
        message(0, 0x4f);
        control(FOUR | ENABLE);
        world.hardware.sendMessage(0);
        world.hardware.sendMessage(2);
        assertThat(world.taken()).containsExactlyInAnyOrder("0:0x4c", "0:0x4e");
    }

    @Test
    void maskedVectorIsPendingAndArrivesWhenItOpens() {
        enable(FOUR);
        masks(0b100);
        world.hardware.sendMessage(2);
        world.hardware.sendMessage(2);
        assertThat(world.taken()).isEmpty();
        assertThat(pending()).isEqualTo(0b100);
        assertThat(msi.read(PENDING, 1)).isEqualTo(0b100);
        masks(0);
        assertThat(pending()).isZero();
        assertThat(world.taken()).containsExactly("1:0x42");
    }

    @Test
    void whatChangesNothingMakesNoCall() {
        enable(FOUR);
        masks(0b1000);
        world.faults.listen();
        for (int i = 0; i < 100; i++) {
            masks(0b1000);
            message(1, 0x40);
            control(FOUR | ENABLE);
            msi.write(PENDING, 4, i);
        }
        assertThat(world.faults.calls()).isEmpty();
        masks(0);
        assertThat(world.faults.calls()).containsExactly("irqfdAssign");
    }

    @Test
    void messageThatChangesWhileAllIsMaskedIsOneCommitWhenItOpens() {
        enable(EIGHT);
        masks(0xff);
        long commits = world.vm.routes().commits();
        message(0, 0x80);
        assertThat(world.vm.routes().commits()).isEqualTo(commits);
        world.hardware.sendMessage(5);
        masks(0);
        assertThat(world.vm.routes().commits() - commits).isEqualTo(1);
        assertThat(world.taken()).containsExactly("0:0x85");
    }

    @Test
    void messageOfAnOpenVectorIsUsedAtOnce() {
        enable(FOUR);
        msi.write(DATA, 2, 0x90);
        world.hardware.sendMessage(1);
        assertThat(world.taken()).containsExactly("1:0x91");
    }

    /** VFIO disables MSI for a moment, so that a vector may have lost a message. */
    @Test
    void mirrorHoldsWhatAChangeOfTheNumberMayHaveLost() {
        Producer first = new Producer(world.device.name(), Producer.Kind.MSI, 0);
        enable(FOUR);
        masks(0b1);
        assertThat(world.forwarding.mirror().now().held(first)).isEmpty();
        control(ENABLE);
        assertThat(world.forwarding.mirror().now().held(first)).contains(HeldMessage.POSSIBLE);
        masks(0);
        assertThat(world.forwarding.mirror().now().held(first)).isEmpty();
    }

    @Test
    void disabledMsiKeepsMessageMasksAndPendingBits() {
        enable(FOUR);
        masks(0b10);
        world.hardware.sendMessage(1);
        control(FOUR);
        assertThat(world.forwarding.irqs()).isEmpty();
        assertThat(pending()).isEqualTo(0b10);
        assertThat(msi.read(MASKS, 4)).isEqualTo(0b10);
        assertThat(msi.read(DATA, 2)).isEqualTo(0x40);
        control(FOUR | ENABLE);
        assertThat(world.taken()).isEmpty();
        world.hardware.sendMessage(2);
        assertThat(world.taken()).containsExactly("1:0x42");
        masks(0);
        assertThat(world.taken()).containsExactly("1:0x41");
        assertThat(pending()).isZero();
    }

    @Test
    void resetLeavesItAsNew() {
        enable(FOUR);
        masks(0b100);
        world.hardware.sendMessage(2);
        msi.reset();
        world.device.reset();
        registersAreAsAfterAReset();
        assertThat(world.forwarding.irqs()).isEmpty();
        assertThat(messageRoutes()).isEmpty();
        enable(FOUR);
        assertThat(world.taken()).isEmpty();
        world.hardware.sendMessage(2);
        assertThat(world.taken()).containsExactly("1:0x42");
    }

    /** While the device has another number of messages it has none for a moment. */
    @ParameterizedTest
    @CsvSource({"8, 2", "2, 8"})
    void otherNumberOfVectorsWhileEnabledSignalsEachThatStaysOnce(int before, int after) {
        enable(Integer.numberOfTrailingZeros(before) << 4);
        masks(0b10);
        control(Integer.numberOfTrailingZeros(after) << 4 | ENABLE);
        assertThat(world.forwarding.irqs()).hasSize(after);
        assertThat(world.taken()).containsExactly("1:0x40");
        assertThat(pending()).isEqualTo(0b10);
        masks(0);
        assertThat(world.taken()).containsExactly("1:0x41");
        world.hardware.sendMessage(after - 1);
        assertThat(world.taken()).containsExactly("1:0x4" + (after - 1));
    }

    @Test
    void moreVectorsThanTheDeviceHasAreAllThatItHas() {
        msi.write(CONTROL, 2, 7 << 4);
        assertThat(msi.read(CONTROL, 2) >> 4 & 7).isEqualTo(3);
    }

    @Test
    void reservedAndReadOnlyBitsStay() {
        msi.write(0, 4, 0xfffe_ffff);
        assertThat(msi.read(0, 4)).isEqualTo((CAPABLE_OF_8 | WIDE | MASKABLE | EIGHT) << 16);
        for (int at = ADDRESS; at < LENGTH; at += 4) {
            msi.write(at, 4, -1);
        }
        assertThat(msi.read(ADDRESS, 4)).isEqualTo(~3);
        assertThat(msi.read(UPPER_ADDRESS, 4)).isEqualTo(-1);
        assertThat(msi.read(DATA, 4)).isEqualTo(0xffff);
        assertThat(msi.read(MASKS, 4)).isEqualTo(0xff);
        assertThat(pending()).isZero();
    }

    @Test
    void eachSizeOfAccessReadsAndWrites() {
        msi.write(ADDRESS, 1, 0x00);
        msi.write(ADDRESS + 1, 1, 0x10);
        msi.write(ADDRESS + 2, 2, 0xfee0);
        msi.write(DATA, 4, 0x1234_0060);
        msi.write(MASKS + 3, 4, 0x0000_0aff); // its first byte has no vector, and the others are no masks
        msi.write(CONTROL, 1, ENABLE);
        assertThat(msi.read(ADDRESS, 4)).isEqualTo(BASE | 1 << 12);
        assertThat(msi.read(ADDRESS + 2, 1)).isEqualTo(0xe0);
        assertThat(msi.read(DATA, 4)).isEqualTo(0x60);
        assertThat(msi.read(MASKS, 4)).isZero();
        assertThat(msi.read(CONTROL + 1, 1)).isEqualTo(MASKABLE >> 8);
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly("1:0x60");
    }

    @ParameterizedTest
    @CsvSource({"2, 0", "2, 8", "2, 3", "2, -1", "24, 4", "-4, 4", "-2147483648, 4", "2147483647, 4", "0, 2"})
    void accessesOfWrongSizeOrPlaceDoNothing(int at, int size) {
        enable(FOUR);
        world.faults.listen();
        msi.write(at, size, -1);
        assertThat(msi.read(at, size)).isZero();
        assertThat(world.faults.calls()).isEmpty();
        assertThat(msi.read(CONTROL, 2)).isEqualTo(CAPABLE_OF_8 | WIDE | MASKABLE | FOUR | ENABLE);
    }

    @Test
    void writeThatTheKernelRefusesIsTriedAgain() {
        enable(FOUR);
        masks(0b10);
        msi.write(ADDRESS, 4, BASE | 1 << 12);
        world.faults.fail("routesSet", 1, Errno.ENOMEM);
        assertThatThrownBy(() -> msi.write(DATA, 2, 0x90))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("ENOMEM");
        assertThat(msi.read(DATA, 2)).isEqualTo(0x90);
        msi.settle();
        world.hardware.sendMessage(0);
        assertThat(world.taken()).containsExactly("1:0x90");
    }

    @Test
    void hostWithFewerVectorsIsToldAndNothingIsForwarded() {
        world.fake.limitVectors(2);
        message(0, 0x40);
        assertThatThrownBy(() -> control(FOUR | ENABLE)).isInstanceOf(VectorsExhaustedException.class);
        assertThat(world.forwarding.irqs()).isEmpty();
        world.fake.limitVectors(8);
        msi.settle();
        world.hardware.sendMessage(3);
        assertThat(world.taken()).containsExactly("0:0x43");
    }

    @Test
    void messageControlOfAnotherDeviceIsRefused() {
        assertThatThrownBy(() -> new GuestMsi(world.forwarding, world.device, OptionalInt.empty(), 4 << 1))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("0000:3b:00.0 has 8 vectors of MSI, and Message Control 0x8 says 16:"
                        + " expected at most as many, 32 or less");
    }

    @Test
    void upperAddressIsInTheMessagesOfADeviceThatHasOne() {
        message(0, 0x40);
        msi.write(UPPER_ADDRESS, 4, 0x1ff);
        control(ENABLE);
        assertThat(world.forwarding.irqs().get(0).message()).contains(new MsiMessage(0x1ff_fee0_0000L, 0x40));
    }

    @Test
    void itsDeviceIdIsInTheMessages() {
        GuestMsi other = new GuestMsi(world.forwarding, world.device, OptionalInt.of(0x18), CAPABLE_OF_8);
        other.write(ADDRESS, 4, 0x1000);
        other.write(CONTROL, 2, FOUR);
        other.write(8, 2, 0x60);
        other.write(CONTROL, 2, FOUR | ENABLE);
        assertThat(world.forwarding.irqs().stream().map(ForwardedIrq::message).flatMap(java.util.Optional::stream))
                .hasSize(4)
                .contains(new MsiMessage(0x1000, 0x63, OptionalInt.of(0x18)));
        other.reset();
    }

    /** Without per-vector masking too: then no register has the pending bits. */
    @ParameterizedTest
    @ValueSource(ints = {WIDE | MASKABLE, WIDE})
    void stateMovesAndWhatIsPendingArrivesOnce(int capabilities) {
        GuestMsi from = world.msi(capabilities);
        from.write(ADDRESS, 4, BASE | 1 << 12);
        from.write(DATA, 2, 0x40);
        from.write(CONTROL, 2, FOUR | ENABLE);
        from.hold();
        world.hardware.sendMessage(1);
        byte[] state = from.state();
        assertThat(from.gsis()).hasSize(4);
        from.reset();
        assertThat(world.taken()).isEmpty();
        GuestMsi to = world.msi(capabilities);
        state[from.length() + 1] = 1; // vector 8 of 8
        to.restore(state);
        assertThat(to.state()[from.length() + 1])
                .as("pending beyond the vectors")
                .isZero();
        assertThat(world.taken()).containsExactly("1:0x41");
        assertThat(to.state()).isNotEqualTo(state);
        world.hardware.sendMessage(2);
        assertThat(world.taken()).containsExactly("1:0x42");
        for (int at = 0; at < to.length(); at += 2) {
            assertThat(to.read(at, 2))
                    .isEqualTo(ByteBuffer.wrap(state).order(LITTLE_ENDIAN).getShort(at) & 0xffff);
        }
        to.reset();
    }

    @Test
    void stateOfAnotherKindIsRefused() {
        enable(FOUR);
        byte[] state = world.msi(WIDE).state();
        for (byte[] other : List.of(state, world.msix.state(), new byte[0])) {
            assertThatThrownBy(() -> msi.restore(other))
                    .hasMessage(other.length
                            + " bytes are not the state of MSI with 8 vectors and a capability of 24 bytes");
        }
        byte[] fewer =
                new GuestMsi(world.forwarding, world.device, OptionalInt.empty(), 1 << 1 | WIDE | MASKABLE).state();
        assertThatThrownBy(() -> msi.restore(fewer)).isInstanceOf(IllegalArgumentException.class);
        world.hardware.sendMessage(3);
        assertThat(world.taken()).as("it is as before").containsExactly("1:0x43");
    }
}
