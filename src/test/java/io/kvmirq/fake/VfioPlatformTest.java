/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.VfioWorld.NOT_OPEN;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.contract.OpenedDevice;
import io.kvmirq.contract.VfioWorld;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;

/** A platform device with a level at index 0 and an edge at index 1. */
@ParameterizedClass(name = "{0}")
@ValueSource(strings = {"6.12", "6.12,arm64"})
class VfioPlatformTest {
    private static final String NAME = "fff51000.ethernet";
    private static final int LEVEL = 0;
    private static final int EDGE = 1;

    @AutoClose
    private final VfioWorld vfio;

    private final FakePlatformDevice hardware;
    private final OpenedDevice device;
    private final int event;

    VfioPlatformTest(String profile) {
        vfio = VfioWorld.ofFake(profile);
        hardware = vfio.fake().platformDevice(NAME, 3).level().edge().add();
        device = vfio.device(hardware, 3, NAME);
        event = vfio.world.eventfd();
    }

    private int act(int action, int index) {
        return device.setIrqs(action | NONE, index, 0, 1);
    }

    private int setEvent(int action, int index, int fd) {
        return device.setIrqs(action | EVENTFD, index, 0, 1, fd);
    }

    @Test
    void deviceHasOneInterruptForEachIndex() {
        ByteBuffer info = Buffers.allocate(24).putInt(0, 24).putInt(16, -1);
        assertThat(vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_INFO, info)).isZero();
        assertThat(info.getInt(VfioDeviceInfo.FLAGS)).isEqualTo(UapiVfio.VFIO_DEVICE_FLAGS_PLATFORM);
        assertThat(info.getInt(VfioDeviceInfo.NUM_REGIONS)).isZero();
        assertThat(info.getInt(VfioDeviceInfo.NUM_IRQS)).isEqualTo(2);
        assertThat(info.getInt(16)).as("not written").isEqualTo(-1);
        assertErrno(Errno.EINVAL, device.irqInfo(15, LEVEL));
        assertThat(device.irqInfo(2)).isEqualTo("EINVAL");
        assertThat(device.irqInfo(LEVEL)).isEqualTo("7 1");
        assertThat(device.irqInfo(EDGE)).isEqualTo("1 1");
        ByteBuffer region = Buffers.allocate(32).putInt(0, 32);
        assertErrno(Errno.EINVAL, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, region));
        assertErrno(Errno.EINVAL, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_RESET, 0));
        assertErrno(Errno.ENOTTY, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 0));
        long word = vfio.fake().libc().addressOf(Buffers.allocate(4));
        assertErrno(Errno.EINVAL, vfio.fake().libc().pread(device.fd, word, 4, 0));
        assertErrno(Errno.EINVAL, vfio.fake().libc().pwrite(device.fd, word, 4, 0));
    }

    @Test
    void actionsAreCheckedInOrder() {
        assertErrno(Errno.EINVAL, act(TRIGGER, 2));
        assertErrno(Errno.EINVAL, device.setIrqs(TRIGGER | NONE, LEVEL, 0, 3)); // beyond
        assertErrno(Errno.ENOTTY, device.setIrqs(TRIGGER | MASK | NONE, LEVEL, 0, 1));
        assertErrno(Errno.EINVAL, device.setIrqs(MASK | NONE, LEVEL, 1, 1));
        assertErrno(Errno.EINVAL, device.setIrqs(MASK | NONE, LEVEL, 0, 0));
        assertErrno(Errno.EINVAL, act(MASK, EDGE));
        assertErrno(Errno.EINVAL, act(UNMASK, EDGE));
        assertOk(device.disable(LEVEL)); // twice is no error
        assertErrno(Errno.EBADF, setEvent(TRIGGER, LEVEL, NOT_OPEN));
        assertErrno(Errno.EINVAL, setEvent(TRIGGER, LEVEL, device.fd));
        assertErrno(Errno.EBADF, setEvent(UNMASK, LEVEL, NOT_OPEN));
        assertOk(setEvent(UNMASK, LEVEL, event));
        assertErrno(Errno.EBUSY, setEvent(UNMASK, LEVEL, vfio.world.eventfd()));
        assertOk(setEvent(MASK, LEVEL, vfio.world.eventfd())); // other than PCI
        assertErrno(Errno.EBUSY, setEvent(MASK, LEVEL, vfio.world.eventfd()));
        assertOk(setEvent(UNMASK, LEVEL, -1));
        assertOk(setEvent(UNMASK, LEVEL, vfio.world.eventfd()));
    }

    @Test
    void levelIsMaskedUntilItIsUnmasked() {
        assertOk(setEvent(TRIGGER, LEVEL, event));
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).isEqualTo(1);
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).as("masked").isZero();
        assertOk(act(UNMASK, LEVEL));
        assertThat(vfio.take(event)).as("still high").isEqualTo(1);
        hardware.serve(LEVEL);
        assertOk(act(UNMASK, LEVEL));
        assertThat(vfio.take(event)).isZero();
        assertOk(act(TRIGGER, LEVEL));
        assertThat(vfio.take(event)).as("the loopback").isEqualTo(1);
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).as("masked by the loopback").isZero();
        int unmask = vfio.world.eventfd();
        int mask = vfio.world.eventfd();
        assertOk(setEvent(UNMASK, LEVEL, unmask));
        vfio.signal(unmask);
        assertThat(vfio.take(event)).isEqualTo(1);
        assertThat(vfio.take(unmask)).as("consumed").isZero();
        hardware.serve(LEVEL);
        vfio.signal(unmask);
        assertOk(setEvent(MASK, LEVEL, mask));
        vfio.signal(mask);
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).as("masked by eventfd").isZero();
        assertOk(device.bytes(UNMASK, LEVEL, 0, 1));
        assertThat(vfio.take(event)).isEqualTo(1);
    }

    @Test
    void triggerThatUnmasksItsOwnLineLeavesTheKernelUsable() {
        assertOk(setEvent(TRIGGER, LEVEL, event));
        assertOk(setEvent(UNMASK, LEVEL, event));
        hardware.requestService(LEVEL);
        assertOk(act(TRIGGER, LEVEL));
        assertOk(act(UNMASK, LEVEL));
        hardware.serve(LEVEL);
        assertOk(setEvent(MASK, LEVEL, event));
        assertOk(act(TRIGGER, LEVEL));
        assertOk(setEvent(UNMASK, LEVEL, -1));
        hardware.requestService(LEVEL);
        assertOk(act(UNMASK, LEVEL));
        assertOk(act(TRIGGER, LEVEL));
    }

    @Test
    void triggerIsDroppedBeforeTheNextIsLookedAt() {
        assertOk(setEvent(TRIGGER, LEVEL, event));
        assertErrno(Errno.EBADF, setEvent(TRIGGER, LEVEL, NOT_OPEN));
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).as("no trigger").isZero();
        assertOk(setEvent(TRIGGER, LEVEL, event));
        assertThat(vfio.take(event)).as("the line is still high").isEqualTo(1);
        assertOk(device.disable(LEVEL));
        assertOk(act(UNMASK, LEVEL));
        assertThat(vfio.take(event)).isZero();
    }

    @Test
    void edgeSignalsEachTime() {
        assertThat(hardware.pulse(EDGE)).isFalse();
        assertOk(setEvent(TRIGGER, EDGE, event));
        assertThat(vfio.take(event)).as("latched").isEqualTo(1);
        assertThat(hardware.pulse(EDGE)).isTrue();
        assertThat(hardware.pulse(EDGE)).isTrue();
        assertOk(act(TRIGGER, EDGE));
        assertThat(vfio.take(event)).isEqualTo(3);
        assertIllegalArgument(
                () -> hardware.pulse(LEVEL),
                "interrupt 0 of fff51000.ethernet is no edge: add the device with one at this index");
    }

    @Test
    void lastCloseDisablesTheInterrupts() {
        int unmask = vfio.world.eventfd();
        assertOk(setEvent(TRIGGER, LEVEL, event));
        assertOk(setEvent(UNMASK, LEVEL, unmask));
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).isEqualTo(1);
        device.close();
        vfio.signal(unmask);
        assertThat(vfio.take(event)).isZero();
        assertThat(vfio.take(unmask)).as("read by no one").isEqualTo(1);
        hardware.serve(LEVEL);
        assertOk(vfio.device(hardware, 3, NAME).arm(LEVEL, 0, event));
        hardware.requestService(LEVEL);
        assertThat(vfio.take(event)).as("no longer masked").isEqualTo(1);
    }
}
