/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.SharedLineWorld.DIS_INTX;
import static io.kvmirq.forward.SharedLineWorld.NO_DIS_INTX;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.VfioDevice;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Devices of one or of two VMs on one interrupt line. */
class SharedIntxTest {
    /** A host whose vCPUs take the interrupts of their IOAPIC. */
    private static final String PROFILE = "vtd-posting";

    private static final int ROUNDS = 100;

    @AutoClose
    private SharedLineWorld world = new SharedLineWorld(PROFILE, false);

    private void use(String profile, boolean nointxmask) {
        world.close();
        world = new SharedLineWorld(profile, nointxmask);
    }

    // Sharing with DisINTx

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,arm64"})
    void devicesOfTwoVmsAreServedAlike(String profile) {
        use(profile, false);
        SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
        SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
        a.forward();
        b.forward();
        for (int i = 0; i < ROUNDS; i++) {
            a.request();
            b.request();
            a.run();
            b.run();
        }
        assertThat(a.served).isEqualTo(ROUNDS);
        assertThat(b.served).isEqualTo(ROUNDS);
        assertThat(a.spurious + b.spurious).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,arm64"})
    void guestThatDoesNotEndItsInterruptHoldsUpNoOther(String profile) {
        use(profile, false);
        SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
        SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
        a.forward();
        b.forward();
        a.request();
        a.guest.take(() -> {
            for (int i = 0; i < ROUNDS; i++) {
                b.request();
                b.run();
            }
            assertThat(b.served).isEqualTo(ROUNDS);
            a.serve();
        });
        a.run();
        assertThat(a.served).isEqualTo(1);
        assertThat(a.spurious + b.spurious).isZero();
    }

    @Test
    void hostShowsTheSharedLine() {
        use("6.18", false);
        world.addDevice(DIS_INTX);
        world.addDevice(builder -> DIS_INTX.apply(builder).onSharedLine());
        assertThat(world.fake.hostFiles().text("sys/bus/pci/devices/0000:00:01.0/irq"))
                .hasValue("16");
        assertThat(world.fake.hostFiles().text("sys/bus/pci/devices/0000:00:02.0/irq"))
                .hasValue("16");
        try (VfioDevice a = VfioDevice.open(world.kernel, SharedLineWorld.address(0));
                VfioDevice b = VfioDevice.open(world.kernel, SharedLineWorld.address(1));
                EventFd event = EventFd.create(world.kernel);
                EventFd other = EventFd.create(world.kernel)) {
            a.intx().arm(event);
            b.intx().arm(other);
            assertThat(world.fake.hostFiles().text("proc/interrupts").orElseThrow())
                    .contains(" 16:  0  IR-IO-APIC  16-fasteoi  driver-of-host, vfio-intx(0000:00:01.0),"
                            + " vfio-intx(0000:00:02.0)");
        }
    }

    // A device whose interrupts no handler claims

    @Test
    void deviceWithoutAHandlerDisablesTheLineForAll() {
        SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
        SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
        b.forward();
        a.hardware.requestService();
        b.request();
        b.run();
        assertThat(b.served).as("nobody cared").isZero();
        assertThat(world.fake.hostFiles().text("proc/interrupts").orElseThrow()).contains(" 16:  100000  ");
        a.forward();
        b.run();
        assertThat(b.served).as("a shared request enables the line").isEqualTo(1);
    }

    @Test
    void stuckLineIsPolledTenTimesASecond() {
        SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
        SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
        b.forward();
        a.hardware.requestService();
        for (int i = 0; i < ROUNDS; i++) {
            int early = i % 98 + 1;
            world.fake.pass(Duration.ofMillis(99 - early));
            b.request();
            world.fake.pass(Duration.ofMillis(early));
            b.run();
            assertThat(b.served).isEqualTo(i);
            world.fake.pass(Duration.ofMillis(1));
            b.run();
            assertThat(b.served).isEqualTo(i + 1);
        }
        assertThat(b.spurious).isZero();
        assertThat(world.fake.hostFiles().text("proc/interrupts").orElseThrow())
                .as("no interrupts")
                .contains(" 16:  100000  ");
    }

    /** The user's death leaves the device as it is. Seen on edu: STATUS.INTx is set and COMMAND.DisINTx clear. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void closedDeviceThatIsNotResetDisablesTheLineForAll(boolean resets) {
        SharedLineWorld.Owner a =
                world.new Owner(resets ? builder -> DIS_INTX.apply(builder).resettable() : DIS_INTX);
        SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
        a.forward();
        b.forward();
        a.request();
        a.forwarding.close();
        a.device.close();
        a.kvmVfio.close();
        b.request();
        b.run();
        assertThat(b.served).isEqualTo(resets ? 1 : 0);
        world.fake.pass(Duration.ofMillis(100));
        b.run();
        assertThat(b.served).isEqualTo(1);
    }

    @Test
    void removedDeviceAssertsTheLineNoMore() {
        FakePciDevice gone = world.addDevice(NO_DIS_INTX);
        SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
        gone.requestService();
        assertThat(gone.remove()).isTrue();
        assertThat(gone.remove()).as("gone already").isTrue();
        b.forward();
        assertServed(b);
    }

    @Test
    void lineOutlivesMoreThan64Devices() {
        FakePciDevice first = world.addDevice(DIS_INTX);
        for (int i = 0; i < 2 * Long.SIZE; i++) {
            FakePciDevice next = world.fake
                    .pciDevice("0000:01:00.0", 9)
                    .intx()
                    .onLineOf(first)
                    .add();
            assertThat(next.remove()).isTrue();
        }
    }

    @Test
    void deviceWithMessagesAssertsItsLineWhenTheyAreDisabled() {
        try (EventFd event = EventFd.create(world.kernel)) {
            SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
            SharedLineWorld.Owner b = world.new Owner(DIS_INTX);
            b.forward();
            try (ArmedVectors messages = a.device.msi(0, 1).arm(List.of(event))) {
                assertThat(messages.isSet(0)).isTrue();
                a.hardware.requestService();
                assertServed(b);
            }
            b.request();
            b.run();
            assertThat(b.served).as("nobody cared").isEqualTo(1);
        }
    }

    // A line that a device needs for itself

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void ofTwoVmsOnlyTheFirstGetsTheLine(boolean nointxmask) {
        use(PROFILE, nointxmask);
        SharedLineWorld.Owner a = exclusive(nointxmask);
        SharedLineWorld.Owner b = exclusive(nointxmask);
        ForwardedIrq first = a.forward();
        refused(Errno.EBUSY, b::forward);
        assertServed(a);
        first.close();
        b.forward();
        refused(Errno.EBUSY, a::forward);
        assertServed(b);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void vmThatUsedMessagesLosesTheLine(boolean nointxmask) {
        use(PROFILE, nointxmask);
        SharedLineWorld.Owner a = exclusive(nointxmask);
        SharedLineWorld.Owner b = exclusive(nointxmask);
        a.forward().close();
        ForwardedIrq message = a.forwarding.forward(
                a.device.msi(0, 1).get(0), MsiMessage.to(new VcpuId(0), new InterruptVector(0x61)));
        b.forward();
        message.close();
        refused(Errno.EBUSY, a::forward);
        assertServed(b);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void secondDeviceOfAVmGetsNoInterrupt(boolean nointxmask) {
        use(PROFILE, nointxmask);
        SharedLineWorld.Owner a = exclusive(nointxmask);
        world.addDevice(nointxmask ? DIS_INTX : NO_DIS_INTX);
        try (VfioDevice second = VfioDevice.open(world.kernel, SharedLineWorld.address(1), a.kvmVfio);
                Forwarding forwarding = Forwarding.create(a.guest.vm(), second)) {
            a.forward();
            refused(Errno.EBUSY, () -> forwarding.forward(second.intx(), new Gsi(LineGuest.PIN.number() + 1)));
            assertServed(a);
        }
    }

    /** Which of the two is first does not matter. */
    @Test
    void sharedRequestIsRefusedWhileAnotherHasTheLineForItself() {
        SharedLineWorld.Owner shares = world.new Owner(DIS_INTX);
        SharedLineWorld.Owner alone = world.new Owner(NO_DIS_INTX);
        ForwardedIrq first = alone.forward();
        refused(Errno.EBUSY, shares::forward);
        first.close();
        shares.forward();
        refused(Errno.EBUSY, alone::forward);
        assertServed(shares);
    }

    @Test
    void nointxmaskMasksAtTheController() {
        use(PROFILE, true);
        SharedLineWorld.Owner a = world.new Owner(DIS_INTX);
        assertThat(world.fake.hostFiles().text("sys/module/vfio_pci/parameters/nointxmask"))
                .hasValue("Y");
        a.forward();
        for (int i = 0; i < ROUNDS; i++) {
            a.request();
            a.run();
        }
        assertThat(a.served).isEqualTo(ROUNDS);
    }

    @Test
    void nointxmaskIsSetBeforeTheDevices() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        assertThat(fake.hostFiles().text("sys/module/vfio_pci/parameters/nointxmask"))
                .hasValue("N");
        fake.pciDevice("0000:00:01.0", 1).intx().add();
        assertThatIllegalStateException().isThrownBy(() -> fake.setNointxmask(true));
    }

    @Test
    void lineIsOfADeviceWithAPinOfTheSameHost() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        FakePciDevice plain = fake.pciDevice("0000:00:01.0", 1).add();
        FakePciDevice other = new FakeKernel(Profile.V6_18)
                .pciDevice("0000:00:01.0", 1)
                .intx()
                .add();
        assertThatIllegalArgumentException()
                .isThrownBy(() -> fake.pciDevice("0000:00:02.0", 2).onLineOf(plain));
        assertThatIllegalArgumentException()
                .isThrownBy(() -> fake.pciDevice("0000:00:02.0", 2).onLineOf(other));
    }

    private SharedLineWorld.Owner exclusive(boolean nointxmask) {
        return world.new Owner(nointxmask ? DIS_INTX : NO_DIS_INTX);
    }

    /** The interrupts of the device that has the line reach its guest. */
    private static void assertServed(SharedLineWorld.Owner owner) {
        int before = owner.served;
        owner.request();
        owner.run();
        assertThat(owner.served).isEqualTo(before + 1);
    }
}
