/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotModelledException;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A pending LPI as the place of a message, and its end, in the ledger of the fake. */
class LpiLedgerTest {
    private static final VcpuId FIRST = new VcpuId(0);
    private static final VcpuId SECOND = new VcpuId(1);
    private static final int NONE = 1023;
    private static final String NIC = "0000:3b:00.0";
    private static final String VECTOR = "vector 0 of MSI-X of " + NIC;
    private static final String LPI = "the pending bit of LPI " + GuestIts.lpi(0) + " of vcpu ";

    private final Undo made = new Undo();
    private FakeKernel fake;
    private Kernel kernel;
    private Vm vm;
    private GuestIts its;
    private FakePciDevice nic;
    private EventFd event;
    /** Eventfd of the second vector, which has no irqfd at first. */
    private EventFd second;

    private Gsi gsi;
    private Irqfd irqfd;
    private VfioDevice device;

    /** A vector whose message is event 0: an LPI of KVM, or a vLPI. */
    private void use(String profile) {
        fake = new FakeKernel(Profile.parse(profile));
        nic = fake.pciDevice(NIC, 7).msix(8).express().resettable().add();
        kernel = made.add(fake.open());
        vm = made.add(Vm.create(kernel));
        made.add(vm.createVcpu(FIRST)).arm64().initialize();
        made.add(vm.createVcpu(SECOND)).arm64().initialize();
        its = new GuestIts(vm, 2, made);
        its.map(0);
        device = made.add(VfioDevice.open(kernel, PciAddress.parse(NIC), made.add(KvmVfio.create(vm))));
        device.config().enableBusMaster();
        event = made.add(EventFd.create(kernel));
        gsi = vm.routes().add(GuestIts.message(0));
        irqfd = made.add(vm.assignIrqfd(event, gsi));
        second = made.add(EventFd.create(kernel));
        device.msix(0, 2).arm(List.of(event, second));
        assertThat(vcpu(FIRST).hostIrq(GuestIts.lpi(0)).isPresent()).isEqualTo(profile.equals("gicv4"));
    }

    private FakeArmVcpu vcpu(VcpuId id) {
        return fake.armVcpu(Numbers.of(vm.fd()), id);
    }

    private void waits(String place) {
        assertThat(fake.messages().waiting()).containsExactly(VECTOR + ", in " + place);
    }

    private void counts(long sent, long taken, long merged, long waiting, long ended, long lost) {
        assertThat(fake.messages().counts())
                .isEqualTo(new FakeMessages.Counts(sent, taken, merged, waiting, ended, lost));
        assertThat(fake.messages().brokenRules()).isEmpty();
    }

    /** The message of the vector has ended. */
    private void ended(String why) {
        assertThat(fake.messages().ended())
                .singleElement()
                .asString()
                .startsWith(why + "; source " + VECTOR + ", last place the pending bit of LPI " + GuestIts.lpi(0));
        counts(1, 0, 0, 0, 1, 0);
    }

    @AfterEach
    void close() {
        made.close();
        assertThat(fake.messages().brokenRules()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "gicv4"})
    void lpiWaitsUntilItsVcpuAcknowledgesIt(String profile) {
        use(profile);
        nic.sendMessage(0);
        waits(LPI + 0);
        nic.sendMessage(0);
        counts(2, 0, 1, 1, 0, 0);
        its.move(0, 1);
        waits(LPI + 1);
        assertThat(vcpu(FIRST).acknowledge()).isEqualTo(NONE);
        assertThat(vcpu(SECOND).acknowledge()).isEqualTo(GuestIts.lpi(0));
        counts(2, 1, 1, 0, 0, 0);
        assertThat(fake.lost()).isEmpty();
    }

    @Test
    void disabledVlpiOfAVcpuThatSleepsWaits() {
        use("gicv4");
        its.disable(0);
        vcpu(FIRST).load();
        assertThat(vcpu(FIRST).block()).isTrue();
        nic.sendMessage(0);
        assertThat(vcpu(FIRST).isAsleep()).isTrue();
        counts(1, 0, 0, 1, 0, 0);
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "gicv4"})
    void lpiThatIsNotTakenEndsWithTheVm(String profile) {
        use(profile);
        nic.sendMessage(0);
        fake.libc().close(Numbers.of(vm.fd()));
        ended("its VM was closed");
        fake.libc().eventfd(0, 0);
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "gicv4"})
    void programHasWhatItReadUntilAnItsMakesItPending(String profile) {
        use(profile);
        irqfd.mask();
        nic.sendMessage(0);
        event.drain();
        waits("the program, which read its eventfd");
        vm.signal(GuestIts.message(1));
        waits("the program, which read its eventfd");
        vm.signal(GuestIts.message(0));
        waits(LPI + 0);
        counts(1, 0, 0, 1, 0, 0);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void sendThatThrowsLeavesTheProgramItsMessage(boolean hasRead) {
        use("gicv3");
        irqfd.mask();
        if (hasRead) {
            nic.sendMessage(0);
            event.drain();
        }
        MsiMessage toLast = new MsiMessage(-1, 0, OptionalInt.of(GuestIts.DEVICE));
        assertThatExceptionOfType(NotModelledException.class).isThrownBy(() -> vm.signal(toLast));
        int read = hasRead ? 1 : 0;
        counts(read, 0, 0, read, 0, 0);
        vm.signal(GuestIts.message(0));
        String source = hasRead ? VECTOR : "KVM_SIGNAL_MSI";
        assertThat(fake.messages().waiting()).containsExactly(source + ", in " + LPI + 0);
        counts(1, 0, 0, 1, 0, 0);
    }

    @Test
    void signalThatThrowsLosesItsMessage() {
        use("gicv3");
        EventFd other = made.add(EventFd.create(kernel));
        made.add(vm.assignIrqfd(other, vm.routes().add(new MsiMessage(-1, 0, OptionalInt.of(GuestIts.DEVICE)))));
        assertThatExceptionOfType(NotModelledException.class).isThrownBy(other::signal);
        counts(1, 0, 0, 0, 0, 1);
    }

    /** The program may signal the last message that hardware dropped, and has no reason to after a reset. */
    @Test
    void lastMessageThatHardwareDroppedEndsWithAReset() {
        use("gicv4");
        nic.sendMessage(0);
        irqfd.mask();
        counts(1, 0, 0, 0, 0, 1);
        irqfd.unmask();
        nic.sendMessage(0);
        irqfd.mask();
        device.reset();
        counts(2, 0, 0, 0, 1, 1);
        assertThat(fake.lost()).hasSize(1);
        event.signal();
        counts(3, 0, 0, 1, 1, 1);
    }

    @Test
    void guestEndsAnLpiByClear() {
        use("gicv3");
        nic.sendMessage(0);
        its.take(event -> {});
        ended("CLEAR");
    }

    /** An LPI of KVM stays pending until its vCPU leaves the guest. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void vlpiEndsWithItsEvent(boolean resets) {
        use("gicv4");
        nic.sendMessage(0);
        if (resets) {
            its.its().reset();
        } else {
            its.discard(0);
        }
        ended("no event of an ITS is mapped to it any more");
    }

    @Test
    void guestEndsAnLpiByItsPendingTable() {
        use("gicv3");
        nic.sendMessage(0);
        for (int on = 0; on < 2; on++) {
            its.vgic().writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), on);
        }
        ended("LPIs were enabled, and the pending table has no bit for it");
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "gicv4"})
    void vlpiLosesItsMessageWithItsIrqfdUnlessTheEventfdIsSignalled(String profile) {
        use(profile);
        nic.sendMessage(0);
        irqfd.mask();
        if (profile.equals("gicv3")) {
            waits(LPI + 0);
            return;
        }
        lostBy("KVM_IRQFD of descriptor " + Numbers.of(vm.fd()));
        event.signal();
        assertThat(fake.lost()).isEmpty();
        waits("the count of eventfd " + Numbers.of(event.fd()));
        irqfd.unmask();
        waits(LPI + 0);
        counts(1, 0, 0, 1, 0, 0);
    }

    /** The program sent the messages itself. Each eventfd stands for its own vLPI. */
    @Test
    void vlpisLoseMessagesOfTheProgramUnlessTheirEventfdsAreSignalled() {
        use("gicv4");
        its.map(2);
        Irqfd ofSecond = made.add(vm.assignIrqfd(second, vm.routes().add(GuestIts.message(2))));
        vm.signal(GuestIts.message(0));
        vm.signal(GuestIts.message(2));
        irqfd.mask();
        ofSecond.mask();
        counts(2, 0, 0, 0, 0, 2);
        second.signal();
        counts(2, 0, 0, 1, 0, 1);
        event.signal();
        assertThat(fake.lost()).isEmpty();
        counts(2, 0, 0, 2, 0, 0);
        event.signal();
        assertThat(fake.messages().counts().lost()).as("found once").isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"gicv3", "gicv4"})
    void vlpiLosesItsMessageWithItsRoute(String profile) {
        use(profile);
        nic.sendMessage(0);
        vm.routes().replace(gsi, GuestIts.message(1));
        if (profile.equals("gicv3")) {
            waits(LPI + 0);
        } else {
            lostBy("KVM_SET_GSI_ROUTING of descriptor " + Numbers.of(vm.fd()));
        }
    }

    private void lostBy(String call) {
        assertThat(fake.lost())
                .containsExactly("its vLPI ended with its pending bit; source " + VECTOR + ", last place " + LPI
                        + "0, call " + call);
        counts(1, 0, 0, 0, 0, 1);
    }
}
