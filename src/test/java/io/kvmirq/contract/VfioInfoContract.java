/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.*;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.TestDevice.NVME;
import static io.kvmirq.contract.TestDevice.SERIAL;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The information about a VFIO device, and its reset: drivers/vfio/pci/vfio_pci_core.c. */
@VfioContract
class VfioInfoContract extends VfioSuite {
    private static final int CONFIG = UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX;
    /** Region of a graphics card. */
    private static final int VGA = CONFIG + 1;

    private static final int READ_WRITE = UapiVfio.VFIO_REGION_INFO_FLAG_READ | UapiVfio.VFIO_REGION_INFO_FLAG_WRITE;

    // The device

    private ByteBuffer info(OpenedDevice device, int argsz) {
        ByteBuffer info = Buffers.allocate(2 * VfioDeviceInfo.SIZE);
        for (int i = 0; i < info.capacity(); i++) {
            info.put(i, (byte) 0xee);
        }
        info.putInt(VfioDeviceInfo.ARGSZ, argsz);
        assertOk(vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_INFO, info));
        return info;
    }

    @Test
    void deviceTellsWhetherItResetsAndHowManyRegionsAndInterruptIndexesItHas() {
        int pci = UapiVfio.VFIO_DEVICE_FLAGS_PCI;
        for (TestDevice device : TestDevice.values()) {
            ByteBuffer info = info(vfio.device(device), VfioDeviceInfo.SIZE);
            int reset = device == EDU || device == SERIAL ? 0 : UapiVfio.VFIO_DEVICE_FLAGS_RESET;
            assertThat(info.getInt(VfioDeviceInfo.FLAGS)).as(device.name()).isEqualTo(pci | reset);
            assertThat(info.getInt(VfioDeviceInfo.NUM_REGIONS)).isEqualTo(9);
            assertThat(info.getInt(VfioDeviceInfo.NUM_IRQS)).isEqualTo(5);
        }
    }

    @Test
    void deviceInfoIsWrittenAsFarAsItIsAskedFor() {
        OpenedDevice device = vfio.device(EDU);
        assertErrno(Errno.EFAULT, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_INFO, 0));
        ByteBuffer tooShort = Buffers.allocate(VfioDeviceInfo.SIZE).putInt(VfioDeviceInfo.ARGSZ, 15);
        assertErrno(Errno.EINVAL, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_INFO, tooShort));
        assertThat(end(info(device, 16))).isEqualTo(16);
        assertThat(end(info(device, VfioDeviceInfo.SIZE))).isEqualTo(vfio.isSince(6, 6) ? 24 : 20);
    }

    /** Where the kernel stopped to write. */
    private static int end(ByteBuffer info) {
        int end = 16;
        while (info.get(end) == 0) {
            end++;
        }
        return end;
    }

    // Interrupts

    @Test
    void interruptsOfE1000e() {
        assertThat(e1000e().irqInfo(INTX)).isEqualTo("7 1");
        assertThat(e1000e().irqInfo(MSI)).isEqualTo("9 1");
        assertThat(e1000e().irqInfo(MSIX)).isEqualTo(msixFlags() + " 5");
        assertThat(e1000e().irqInfo(ERR)).isEqualTo("9 1");
        assertThat(e1000e().irqInfo(REQ)).isEqualTo("9 1");
    }

    /** Since 6.5 each vector is allocated when it gets its eventfd, except on arm64. */
    private String msixFlags() {
        return vfio.growsMsix() ? "1" : "9";
    }

    @Test
    void conventionalDeviceReportsNoErrors() {
        OpenedDevice device = vfio.device(EDU);
        assertThat(device.irqInfo(INTX)).isEqualTo("7 1");
        assertThat(device.irqInfo(MSI)).isEqualTo("9 1");
        assertThat(device.irqInfo(MSIX)).as("no capability").isEqualTo("9 0");
        assertThat(device.irqInfo(ERR)).isEqualTo("EINVAL");
        assertThat(device.irqInfo(REQ)).isEqualTo("9 1");
    }

    @Test
    void deviceWithoutMsiHasTheIndexAndNoInterruptOfIt() {
        OpenedDevice device = vfio.device(NVME);
        assertThat(device.irqInfo(MSI)).isEqualTo("9 0");
        assertThat(device.irqInfo(MSIX)).isEqualTo(msixFlags() + " 65");
    }

    @Test
    void interruptInfoNeedsItsSizeAndAnIndex() {
        assertErrno(Errno.EFAULT, vfio.ioctl(e1000e().fd, UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, 0));
        assertErrno(Errno.EINVAL, e1000e().irqInfo(15, INTX));
        assertErrno(Errno.EINVAL, e1000e().irqInfo(16, 5));
        assertErrno(Errno.EINVAL, e1000e().irqInfo(16, -1));
        assertOk(e1000e().irqInfo(16, REQ));
        assertOk(e1000e().irqInfo(4096, REQ));
        ByteBuffer record = Buffers.allocate(KernelBackend.VFIO_IRQ_SIZE).putLong(0, -1);
        assertErrno(Errno.EINVAL, kernel.vfioIrqInfo(e1000e().fd, 5, record));
        assertThat(record.getLong(0)).as("record after an error").isEqualTo(-1);
    }

    // Regions

    @Test
    void configurationSpaceIsARegionOfItsSize() {
        assertConfig(vfio.device(EDU), 0x100);
        assertConfig(vfio.device(E1000E), 0x1000);
    }

    private void assertConfig(OpenedDevice device, long size) {
        ByteBuffer info = Buffers.allocate(VfioRegionInfo.SIZE);
        assertOk(device.region(VfioRegionInfo.SIZE, CONFIG, info));
        assertThat(info.getInt(VfioRegionInfo.FLAGS)).isEqualTo(READ_WRITE);
        assertThat(info.getLong(VfioRegionInfo.LENGTH)).isEqualTo(size);
        assertThat(info.getLong(VfioRegionInfo.OFFSET)).isEqualTo((long) CONFIG << 40);
    }

    @Test
    void regionInfoNeedsItsSizeAndAnIndex() {
        OpenedDevice device = vfio.device(EDU);
        assertErrno(Errno.EFAULT, vfio.ioctl(device.fd, UapiVfio.VFIO_DEVICE_GET_REGION_INFO, 0));
        ByteBuffer info = Buffers.allocate(VfioRegionInfo.SIZE);
        assertErrno(Errno.EINVAL, device.region(31, CONFIG, info));
        assertErrno(Errno.EINVAL, device.region(32, -1, info));
        assertErrno(Errno.EINVAL, device.region(32, VGA, info));
        assertErrno(Errno.EINVAL, device.region(32, UapiVfio.VFIO_PCI_NUM_REGIONS, info));
    }

    @Test
    void barThatADeviceDoesNotHaveIsEmpty() {
        ByteBuffer info = Buffers.allocate(VfioRegionInfo.SIZE);
        assertOk(vfio.device(EDU).region(VfioRegionInfo.SIZE, 5, info));
        assertThat(info.getInt(VfioRegionInfo.FLAGS)).isZero();
        assertThat(info.getLong(VfioRegionInfo.LENGTH)).isZero();
        assertThat(info.getLong(VfioRegionInfo.OFFSET)).isEqualTo(5L << 40);
    }

    /** As config_space_read_write of the kernel's selftest. */
    @Test
    void commandIsReadAsItWasWritten() {
        OpenedDevice device = vfio.device(EDU);
        for (int command : new int[] {7, MASTER, 0, DIS_INTX, DIS_INTX | MASTER}) {
            device.writeCommand(command);
            assertThat(device.readConfig(COMMAND)).isEqualTo(command);
        }
    }

    @Test
    void firstOpenFindsTheDeviceOff() {
        OpenedDevice device = vfio.device(EDU);
        assertThat(device.readConfig(COMMAND) & MASTER).isZero();
        device.writeCommand(7);
        device.close();
        assertThat(vfio.device(EDU).readConfig(COMMAND) & MASTER)
                .as("bus master after the last close")
                .isZero();
    }

    // Requests of others, and the reset

    @Test
    void deviceKnowsNoRequestOfAGroupOrAContainer() {
        OpenedDevice device = vfio.device(EDU);
        for (long request : new long[] {
            UapiVfio.VFIO_GROUP_GET_STATUS, UapiVfio.VFIO_DEVICE_QUERY_GFX_PLANE, UapiVfio.VFIO_GET_API_VERSION
        }) {
            assertErrno(Errno.ENOTTY, vfio.ioctl(device.fd, request, 0));
        }
    }

    @Test
    void onlyADeviceThatSaysSoResets() {
        assertThat(kernel.vfioDeviceReset(vfio.device(E1000E).fd)).isZero();
        assertErrno(Errno.EINVAL, kernel.vfioDeviceReset(vfio.device(EDU).fd));
    }

    @Test
    void resetKeepsInterruptsArmed() {
        int[] events = vfio.events(5);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertThat(kernel.vfioDeviceReset(e1000e().fd)).isZero();
        assertThat(e1000e().armed(MSIX, events)).containsExactly(0, 1, 2, 3, 4);
        e1000e().start();
        e1000e().hardware.send(2);
        assertThat(vfio.await(events[2]))
                .as("QEMU's e1000e may repeat a message")
                .isPositive();
    }
}
