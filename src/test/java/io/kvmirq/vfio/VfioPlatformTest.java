/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.IrqKind;
import io.kvmirq.PlatformName;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePlatformDevice;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A platform device: one interrupt an index, level-triggered ones mask themselves. */
class VfioPlatformTest {
    private static final PlatformName NAME = new PlatformName("fff51000.ethernet");

    @AutoClose
    private final Undo undo = new Undo();

    /** A device with a level and an edge. */
    private final class Setup {
        final Kernel kernel;
        final FakePlatformDevice hardware;
        final VfioDevice device;

        Setup(String profile) {
            FakeKernel fake = TestDevice.fakeKernel(profile);
            hardware = fake.platformDevice(NAME.name(), 9).level().edge().add();
            kernel = undo.add(fake.open());
            device = undo.add(VfioDevice.open(kernel, NAME));
        }

        EventFd event() {
            return undo.add(EventFd.create(kernel));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12,arm64", "7.1,cdev"})
    void deviceTellsWhatItHas(String profile) {
        Setup setup = new Setup(profile);
        DeviceInfo info = setup.device.info();
        assertThat(info.bus()).isEqualTo(DeviceInfo.Bus.PLATFORM);
        assertThat(info.irqs())
                .containsExactly(
                        new IrqInfo(
                                IrqKind.PLATFORM,
                                1,
                                UapiVfio.VFIO_IRQ_INFO_EVENTFD
                                        | UapiVfio.VFIO_IRQ_INFO_MASKABLE
                                        | UapiVfio.VFIO_IRQ_INFO_AUTOMASKED),
                        new IrqInfo(IrqKind.PLATFORM, 1, UapiVfio.VFIO_IRQ_INFO_EVENTFD));
        assertThat(setup.device.access())
                .isEqualTo(profile.endsWith("cdev") ? VfioDevice.Access.CDEV : VfioDevice.Access.GROUP);
        assertThat(setup.device.platformIrq(1)).hasToString("platform 1 of fff51000.ethernet");
        assertThat(setup.device.platformIrq(1).number()).isEqualTo(1);
    }

    /** Interrupts of different indexes are armed side by side. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12,arm64", "7.1,cdev"})
    void levelMasksItselfAndEdgeDoesNot(String profile) {
        Setup setup = new Setup(profile);
        EventFd level = setup.event();
        EventFd edge = setup.event();
        EventFd unmask = setup.event();
        try (ArmedLine first = setup.device.platformIrq(0).arm(level);
                ArmedLine second = setup.device.platformIrq(1).arm(edge)) {
            assertThat(first).isNotSameAs(second);
            setup.hardware.requestService(0);
            assertThat(level.drain()).isEqualTo(1);
            first.unmask();
            assertThat(level.drain()).isEqualTo(1);
            first.unmaskBy(unmask);
            unmask.signal();
            assertThat(level.drain()).isEqualTo(1);
            setup.hardware.serve(0);
            first.unmask();
            assertThat(level.drain()).isZero();
            assertThat(setup.hardware.pulse(1)).isTrue();
            assertThat(setup.hardware.pulse(1)).isTrue();
            assertThat(edge.drain()).isEqualTo(2);
        }
        assertThat(setup.hardware.pulse(1)).isFalse();
    }

    /** Unlike INTx, a platform interrupt can be masked by an eventfd. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12,arm64"})
    void eventFdMasks(String profile) {
        Setup setup = new Setup(profile);
        EventFd level = setup.event();
        EventFd mask = setup.event();
        try (ArmedLine line = setup.device.platformIrq(0).arm(level)) {
            line.maskBy(mask);
            mask.signal();
            setup.hardware.requestService(0);
            assertThat(level.drain()).isZero();
            line.unmask();
            assertThat(level.drain()).isEqualTo(1);
            line.stopMaskBy();
            setup.hardware.serve(0);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.12"})
    void whatADeviceLacksIsRefusedByName(String profile) {
        Setup setup = new Setup(profile);
        try (ArmedLine edge = setup.device.platformIrq(1).arm(setup.event())) {
            for (Runnable masks : Stream.<Runnable>of(edge::mask, edge::unmask, () -> edge.maskBy(setup.event()))
                    .toList()) {
                assertThatThrownBy(masks::run)
                        .isInstanceOf(UnsupportedOperationException.class)
                        .hasMessageContaining("cannot be masked, because it is edge-triggered");
            }
        }
        assertThatThrownBy(() -> setup.device.platformIrq(2)).hasMessageEndingWith("it has 2, numbered from 0");
        for (Runnable ofPci : List.<Runnable>of(setup.device::msix, setup.device::intx, setup.device::req)) {
            assertThatThrownBy(ofPci::run)
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageEndingWith(": it is not a PCI device");
        }
        assertThatThrownBy(setup.device::config).isInstanceOf(UnsupportedOperationException.class);
    }
}
