/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.BOOL;
import static io.kvmirq.fake.VfioUser.ERR;
import static io.kvmirq.fake.VfioUser.EVENTFD;
import static io.kvmirq.fake.VfioUser.INTX;
import static io.kvmirq.fake.VfioUser.MASK;
import static io.kvmirq.fake.VfioUser.MASTER;
import static io.kvmirq.fake.VfioUser.MSI;
import static io.kvmirq.fake.VfioUser.MSIX;
import static io.kvmirq.fake.VfioUser.NAME;
import static io.kvmirq.fake.VfioUser.NONE;
import static io.kvmirq.fake.VfioUser.REQ;
import static io.kvmirq.fake.VfioUser.TRIGGER;
import static io.kvmirq.fake.VfioUser.UNMASK;
import static io.kvmirq.fake.VfioUser.irqSet;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Errno;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** VFIO_DEVICE_SET_IRQS: its checks, MSI and MSI-X, the error and the request interrupt. */
class VfioSetIrqsTest {
    private final List<VfioUser> users = new ArrayList<>();

    @AfterEach
    void explain() {
        users.forEach(VfioUser::close);
    }

    /** A device with everything: 4 vectors of MSI, 8 of MSI-X. */
    private final class Full {
        final VfioUser user;
        final FakeKernel kernel;
        final FakePciDevice hardware;
        final int device;

        Full(String profile) {
            user = new VfioUser(profile);
            users.add(user);
            kernel = user.kernel;
            hardware = kernel.pciDevice(NAME, 1).intx().msi(4).msix(8).express().add();
            device = user.device(1);
        }

        int setIrqs(int flags, int index, int start, int count, int... fds) {
            return user.setIrqs(device, flags, index, start, count, fds);
        }

        int raw(int argsz, int flags, int index, int start, int count, int... fds) {
            return user.ioctl(device, UapiVfio.VFIO_DEVICE_SET_IRQS, irqSet(argsz, flags, index, start, count, fds));
        }

        int arm(int index, int start, int... fds) {
            return user.arm(device, index, start, fds);
        }

        int[] events(int count) {
            int[] events = new int[count];
            for (int i = 0; i < count; i++) {
                events[i] = user.event();
            }
            return events;
        }

        /** Which of the vectors have an eventfd, by their loopback. */
        List<Integer> armed(int index, int... events) {
            assertThat(setIrqs(TRIGGER | NONE, index, 0, events.length)).isZero();
            List<Integer> armed = new ArrayList<>();
            for (int i = 0; i < events.length; i++) {
                if (user.take(events[i]) != 0) {
                    armed.add(i);
                }
            }
            return armed;
        }
    }

    private Full full() {
        return new Full("6.18");
    }

    // The checks of all indexes. Each call breaks the next rule too.

    @Test
    void headerIsCheckedInOrder() {
        Full full = full();
        assertThat(full.user.ioctl(full.device, UapiVfio.VFIO_DEVICE_SET_IRQS, 0))
                .isEqualTo(refused(Errno.EFAULT));
        int noAction = NONE;
        assertThat(full.raw(19, noAction, INTX, 0, 1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, noAction, 5, 0, 1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, noAction, INTX, 1, -2))
                .as("start and count wrap")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, noAction | 64, INTX, 0, 1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, noAction, INTX, 1, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, noAction, MSIX, 8, 1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, noAction, MSIX, 1, 8)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, 0, INTX, 0, 1)).as("no data").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, NONE | BOOL, INTX, 0, 1))
                .as("two kinds of data")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, BOOL, INTX, 0, 1)).as("no room for a byte").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(23, EVENTFD, INTX, 0, 1)).as("3 bytes for 4").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(24, EVENTFD, INTX, 0, 1))
                .as("the data is not there")
                .isEqualTo(refused(Errno.EFAULT));
        assertThat(full.raw(24, EVENTFD, INTX, 0, 1, -1)).as("no action").isEqualTo(refused(Errno.ENOTTY));
        assertThat(full.raw(20, MASK | TRIGGER | NONE, INTX, 0, 1)).isEqualTo(refused(Errno.ENOTTY));
    }

    @Test
    void indexWithoutInterruptsIsOutOfRange() {
        VfioUser user = new VfioUser("6.18");
        users.add(user);
        user.kernel.pciDevice(NAME, 1).add();
        int device = user.device(1);
        for (int index : new int[] {INTX, MSI, MSIX, ERR}) {
            assertThat(user.disable(device, index)).as("index %d", index).isEqualTo(refused(Errno.EINVAL));
            assertThat(user.setIrqs(device, MASK | NONE, index, 0, 1)).isEqualTo(refused(Errno.EINVAL));
        }
    }

    @Test
    void onlyIntxIsMasked() {
        Full full = full();
        for (int index : new int[] {MSI, MSIX, ERR, REQ}) {
            assertThat(full.setIrqs(MASK | NONE, index, 0, 1)).isEqualTo(refused(Errno.ENOTTY));
            assertThat(full.setIrqs(UNMASK | NONE, index, 0, 1)).isEqualTo(refused(Errno.ENOTTY));
        }
    }

    // MSI and MSI-X

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void messagesAreEnabledSignalledAndDisabled(int index) {
        Full full = full();
        int[] events = full.events(3);
        assertThat(full.user.disable(full.device, index)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.setIrqs(TRIGGER | NONE, index, 0, 1)).as("not active").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(index, 0, events)).isZero();
        assertThat(full.armed(index, events)).containsExactly(0, 1, 2);
        full.user.writeCommand(full.device, MASTER);
        assertThat(full.hardware.sendMessage(1)).isTrue();
        assertThat(full.user.take(events[1])).isEqualTo(1);
        assertThat(full.user.take(events[0])).isZero();
        assertThat(full.hardware.sendMessage(3)).isFalse();
        assertThat(full.user.disable(full.device, index)).isZero();
        assertThat(full.user.disable(full.device, index)).as("disabled already").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.hardware.sendMessage(1)).isFalse();
        assertThat(full.user.take(events[1])).isZero();
    }

    @Test
    void bytesChooseVectors() {
        Full full = full();
        int[] events = full.events(4);
        assertThat(full.arm(MSIX, 0, events)).isZero();
        int bytes = 0x01000100;
        assertThat(full.raw(VfioIrqSet.SIZE + 4, TRIGGER | BOOL, MSIX, 0, 4, bytes))
                .isZero();
        assertThat(full.user.take(events[0])).isZero();
        assertThat(full.user.take(events[1])).isEqualTo(1);
        assertThat(full.user.take(events[2])).isZero();
        assertThat(full.user.take(events[3])).isEqualTo(1);
    }

    @Test
    void vectorIsDetachedByMinusOne() {
        Full full = full();
        int[] events = full.events(3);
        assertThat(full.arm(MSIX, 0, events)).isZero();
        assertThat(full.arm(MSIX, 1, -1)).isZero();
        assertThat(full.armed(MSIX, events)).containsExactly(0, 2);
        assertThat(full.setIrqs(TRIGGER | NONE, MSIX, 0, 2))
                .as("a loopback, no disable")
                .isZero();
        assertThat(full.user.take(events[0])).isEqualTo(1);
    }

    @Test
    void modesExcludeEachOther() {
        Full full = full();
        int event = full.user.event();
        assertThat(full.arm(MSIX, 0, event)).isZero();
        assertThat(full.arm(MSI, 0, event)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(MSI, 0, 999)).as("other mode, and not open").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(INTX, 0, event)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.user.disable(full.device, MSI)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.user.disable(full.device, MSIX)).isZero();
        assertThat(full.arm(INTX, 0, event)).isZero();
        assertThat(full.arm(MSIX, 0, event)).isEqualTo(refused(Errno.EINVAL));
    }

    @Test
    void enablingNoVectorIsOutOfRange() {
        Full full = full();
        assertThat(full.raw(20, TRIGGER | EVENTFD, MSIX, 0, 0)).isEqualTo(refused(Errno.ERANGE));
        assertThat(full.raw(20, TRIGGER | EVENTFD, MSIX, 3, 0)).as("enables 3").isZero();
        assertThat(full.user.disable(full.device, MSIX)).isZero();
        Full old = new Full("6.1");
        assertThat(old.raw(20, TRIGGER | EVENTFD, MSIX, 3, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(old.user.disable(old.device, MSIX)).as("nothing is enabled").isEqualTo(refused(Errno.EINVAL));
    }

    /** The result is positive, and nothing is enabled. */
    @Test
    void shortageOfVectorsIsAPositiveNumber() {
        Full full = full();
        full.kernel.limitVectors(3);
        int[] events = full.events(4);
        assertThat(full.arm(MSIX, 0, events)).isEqualTo(3);
        assertThat(full.user.disable(full.device, MSIX))
                .as("nothing is enabled")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(MSI, 0, events)).as("MSI falls back to one").isEqualTo(1);
        assertThat(full.arm(MSIX, 0, events[0], events[1], 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(full.arm(MSIX, 0, events[0], events[1], events[2])).isZero();
        assertThat(full.arm(MSIX, 3, events[3])).as("no fourth").isEqualTo(refused(Errno.ENOSPC));
        assertThat(full.user.disable(full.device, MSIX)).isZero();
        assertThat(full.arm(MSI, 0, events[0], events[1]))
                .as("the vectors are back")
                .isZero();
        full.kernel.limitVectors(0);
        full.user.disable(full.device, MSI);
        full.kernel.limitVectors(0);
        assertThat(full.arm(MSIX, 0, 999)).as("no vector, and not open").isEqualTo(refused(Errno.ENOSPC));
    }

    @Test
    void lastCloseReturnsTheVectors() {
        Full full = full();
        full.kernel.limitVectors(2);
        assertThat(full.arm(MSIX, 0, full.events(2))).isZero();
        full.kernel.close(full.device);
        int group = full.device - 1; // opened just before
        int again = full.user.deviceFd(group, NAME);
        assertThat(full.user.arm(again, MSIX, 0, full.events(2))).isZero();
    }

    /** Also those that were armed before the call. */
    @Test
    void failureDetachesFromStartThroughTheOneThatFailed() {
        Full full = full();
        int[] events = full.events(6);
        assertThat(full.arm(MSIX, 0, events)).isZero();
        assertThat(full.arm(MSIX, 1, events[1], events[2], 999, events[4])).isEqualTo(refused(Errno.EBADF));
        assertThat(full.armed(MSIX, events)).containsExactly(0, 4, 5);
        assertThat(full.arm(MSIX, 4, full.device)).as("no eventfd").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.armed(MSIX, events)).containsExactly(0, 5);
    }

    @Test
    void failureToEnableLeavesNothing() {
        Full full = full();
        assertThat(full.arm(MSIX, 0, full.user.event(), 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(full.arm(MSI, 0, full.user.event())).as("no mode is active").isZero();
    }

    @Test
    void vectorsGrowOneByOneSince65() {
        Full full = full();
        int[] events = full.events(8);
        assertThat(full.arm(MSIX, 0, events[0])).isZero();
        assertThat(full.arm(MSIX, 7, events[7])).isZero();
        assertThat(full.armed(MSIX, events)).containsExactly(0, 7);
        full.user.disable(full.device, MSIX);
        assertThat(full.arm(MSI, 0, events[0])).isZero();
        assertThat(full.arm(MSI, 1, -1)).as("nothing to detach").isZero();
        assertThat(full.arm(MSI, 0, events[0], events[1]))
                .as("MSI does not grow")
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(full.setIrqs(TRIGGER | NONE, MSI, 0, 4)).isZero();
        assertThat(full.user.take(events[0])).as("detached by the failure").isZero();
    }

    @Test
    void vectorsDoNotGrowBefore65() {
        Full old = new Full("6.1");
        int[] events = old.events(3);
        assertThat(old.arm(MSIX, 0, events[0], events[1])).isZero();
        assertThat(old.arm(MSIX, 1, events[1], events[2])).isEqualTo(refused(Errno.EINVAL));
        assertThat(old.arm(MSIX, 2, -1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(old.setIrqs(TRIGGER | NONE, MSIX, 0, 3)).isEqualTo(refused(Errno.EINVAL));
        assertThat(old.armed(MSIX, events[0], events[1]))
                .as("none was detached")
                .containsExactly(0, 1);
    }

    @Test
    void messageOfAMaskedVectorWaits() {
        Full full = full();
        int[] events = full.events(2);
        assertThat(full.arm(MSIX, 0, events)).isZero();
        assertThat(full.hardware.sendMessage(0)).as("no bus master").isFalse();
        full.user.writeCommand(full.device, MASTER);
        assertThat(full.arm(MSIX, 0, -1)).isZero();
        assertThat(full.hardware.sendMessage(0)).isFalse();
        assertThat(full.user.take(events[0])).isZero();
        assertThat(full.arm(MSIX, 0, events[0])).isZero();
        assertThat(full.user.take(events[0])).isEqualTo(1);
        assertThatIllegalArgumentException().isThrownBy(() -> full.hardware.sendMessage(8));
    }

    /** VFIO holds the state of an eventfd, not its descriptor. */
    @Test
    void closedEventfdIsSignalledStill() {
        Full full = full();
        int event = full.user.event();
        assertThat(full.arm(MSIX, 0, event)).isZero();
        full.user.writeCommand(full.device, MASTER);
        full.kernel.close(event);
        assertThat(full.hardware.sendMessage(0)).isTrue();
    }

    // The error and the request interrupt

    @ParameterizedTest
    @ValueSource(ints = {3, 4})
    void errorAndRequestAreCheckedInOrder(int index) {
        Full full = full();
        int event = full.user.event();
        assertThat(full.setIrqs(TRIGGER | NONE, index, 0, 1)).as("not set").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.setIrqs(TRIGGER | NONE, index, 0, 0)).as("not set").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(20, TRIGGER | BOOL, index, 0, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.raw(24, TRIGGER | BOOL, index, 0, 1, 1)).as("not set").isZero();
        assertThat(full.raw(20, TRIGGER | EVENTFD, index, 0, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(index, 0, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(full.arm(index, 0, full.device)).isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(index, 0, event)).isZero();
        assertThat(full.arm(index, 0, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(full.setIrqs(TRIGGER | NONE, index, 0, 1)).as("still set").isZero();
        assertThat(full.raw(24, TRIGGER | BOOL, index, 0, 1, 1)).isZero();
        assertThat(full.raw(24, TRIGGER | BOOL, index, 0, 1, 0)).isZero();
        assertThat(full.user.take(event)).isEqualTo(2);
        assertThat(index == ERR ? full.hardware.reportError() : full.hardware.askBack())
                .isTrue();
        assertThat(full.user.take(event)).isEqualTo(1);
        assertThat(full.arm(index, 0, -1)).isZero();
        assertThat(full.setIrqs(TRIGGER | NONE, index, 0, 0)).as("removed").isEqualTo(refused(Errno.EINVAL));
        assertThat(full.arm(index, 0, event)).isZero();
        assertThat(full.setIrqs(TRIGGER | NONE, index, 0, 0)).isZero();
        assertThat(index == ERR ? full.hardware.reportError() : full.hardware.askBack())
                .isFalse();
    }

    @Test
    void descriptorBelowMinusOneIsRefusedSince612() {
        assertThat(new Full("6.12").arm(REQ, 0, -2)).isEqualTo(refused(Errno.EINVAL));
        assertThat(new Full("6.1").arm(REQ, 0, -2)).isZero();
    }
}
