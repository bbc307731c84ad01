/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import static io.kvmirq.uapi.UapiTable.FileKind.IOMMUFD;
import static io.kvmirq.uapi.UapiTable.FileKind.NONE;
import static io.kvmirq.uapi.UapiTable.FileKind.VFIO_CONTAINER;
import static io.kvmirq.uapi.UapiTable.FileKind.VFIO_DEVICE;
import static io.kvmirq.uapi.UapiTable.FileKind.VFIO_GROUP;

import io.kvmirq.uapi.Declared.Address;
import io.kvmirq.uapi.Declared.Fd;
import io.kvmirq.uapi.Declared.Flags;
import io.kvmirq.uapi.Declared.Ioctl;
import io.kvmirq.uapi.Declared.Path;
import io.kvmirq.uapi.Declared.U16;
import io.kvmirq.uapi.Declared.U32;
import io.kvmirq.uapi.Declared.U64;
import io.kvmirq.uapi.Declared.U8;

/**
 * Numbers and structures of include/uapi/linux/vfio.h, as in {@link Uapi}: containers, groups, devices and their
 * interrupts. The same number can be different requests on different kinds of files.
 */
public final class UapiVfio {
    private UapiVfio() {}

    // spotless:off: a table, a line for each field

    // The request number encodes no size, because the structure begins with its size

    public static final int VFIO_TYPE = ';';
    private static final long VFIO = VFIO_TYPE << 8 | 100;

    // Containers; an iommufd accepts these requests too

    public static final int VFIO_API_VERSION = 0;
    public static final int VFIO_TYPE1_IOMMU = 1;
    public static final int VFIO_TYPE1v2_IOMMU = 3;
    public static final int VFIO_DMA_CC_IOMMU = 4;
    public static final int VFIO_NOIOMMU_IOMMU = 8;

    @Ioctl({VFIO_CONTAINER, IOMMUFD}) public static final long VFIO_GET_API_VERSION = VFIO;
    @Ioctl({VFIO_CONTAINER, IOMMUFD}) public static final long VFIO_CHECK_EXTENSION = VFIO + 1;
    @Ioctl({VFIO_CONTAINER, IOMMUFD}) public static final long VFIO_SET_IOMMU = VFIO + 2;
    @Ioctl(on = {VFIO_CONTAINER, IOMMUFD}, argument = VfioIommuType1Info.class)
    public static final long VFIO_IOMMU_GET_INFO = VFIO + 12;
    @Ioctl(on = {VFIO_CONTAINER, IOMMUFD}, argument = VfioIommuType1DmaMap.class)
    public static final long VFIO_IOMMU_MAP_DMA = VFIO + 13;
    @Ioctl(on = {VFIO_CONTAINER, IOMMUFD}, argument = VfioIommuType1DmaUnmap.class)
    public static final long VFIO_IOMMU_UNMAP_DMA = VFIO + 14;
    @Ioctl({VFIO_CONTAINER, IOMMUFD}) public static final long VFIO_IOMMU_ENABLE = VFIO + 15;
    @Ioctl({VFIO_CONTAINER, IOMMUFD}) public static final long VFIO_IOMMU_DISABLE = VFIO + 16;
    @Ioctl(on = {VFIO_CONTAINER, IOMMUFD}, argument = VfioIommuType1DirtyBitmap.class)
    public static final long VFIO_IOMMU_DIRTY_PAGES = VFIO + 17;

    public static final int VFIO_IOMMU_INFO_PGSIZES = 1;
    public static final int VFIO_IOMMU_INFO_CAPS = 2;
    public static final int VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
    public static final int VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
    public static final int VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;
    public static final int VFIO_DMA_MAP_FLAG_READ = 1;
    public static final int VFIO_DMA_MAP_FLAG_WRITE = 2;
    public static final int VFIO_DMA_MAP_FLAG_VADDR = 4;
    public static final int VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1;
    public static final int VFIO_DMA_UNMAP_FLAG_ALL = 2;
    public static final int VFIO_DMA_UNMAP_FLAG_VADDR = 4;
    public static final int VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 1;
    public static final int VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 2;
    public static final int VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 4;

    public interface VfioIommuType1Info extends Declared.Argsz {
        int SIZE = 24;
        @U32 @Flags("VFIO_IOMMU_INFO_") int FLAGS = 4;
        @U64 int IOVA_PGSIZES = 8;
        @U32 int CAP_OFFSET = 16;
    }

    /**
     * Follows a {@link VfioInfoCapHeader}. The ranges follow this structure, each with a 64-bit first and a 64-bit last
     * address.
     */
    public interface VfioIommuType1InfoCapIovaRange {
        int SIZE = 16;
        @U32 int NR_IOVAS = 8;
    }

    /** Follows a {@link VfioInfoCapHeader}. */
    public interface VfioIommuType1InfoCapMigration {
        int SIZE = 32;
        @U32 int FLAGS = 8;
        @U64 int PGSIZE_BITMAP = 16;
        @U64 int MAX_DIRTY_BITMAP_SIZE = 24;
    }

    /** Follows a {@link VfioInfoCapHeader}. */
    public interface VfioIommuType1InfoDmaAvail {
        int SIZE = 12;
        @U32 int AVAIL = 8;
    }

    public interface VfioIommuType1DmaMap extends Declared.Argsz {
        int SIZE = 32;
        @U32 @Flags("VFIO_DMA_MAP_FLAG_") int FLAGS = 4;
        @U64 @Address int VADDR = 8;
        @U64 int IOVA = 16;
        @U64 @Path("size") int LENGTH = 24;
    }

    /** include/uapi/linux/vfio.h; with GET_DIRTY_BITMAP, a struct vfio_bitmap follows. */
    public interface VfioIommuType1DmaUnmap extends Declared.Argsz {
        int SIZE = 24;
        @U32 @Flags("VFIO_DMA_UNMAP_FLAG_") int FLAGS = 4;
        @U64 int IOVA = 8;
        @U64 @Path("size") int LENGTH = 16;
        @U64 @Path("data.data") @Address int BITMAP_DATA = 40;
    }

    /** include/uapi/linux/vfio.h; with GET_BITMAP, a struct vfio_iommu_type1_dirty_bitmap_get follows. */
    public interface VfioIommuType1DirtyBitmap extends Declared.Argsz {
        int SIZE = 8;
        @U32 @Flags("VFIO_IOMMU_DIRTY_PAGES_FLAG_") int FLAGS = 4;
        @U64 @Path("data.bitmap.data") @Address int BITMAP_DATA = 40;
    }

    // Groups

    @Ioctl(on = VFIO_GROUP, argument = VfioGroupStatus.class) public static final long VFIO_GROUP_GET_STATUS = VFIO + 3;
    @Ioctl(on = VFIO_GROUP, argument = VfioContainer.class)
    public static final long VFIO_GROUP_SET_CONTAINER = VFIO + 4;
    @Ioctl(VFIO_GROUP) public static final long VFIO_GROUP_UNSET_CONTAINER = VFIO + 5;
    /** The argument is the device's name, which ends in NUL. */
    @Ioctl(on = VFIO_GROUP, argument = Declared.Text.class)
    public static final long VFIO_GROUP_GET_DEVICE_FD = VFIO + 6;

    public static final int VFIO_GROUP_FLAGS_VIABLE = 1;
    public static final int VFIO_GROUP_FLAGS_CONTAINER_SET = 2;

    public interface VfioGroupStatus extends Declared.Argsz {
        int SIZE = 8;
        @U32 @Flags("VFIO_GROUP_FLAGS_") int FLAGS = 4;
    }

    /** The argument of VFIO_GROUP_SET_CONTAINER: an int. */
    @Declared.NoStruct
    public interface VfioContainer {
        int SIZE = 4;
        @U32 @Fd int FD = 0;
    }

    // Devices

    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceInfo.class) public static final long VFIO_DEVICE_GET_INFO = VFIO + 7;
    @Ioctl(on = VFIO_DEVICE, argument = VfioRegionInfo.class)
    public static final long VFIO_DEVICE_GET_REGION_INFO = VFIO + 8;
    @Ioctl(on = VFIO_DEVICE, argument = VfioIrqInfo.class) public static final long VFIO_DEVICE_GET_IRQ_INFO = VFIO + 9;
    @Ioctl(on = VFIO_DEVICE, argument = VfioIrqSet.class)
    public static final long VFIO_DEVICE_SET_IRQS = VFIO + 10;
    @Ioctl(VFIO_DEVICE) public static final long VFIO_DEVICE_RESET = VFIO + 11;
    @Ioctl(on = VFIO_DEVICE, argument = VfioPciHotResetInfo.class)
    public static final long VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = VFIO + 12;
    @Ioctl(on = VFIO_DEVICE, argument = VfioPciHotReset.class)
    public static final long VFIO_DEVICE_PCI_HOT_RESET = VFIO + 13;
    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceGfxPlaneInfo.class)
    public static final long VFIO_DEVICE_QUERY_GFX_PLANE = VFIO + 14;
    @Ioctl(on = VFIO_DEVICE, argument = VfioGfxDmabuf.class)
    public static final long VFIO_DEVICE_GET_GFX_DMABUF = VFIO + 15;
    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceIoeventfd.class)
    public static final long VFIO_DEVICE_IOEVENTFD = VFIO + 16;
    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceFeature.class)
    public static final long VFIO_DEVICE_FEATURE = VFIO + 17;
    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceBindIommufd.class)
    public static final long VFIO_DEVICE_BIND_IOMMUFD = VFIO + 18;
    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceAttachIommufdPt.class)
    public static final long VFIO_DEVICE_ATTACH_IOMMUFD_PT = VFIO + 19;
    @Ioctl(on = VFIO_DEVICE, argument = VfioDeviceDetachIommufdPt.class)
    public static final long VFIO_DEVICE_DETACH_IOMMUFD_PT = VFIO + 20;

    public static final int VFIO_DEVICE_FLAGS_RESET = 1;
    public static final int VFIO_DEVICE_FLAGS_PCI = 2;
    public static final int VFIO_DEVICE_FLAGS_PLATFORM = 4;
    public static final int VFIO_DEVICE_FLAGS_AMBA = 8;
    public static final int VFIO_DEVICE_FLAGS_CCW = 16;
    public static final int VFIO_DEVICE_FLAGS_AP = 32;
    public static final int VFIO_DEVICE_FLAGS_FSL_MC = 64;
    public static final int VFIO_DEVICE_FLAGS_CAPS = 128;
    public static final int VFIO_DEVICE_FLAGS_CDX = 256;
    public static final int VFIO_REGION_INFO_FLAG_READ = 1;
    public static final int VFIO_REGION_INFO_FLAG_WRITE = 2;
    public static final int VFIO_REGION_INFO_FLAG_MMAP = 4;
    public static final int VFIO_REGION_INFO_FLAG_CAPS = 8;
    public static final int VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
    public static final int VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
    public static final int VFIO_IRQ_INFO_EVENTFD = 1;
    public static final int VFIO_IRQ_INFO_MASKABLE = 2;
    public static final int VFIO_IRQ_INFO_AUTOMASKED = 4;
    public static final int VFIO_IRQ_INFO_NORESIZE = 8;
    public static final int VFIO_IRQ_SET_DATA_NONE = 1;
    public static final int VFIO_IRQ_SET_DATA_BOOL = 2;
    public static final int VFIO_IRQ_SET_DATA_EVENTFD = 4;
    public static final int VFIO_IRQ_SET_ACTION_MASK = 8;
    public static final int VFIO_IRQ_SET_ACTION_UNMASK = 16;
    public static final int VFIO_IRQ_SET_ACTION_TRIGGER = 32;

    @Declared.NotAFlag public static final int VFIO_IRQ_SET_DATA_TYPE_MASK = 7;

    @Declared.NotAFlag public static final int VFIO_IRQ_SET_ACTION_TYPE_MASK = 0x38;
    public static final int VFIO_PCI_INTX_IRQ_INDEX = 0;
    public static final int VFIO_PCI_MSI_IRQ_INDEX = 1;
    public static final int VFIO_PCI_MSIX_IRQ_INDEX = 2;
    public static final int VFIO_PCI_ERR_IRQ_INDEX = 3;
    public static final int VFIO_PCI_REQ_IRQ_INDEX = 4;
    public static final int VFIO_PCI_NUM_IRQS = 5;
    public static final int VFIO_PCI_CONFIG_REGION_INDEX = 7;
    public static final int VFIO_PCI_NUM_REGIONS = 9;
    public static final int VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1;
    public static final int VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 2;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_MASK = 0xffff;
    public static final int VFIO_DEVICE_FEATURE_GET = 0x10000;
    public static final int VFIO_DEVICE_FEATURE_SET = 0x20000;
    public static final int VFIO_DEVICE_FEATURE_PROBE = 0x40000;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;

    @Declared.NotAFlag public static final int VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
    public static final int VFIO_DEVICE_BIND_FLAG_TOKEN = 1;
    public static final int VFIO_DEVICE_ATTACH_PASID = 1;
    public static final int VFIO_DEVICE_DETACH_PASID = 1;
    public static final int VFIO_DEVICE_IOEVENTFD_8 = 1;
    public static final int VFIO_DEVICE_IOEVENTFD_16 = 2;
    public static final int VFIO_DEVICE_IOEVENTFD_32 = 4;
    public static final int VFIO_DEVICE_IOEVENTFD_64 = 8;

    public interface VfioDeviceInfo extends Declared.Argsz {
        int SIZE = 24;
        @U32 @Flags("VFIO_DEVICE_FLAGS_") int FLAGS = 4;
        @U32 int NUM_REGIONS = 8;
        @U32 int NUM_IRQS = 12;
        @U32 int CAP_OFFSET = 16;
    }

    public interface VfioRegionInfo extends Declared.Argsz {
        int SIZE = 32;
        @U32 @Flags("VFIO_REGION_INFO_FLAG_") int FLAGS = 4;
        @U32 int INDEX = 8;
        @U32 int CAP_OFFSET = 12;
        @U64 @Path("size") int LENGTH = 16;
        @U64 int OFFSET = 24;
    }

    /** The header of each capability in a list that follows a structure at its CAP_OFFSET. */
    public interface VfioInfoCapHeader {
        int SIZE = 8;
        @U16 int ID = 0;
        @U16 int VERSION = 2;
        @U32 int NEXT = 4;
    }

    /** include/uapi/linux/vfio.h, after the capability header: areas follow, 8 bytes of offset and 8 of size each. */
    public interface VfioRegionInfoCapSparseMmap {
        int SIZE = 16;
        @U32 int NR_AREAS = 8;
    }

    public interface VfioIrqInfo extends Declared.Argsz {
        int SIZE = 16;
        @U32 @Flags("VFIO_IRQ_INFO_") int FLAGS = 4;
        @U32 int INDEX = 8;
        @U32 int COUNT = 12;
    }

    /** include/uapi/linux/vfio.h: for each interrupt a byte follows, or a descriptor, which is -1 for none. */
    public interface VfioIrqSet extends Declared.Argsz {
        int SIZE = 20;
        @U32 @Flags("VFIO_IRQ_SET_") int FLAGS = 4;
        @U32 int INDEX = 8;
        @U32 int START = 12;
        @U32 int COUNT = 16;
        @U32 @Path("data") @Fd int DATA = 20;
    }

    /** include/uapi/linux/vfio.h: a record of 8 bytes follows for each device. */
    public interface VfioPciHotResetInfo extends Declared.Argsz {
        int SIZE = 12;
        @U32 @Flags("VFIO_PCI_HOT_RESET_FLAG_") int FLAGS = 4;
        @U32 int COUNT = 8;
    }

    public interface VfioPciDependentDevice {
        int SIZE = 8;
        @U32 int GROUP_ID = 0;
        @U16 int SEGMENT = 4;
        @U8 int BUS = 6;
        @U8 int DEVFN = 7;
    }

    /** include/uapi/linux/vfio.h: descriptors of groups, or of devices, follow. */
    public interface VfioPciHotReset extends Declared.Argsz {
        int SIZE = 12;
        @U32 @Flags int FLAGS = 4;
        @U32 int COUNT = 8;
        @U32 @Fd int GROUP_FDS = 12;
    }

    public interface VfioDeviceGfxPlaneInfo extends Declared.Argsz {
        int SIZE = 64;
        @U32 @Flags int FLAGS = 4;
    }

    /** The argument of VFIO_DEVICE_GET_GFX_DMABUF: the id of a dmabuf. */
    @Declared.NoStruct
    public interface VfioGfxDmabuf {
        int SIZE = 4;
        @U32 int ID = 0;
    }

    public interface VfioDeviceIoeventfd extends Declared.Argsz {
        int SIZE = 32;
        @U32 @Flags("VFIO_DEVICE_IOEVENTFD_") int FLAGS = 4;
        @U64 int OFFSET = 8;
        @U64 int DATA = 16;
        @U32 @Fd int FD = 24;
    }

    /** include/uapi/linux/vfio.h: the low bits of the flags name a feature, whose structure follows. */
    public interface VfioDeviceFeature extends Declared.Argsz {
        int SIZE = 8;
        @U32 @Flags("VFIO_DEVICE_FEATURE_") int FLAGS = 4;
        @U64 @Path("data") @Address int RANGES = 24;
        @U64 @Path("data") @Address int BITMAP = 32;
        @U32 @Path("data") int DATA_FD = 12;
    }

    /** include/uapi/linux/vfio.h; the size is 16 bytes before Linux 6.17. */
    public interface VfioDeviceBindIommufd extends Declared.Argsz {
        int SIZE = 24;
        @U32 @Flags("VFIO_DEVICE_BIND_FLAG_") int FLAGS = 4;
        @U32 @Fd int IOMMUFD = 8;
        @U32 int OUT_DEVID = 12;
        @U64 @Address int TOKEN_UUID_PTR = 16;
    }

    /** include/uapi/linux/vfio.h; the size is 12 bytes before Linux 6.15. */
    public interface VfioDeviceAttachIommufdPt extends Declared.Argsz {
        int SIZE = 16;
        @U32 @Flags("VFIO_DEVICE_ATTACH_") int FLAGS = 4;
        @U32 int PT_ID = 8;
        @U32 int PASID = 12;
    }

    /** include/uapi/linux/vfio.h; the size is 8 bytes before Linux 6.15. */
    public interface VfioDeviceDetachIommufdPt extends Declared.Argsz {
        int SIZE = 12;
        @U32 @Flags("VFIO_DEVICE_DETACH_") int FLAGS = 4;
        @U32 int PASID = 8;
    }

    // Migration data, on a file that VFIO_DEVICE_FEATURE returns; its link depends on the driver

    @Ioctl(on = NONE, argument = VfioPrecopyInfo.class) public static final long VFIO_MIG_GET_PRECOPY_INFO = VFIO + 21;

    public interface VfioPrecopyInfo extends Declared.Argsz {
        int SIZE = 24;
        @U32 @Flags int FLAGS = 4;
        @U64 int INITIAL_BYTES = 8;
        @U64 int DIRTY_BYTES = 16;
    }
    // spotless:on
}
