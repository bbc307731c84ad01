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
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioInfoCapHeader;
import io.kvmirq.uapi.UapiVfio.VfioRegionInfo;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The BARs of a device, with its MSI-X table: drivers/vfio/pci/vfio_pci_rdwr.c, vfio_pci_core.c. */
@VfioContract
class VfioRegionContract extends VfioSuite {
    private static final int REGIONS = 9;
    private static final int MEMORY = 2;
    private static final int PORTS_BAR = 2;
    private static final int TABLE_BAR = 3;
    private static final int ROM = 6;
    private static final int TABLE = 0x2000;
    private static final int PENDING = 0x3000;
    private static final int ENTRY = 16;
    private static final int CONTROL = 12;

    private static long bar(int number, long at) {
        return ((long) number << 40) + at;
    }

    private long pread(OpenedDevice device, int width, long offset) {
        return vfio.libc().pread(device.fd, Buffers.allocate(width), offset);
    }

    // VFIO_DEVICE_GET_REGION_INFO

    /** Flags and size of all regions that are not empty; those with capabilities name the first one. */
    private String regions(TestDevice wanted) {
        OpenedDevice device = vfio.device(wanted);
        StringBuilder all = new StringBuilder();
        for (int region = 0; region < REGIONS - 1; region++) {
            ByteBuffer info = Buffers.allocate(64);
            assertOk(device.region(64, region, info));
            if (info.getLong(VfioRegionInfo.LENGTH) != 0) {
                all.append(String.format(
                        "%d:%x,%x ", region, info.getInt(VfioRegionInfo.FLAGS), info.getLong(VfioRegionInfo.LENGTH)));
            }
            int at = info.getInt(VfioRegionInfo.CAP_OFFSET);
            if (at != 0) {
                assertThat(at).isEqualTo(VfioRegionInfo.SIZE);
                assertThat(info.getShort(at + VfioInfoCapHeader.ID))
                        .isEqualTo((short) UapiVfio.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
                assertThat(info.getShort(at + VfioInfoCapHeader.VERSION)).isEqualTo((short) 1);
                assertThat(info.getInt(at + VfioInfoCapHeader.NEXT)).isZero();
            }
        }
        return all.toString().strip();
    }

    @Test
    void regionsHaveTheSizesOfBarsAndSayWhatTheyAllow() {
        assertThat(regions(E1000E)).isEqualTo("0:7,20000 1:7,20000 2:3,20 3:f,4000 7:3,1000");
        assertThat(regions(EDU)).isEqualTo("0:7,100000 7:3,100");
        assertThat(regions(NVME)).isEqualTo("0:f,4000 7:3,1000");
        assertThat(regions(SERIAL)).isEqualTo("1:f,8000 4:7,4000 7:3,100");
    }

    @Test
    void capabilityThatHasNoRoomIsCounted() {
        ByteBuffer info = Buffers.allocate(64);
        assertOk(vfio.device(NVME).region(VfioRegionInfo.SIZE, 0, info));
        assertThat(info.getInt(VfioRegionInfo.ARGSZ)).isEqualTo(VfioRegionInfo.SIZE + VfioInfoCapHeader.SIZE);
        assertThat(info.getInt(VfioRegionInfo.FLAGS)).isEqualTo(0xf);
        assertThat(info.getInt(VfioRegionInfo.CAP_OFFSET)).isZero();
        assertThat(info.getLong(VfioRegionInfo.SIZE)).isZero();
    }

    // Reads and writes

    @Test
    void accessEndsWithTheBar() {
        OpenedDevice device = vfio.device(NVME);
        assertThat(pread(device, 8, bar(0, 0x3ffc))).isEqualTo(4);
        assertThat(pread(device, 4, bar(0, 0x3ffe))).isEqualTo(2);
        assertErrno(Errno.EINVAL, pread(device, 4, bar(0, 0x4000)));
        assertErrno(Errno.EINVAL, pread(device, 4, bar(1, 0)));
        assertErrno(Errno.EINVAL, pread(device, 4, bar(ROM, 0)));
        assertErrno(Errno.EINVAL, pread(device, 4, bar(UapiVfio.VFIO_PCI_NUM_REGIONS, 0)));
        assertErrno(Errno.EINVAL, device.writeRegion(bar(0, 0x4000), 4, 0));
        assertThat(device.writeRegion(bar(0, 0x3ffc), 8, 0)).isEqualTo(4);
    }

    @Test
    void registersAreReadAndWrittenInTheirWidths() {
        OpenedDevice device = vfio.device(NVME);
        int adminQueues = 0x24;
        assertThat(device.writeRegion(adminQueues, 4, 0x1f_001f)).isEqualTo(4);
        assertThat(device.readRegion(adminQueues, 4)).isEqualTo(0x1f_001f);
        assertThat(device.writeRegion(0x28, 8, 0x1234_5000L)).isEqualTo(8);
        assertThat(device.readRegion(0x28, 4)).isEqualTo(0x1234_5000L);
        assertErrno(Errno.EFAULT, vfio.libc().pread(device.fd, 16, 4, 0));
        assertErrno(Errno.EFAULT, vfio.libc().pwrite(device.fd, 16, 4, adminQueues));
    }

    @Test
    void tableOfMsixIsNeitherReadNorWritten() {
        OpenedDevice device = vfio.device(NVME);
        assertThat(device.readRegion(TABLE, 8)).isEqualTo(-1);
        assertThat(device.writeRegion(TABLE + CONTROL, 4, 0)).isEqualTo(4);
        long beyond = device.readRegion(TABLE + 65 * ENTRY, 4);
        assertThat(device.readRegion(TABLE + 65 * ENTRY - 4, 8))
                .as("across its end")
                .isEqualTo(beyond << 32 | 0xffff_ffffL);
        assertThat(device.readRegion(TABLE - 4, 8) >>> 32)
                .as("across its begin")
                .isEqualTo(0xffff_ffffL);
        device.writeCommand(0);
        assertThat(device.readRegion(TABLE, 8)).as("memory space is off").isEqualTo(-1);
    }

    @Test
    void memoryThatIsOffIsAnError() {
        OpenedDevice device = vfio.device(EDU);
        device.writeCommand(0);
        assertErrno(Errno.EIO, pread(device, 4, 0));
        assertErrno(Errno.EIO, device.writeRegion(0, 4, 0));
        device.writeCommand(MEMORY);
        assertThat(pread(device, 4, 0)).isEqualTo(4);
    }

    @Test
    void portsThatAreOffAreNobodys() {
        e1000e().writeCommand(MEMORY);
        assertThat(e1000e().readRegion(bar(PORTS_BAR, 0), 4)).isEqualTo(0xffff_ffffL);
        assertThat(e1000e().writeRegion(bar(PORTS_BAR, 0), 4, 0)).isEqualTo(4);
        e1000e().writeCommand(1);
        assertThat(e1000e().readRegion(bar(PORTS_BAR, 0), 4)).isZero();
    }

    // Mappings

    private int map(OpenedDevice device, int number, long at, int length, int flags) {
        long address = vfio.libc().mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, flags, device.fd, bar(number, at));
        if (address > 0) {
            assertThat(vfio.libc().munmap(address, length)).isZero();
        }
        return address > 0 ? 0 : (int) address;
    }

    @Test
    void barsOfMemoryAreMapped() {
        assertOk(map(e1000e(), 0, 0x1000, 0x1000, Uapi.MAP_SHARED));
        assertOk(map(e1000e(), TABLE_BAR, 0, 0x4000, Uapi.MAP_SHARED));
        assertErrno(Errno.EINVAL, map(e1000e(), PORTS_BAR, 0, 0x1000, Uapi.MAP_SHARED));
        assertErrno(Errno.EINVAL, map(e1000e(), ROM, 0, 0x1000, Uapi.MAP_SHARED));
        assertErrno(Errno.EINVAL, map(e1000e(), TABLE_BAR, 0x4000, 0x1000, Uapi.MAP_SHARED));
        assertErrno(Errno.EINVAL, map(e1000e(), TABLE_BAR, 0x3000, 0x2000, Uapi.MAP_SHARED));
        assertErrno(Errno.EINVAL, map(e1000e(), 0, 0, 0x1000, Uapi.MAP_PRIVATE));
        assertErrno(Errno.EINVAL, map(e1000e(), 4, 0, 0x1000, Uapi.MAP_SHARED));
    }

    // The table of the hardware

    @Test
    void hardwareMasksTheVectorsWithoutAnEventfd() {
        int[] events = vfio.events(5);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertOk(e1000e().arm(MSIX, 1, -1));
        long address = vfio.libc().mmap(0x1000, Uapi.PROT_READ, Uapi.MAP_SHARED, e1000e().fd, bar(TABLE_BAR, 0));
        assertThat(address).isPositive();
        ByteBuffer table = vfio.libc().view(address, 0x1000);
        assertThat(table.getInt(CONTROL) & 1).isZero();
        assertThat(table.getInt(ENTRY + CONTROL) & 1).isEqualTo(1);
        assertOk(e1000e().arm(MSIX, 1, events[1]));
        assertThat(table.getInt(ENTRY + CONTROL) & 1).isZero();
        assertOk(e1000e().disable(MSIX));
        assertThat(table.getInt(CONTROL) & 1).isEqualTo(1);
        assertThat(vfio.libc().munmap(address, 0x1000)).isZero();
    }

    @Test
    void pendingBitsAreRead() {
        int[] events = vfio.events(5);
        assertOk(e1000e().arm(MSIX, 0, events));
        assertOk(e1000e().arm(MSIX, 2, -1));
        e1000e().start();
        assertThat(e1000e().readRegion(bar(TABLE_BAR, 0x2000), 8)).isZero();
        e1000e().hardware.send(2);
        assertThat(e1000e().readRegion(bar(TABLE_BAR, 0x2000), 4)).isEqualTo(1 << 2);
        assertThat(e1000e().writeRegion(bar(TABLE_BAR, 0x2000), 4, 0)).isEqualTo(4);
        assertThat(e1000e().readRegion(bar(TABLE_BAR, 0x2000), 4)).isEqualTo(1 << 2);
        assertOk(e1000e().arm(MSIX, 2, events[2]));
        assertThat(vfio.await(events[2])).isPositive();
        assertThat(e1000e().readRegion(bar(TABLE_BAR, 0x2000), 4)).isZero();
    }
}
