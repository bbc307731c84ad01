/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.VfioUser.BOOL;
import static io.kvmirq.fake.VfioUser.EVENTFD;
import static io.kvmirq.fake.VfioUser.MASK;
import static io.kvmirq.fake.VfioUser.NONE;
import static io.kvmirq.fake.VfioUser.TRIGGER;
import static io.kvmirq.fake.VfioUser.UNMASK;
import static io.kvmirq.fake.VfioUser.irqSet;
import static io.kvmirq.fake.VfioUser.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A platform device with a level at index 0 and an edge at index 1. */
class VfioPlatformTest {
    private static final String NAME = "fff51000.ethernet";
    private static final int LEVEL = 0;
    private static final int EDGE = 1;

    @SuppressWarnings("NullAway.Init") // made by each test
    private VfioUser user;

    @SuppressWarnings("NullAway.Init")
    private FakePlatformDevice hardware;

    private int group;
    private int device;

    private void open(String profile) {
        user = new VfioUser(profile);
        hardware = user.kernel.platformDevice(NAME, 3).level().edge().add();
        group = user.open("/dev/vfio/3");
        device = user.deviceOf(group, NAME);
    }

    @AfterEach
    void explain() {
        user.close();
    }

    private int setIrqs(int flags, int index, int start, int count, int... fds) {
        return user.setIrqs(device, flags, index, start, count, fds);
    }

    private int act(int action, int index) {
        return setIrqs(action | NONE, index, 0, 1);
    }

    private int setEvent(int action, int index, int fd) {
        return setIrqs(action | EVENTFD, index, 0, 1, fd);
    }

    private String irqInfo(int argsz, int index) {
        ByteBuffer info = Buffers.allocate(VfioIrqInfo.SIZE)
                .putInt(VfioIrqInfo.ARGSZ, argsz)
                .putInt(VfioIrqInfo.INDEX, index);
        int result = user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, info);
        return result < 0
                ? new Errno(-result).toString()
                : info.getInt(VfioIrqInfo.FLAGS) + " " + info.getInt(VfioIrqInfo.COUNT);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,arm64"})
    void deviceHasOneInterruptForEachIndex(String profile) {
        open(profile);
        ByteBuffer info = Buffers.allocate(24).putInt(0, 24).putInt(16, -1);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_INFO, info)).isZero();
        assertThat(info.getInt(VfioDeviceInfo.FLAGS)).isEqualTo(UapiVfio.VFIO_DEVICE_FLAGS_PLATFORM);
        assertThat(info.getInt(VfioDeviceInfo.NUM_REGIONS)).isZero();
        assertThat(info.getInt(VfioDeviceInfo.NUM_IRQS)).isEqualTo(2);
        assertThat(info.getInt(16)).as("not written").isEqualTo(-1);
        assertThat(irqInfo(15, LEVEL)).isEqualTo("EINVAL");
        assertThat(irqInfo(16, 2)).isEqualTo("EINVAL");
        assertThat(irqInfo(16, LEVEL)).isEqualTo("7 1");
        assertThat(irqInfo(16, EDGE)).isEqualTo("1 1");
        ByteBuffer region = Buffers.allocate(32).putInt(0, 32);
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, region))
                .isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_RESET, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 0))
                .isEqualTo(refused(Errno.ENOTTY));
        long word = user.kernel.addressOf(Buffers.allocate(4));
        assertThat(user.kernel.pread(device, word, 4, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(user.kernel.pwrite(device, word, 4, 0)).isEqualTo(refused(Errno.EINVAL));
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,arm64"})
    void actionsAreCheckedInOrder(String profile) {
        open(profile);
        int event = user.event();
        assertThat(act(TRIGGER, 2)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(TRIGGER | NONE, LEVEL, 0, 3)).as("beyond").isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(TRIGGER | MASK | NONE, LEVEL, 0, 1)).isEqualTo(refused(Errno.ENOTTY));
        assertThat(setIrqs(MASK | NONE, LEVEL, 1, 1)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(MASK | NONE, LEVEL, 0, 0)).isEqualTo(refused(Errno.EINVAL));
        assertThat(act(MASK, EDGE)).isEqualTo(refused(Errno.EINVAL));
        assertThat(act(UNMASK, EDGE)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setIrqs(TRIGGER | NONE, LEVEL, 0, 0))
                .as("to disable twice is no error")
                .isZero();
        assertThat(setEvent(TRIGGER, LEVEL, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(setEvent(TRIGGER, LEVEL, device)).isEqualTo(refused(Errno.EINVAL));
        assertThat(setEvent(UNMASK, LEVEL, 999)).isEqualTo(refused(Errno.EBADF));
        assertThat(setEvent(UNMASK, LEVEL, event)).isZero();
        assertThat(setEvent(UNMASK, LEVEL, user.event())).isEqualTo(refused(Errno.EBUSY));
        assertThat(setEvent(MASK, LEVEL, user.event()))
                .as("masks by an eventfd, other than PCI")
                .isZero();
        assertThat(setEvent(MASK, LEVEL, user.event())).isEqualTo(refused(Errno.EBUSY));
        assertThat(setEvent(UNMASK, LEVEL, -1)).isZero();
        assertThat(setEvent(UNMASK, LEVEL, user.event())).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,arm64"})
    void levelIsMaskedUntilItIsUnmasked(String profile) {
        open(profile);
        int event = user.event();
        assertThat(setEvent(TRIGGER, LEVEL, event)).isZero();
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).isEqualTo(1);
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).as("masked").isZero();
        assertThat(act(UNMASK, LEVEL)).isZero();
        assertThat(user.take(event)).as("still high").isEqualTo(1);
        hardware.serve(LEVEL);
        assertThat(act(UNMASK, LEVEL)).isZero();
        assertThat(user.take(event)).isZero();
        assertThat(act(TRIGGER, LEVEL)).isZero();
        assertThat(user.take(event)).as("the loopback").isEqualTo(1);
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).as("masked by the loopback").isZero();
        int unmask = user.event();
        int mask = user.event();
        assertThat(setEvent(UNMASK, LEVEL, unmask)).isZero();
        user.signal(unmask);
        assertThat(user.take(event)).isEqualTo(1);
        assertThat(user.take(unmask)).as("consumed").isZero();
        hardware.serve(LEVEL);
        user.signal(unmask);
        assertThat(setEvent(MASK, LEVEL, mask)).isZero();
        user.signal(mask);
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).as("masked by eventfd").isZero();
        assertThat(user.ioctl(device, UapiVfio.VFIO_DEVICE_SET_IRQS, irqSet(21, UNMASK | BOOL, LEVEL, 0, 1, 1)))
                .isZero();
        assertThat(user.take(event)).isEqualTo(1);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,arm64"})
    void triggerIsDroppedBeforeTheNextIsLookedAt(String profile) {
        open(profile);
        int event = user.event();
        assertThat(setEvent(TRIGGER, LEVEL, event)).isZero();
        assertThat(setEvent(TRIGGER, LEVEL, 999)).isEqualTo(refused(Errno.EBADF));
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).as("no trigger").isZero();
        assertThat(setEvent(TRIGGER, LEVEL, event)).isZero();
        assertThat(user.take(event)).as("the line is still high").isEqualTo(1);
        assertThat(setIrqs(TRIGGER | NONE, LEVEL, 0, 0)).isZero();
        assertThat(act(UNMASK, LEVEL)).isZero();
        assertThat(user.take(event)).isZero();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,arm64"})
    void edgeSignalsEachTime(String profile) {
        open(profile);
        int event = user.event();
        assertThat(hardware.pulse(EDGE)).isFalse();
        assertThat(setEvent(TRIGGER, EDGE, event)).isZero();
        assertThat(user.take(event)).as("latched").isEqualTo(1);
        assertThat(hardware.pulse(EDGE)).isTrue();
        assertThat(hardware.pulse(EDGE)).isTrue();
        assertThat(act(TRIGGER, EDGE)).isZero();
        assertThat(user.take(event)).isEqualTo(3);
        assertThatIllegalArgumentException()
                .isThrownBy(() -> hardware.pulse(LEVEL))
                .withMessage("interrupt 0 of fff51000.ethernet is no edge: add the device with one at this index");
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12", "6.12,arm64"})
    void lastCloseDisablesTheInterrupts(String profile) {
        open(profile);
        int event = user.event();
        int unmask = user.event();
        assertThat(setEvent(TRIGGER, LEVEL, event)).isZero();
        assertThat(setEvent(UNMASK, LEVEL, unmask)).isZero();
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).isEqualTo(1);
        user.kernel.close(device);
        user.signal(unmask);
        assertThat(user.take(event)).isZero();
        assertThat(user.take(unmask)).as("read by no one").isEqualTo(1);
        hardware.serve(LEVEL);
        device = user.deviceFd(group, NAME);
        assertThat(setEvent(TRIGGER, LEVEL, event)).isZero();
        hardware.requestService(LEVEL);
        assertThat(user.take(event)).as("no longer masked").isEqualTo(1);
    }
}
