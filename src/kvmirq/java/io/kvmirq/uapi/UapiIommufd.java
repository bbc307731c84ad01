/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import static io.kvmirq.uapi.UapiTable.FileKind.IOMMUFD;

import io.kvmirq.uapi.Declared.Address;
import io.kvmirq.uapi.Declared.Fd;
import io.kvmirq.uapi.Declared.Flags;
import io.kvmirq.uapi.Declared.Ioctl;
import io.kvmirq.uapi.Declared.OneOf;
import io.kvmirq.uapi.Declared.Path;
import io.kvmirq.uapi.Declared.U16;
import io.kvmirq.uapi.Declared.U32;
import io.kvmirq.uapi.Declared.U64;

/**
 * Numbers and structures of include/uapi/linux/iommufd.h, as in {@link Uapi}. Objects of an iommufd (address spaces,
 * page tables, virtual IOMMUs) have ids, which are valid only within the iommufd, not descriptors.
 */
public final class UapiIommufd {
    private UapiIommufd() {}

    // spotless:off: a table, a line for each field

    private static final long IOMMU = UapiVfio.VFIO_TYPE << 8 | 0x80;

    @Ioctl(on = IOMMUFD, argument = IommuDestroy.class) public static final long IOMMU_DESTROY = IOMMU;
    @Ioctl(on = IOMMUFD, argument = IommuIoasAlloc.class) public static final long IOMMU_IOAS_ALLOC = IOMMU + 1;
    @Ioctl(on = IOMMUFD, argument = IommuIoasAllowIovas.class)
    public static final long IOMMU_IOAS_ALLOW_IOVAS = IOMMU + 2;
    @Ioctl(on = IOMMUFD, argument = IommuIoasCopy.class) public static final long IOMMU_IOAS_COPY = IOMMU + 3;
    @Ioctl(on = IOMMUFD, argument = IommuIoasIovaRanges.class)
    public static final long IOMMU_IOAS_IOVA_RANGES = IOMMU + 4;
    @Ioctl(on = IOMMUFD, argument = IommuIoasMap.class) public static final long IOMMU_IOAS_MAP = IOMMU + 5;
    @Ioctl(on = IOMMUFD, argument = IommuIoasUnmap.class) public static final long IOMMU_IOAS_UNMAP = IOMMU + 6;
    @Ioctl(on = IOMMUFD, argument = IommuOption.class) public static final long IOMMU_OPTION = IOMMU + 7;
    @Ioctl(on = IOMMUFD, argument = IommuVfioIoas.class) public static final long IOMMU_VFIO_IOAS = IOMMU + 8;
    @Ioctl(on = IOMMUFD, argument = IommuHwptAlloc.class) public static final long IOMMU_HWPT_ALLOC = IOMMU + 9;
    @Ioctl(on = IOMMUFD, argument = IommuHwInfo.class) public static final long IOMMU_GET_HW_INFO = IOMMU + 10;
    @Ioctl(on = IOMMUFD, argument = IommuHwptSetDirtyTracking.class)
    public static final long IOMMU_HWPT_SET_DIRTY_TRACKING = IOMMU + 11;
    @Ioctl(on = IOMMUFD, argument = IommuHwptGetDirtyBitmap.class)
    public static final long IOMMU_HWPT_GET_DIRTY_BITMAP = IOMMU + 12;
    @Ioctl(on = IOMMUFD, argument = IommuHwptInvalidate.class)
    public static final long IOMMU_HWPT_INVALIDATE = IOMMU + 13;
    @Ioctl(on = IOMMUFD, argument = IommuFaultAlloc.class)
    public static final long IOMMU_FAULT_QUEUE_ALLOC = IOMMU + 14;
    @Ioctl(on = IOMMUFD, argument = IommuIoasMapFile.class) public static final long IOMMU_IOAS_MAP_FILE = IOMMU + 15;
    @Ioctl(on = IOMMUFD, argument = IommuViommuAlloc.class) public static final long IOMMU_VIOMMU_ALLOC = IOMMU + 16;
    @Ioctl(on = IOMMUFD, argument = IommuVdeviceAlloc.class) public static final long IOMMU_VDEVICE_ALLOC = IOMMU + 17;
    @Ioctl(on = IOMMUFD, argument = IommuIoasChangeProcess.class)
    public static final long IOMMU_IOAS_CHANGE_PROCESS = IOMMU + 18;
    @Ioctl(on = IOMMUFD, argument = IommuVeventqAlloc.class) public static final long IOMMU_VEVENTQ_ALLOC = IOMMU + 19;
    @Ioctl(on = IOMMUFD, argument = IommuHwQueueAlloc.class) public static final long IOMMU_HW_QUEUE_ALLOC = IOMMU + 20;

    public static final int IOMMU_IOAS_MAP_FIXED_IOVA = 1;
    public static final int IOMMU_IOAS_MAP_WRITEABLE = 2;
    public static final int IOMMU_IOAS_MAP_READABLE = 4;
    public static final int IOMMU_VFIO_IOAS_GET = 0;
    public static final int IOMMU_VFIO_IOAS_SET = 1;
    public static final int IOMMU_VFIO_IOAS_CLEAR = 2;
    public static final int IOMMU_OPTION_RLIMIT_MODE = 0;
    public static final int IOMMU_OPTION_HUGE_PAGES = 1;
    public static final int IOMMU_OPTION_OP_SET = 0;
    public static final int IOMMU_OPTION_OP_GET = 1;
    public static final int IOMMU_HWPT_ALLOC_NEST_PARENT = 1;
    public static final int IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 2;
    public static final int IOMMU_HWPT_FAULT_ID_VALID = 4;
    public static final int IOMMU_HWPT_ALLOC_PASID = 8;

    public interface IommuDestroy extends Declared.SizeFirst {
        int SIZE = 8;
        @U32 int ID = 4;
    }

    public interface IommuIoasAlloc extends Declared.SizeFirst {
        int SIZE = 12;
        @U32 @Flags int FLAGS = 4;
        @U32 int OUT_IOAS_ID = 8;
    }

    public interface IommuIoasAllowIovas extends Declared.SizeFirst {
        int SIZE = 24;
        @U32 int IOAS_ID = 4;
        @U32 int NUM_IOVAS = 8;
        @U64 @Address int ALLOWED_IOVAS = 16;
    }

    public interface IommuIoasCopy extends Declared.SizeFirst {
        int SIZE = 40;
        @U32 @Flags("IOMMU_IOAS_MAP_") int FLAGS = 4;
        @U32 int DST_IOAS_ID = 8;
        @U32 int SRC_IOAS_ID = 12;
        @U64 int LENGTH = 16;
        @U64 int DST_IOVA = 24;
        @U64 int SRC_IOVA = 32;
    }

    public interface IommuIoasIovaRanges extends Declared.SizeFirst {
        int SIZE = 32;
        @U32 int IOAS_ID = 4;
        @U32 int NUM_IOVAS = 8;
        @U64 @Address int ALLOWED_IOVAS = 16;
        @U64 int OUT_IOVA_ALIGNMENT = 24;
    }

    public interface IommuIoasMap extends Declared.SizeFirst {
        int SIZE = 40;
        @U32 @Flags("IOMMU_IOAS_MAP_") int FLAGS = 4;
        @U32 int IOAS_ID = 8;
        @U64 @Address int USER_VA = 16;
        @U64 int LENGTH = 24;
        @U64 int IOVA = 32;
    }

    public interface IommuIoasMapFile extends Declared.SizeFirst {
        int SIZE = 40;
        @U32 @Flags("IOMMU_IOAS_MAP_") int FLAGS = 4;
        @U32 int IOAS_ID = 8;
        @U32 @Fd int FD = 12;
        @U64 int START = 16;
        @U64 int LENGTH = 24;
        @U64 int IOVA = 32;
    }

    public interface IommuIoasUnmap extends Declared.SizeFirst {
        int SIZE = 24;
        @U32 int IOAS_ID = 4;
        @U64 int IOVA = 8;
        @U64 int LENGTH = 16;
    }

    public interface IommuOption extends Declared.SizeFirst {
        int SIZE = 24;
        @U32 int OPTION_ID = 4;
        @U16 @OneOf("IOMMU_OPTION_OP_") int OP = 8;
        @U32 int OBJECT_ID = 12;
        @U64 int VAL64 = 16;
    }

    public interface IommuVfioIoas extends Declared.SizeFirst {
        int SIZE = 12;
        @U32 int IOAS_ID = 4;
        @U16 @OneOf("IOMMU_VFIO_IOAS_") int OP = 8;
    }

    public interface IommuHwptAlloc extends Declared.SizeFirst {
        int SIZE = 48;
        @U32 @Flags("IOMMU_HWPT_") int FLAGS = 4;
        @U32 int DEV_ID = 8;
        @U32 int PT_ID = 12;
        @U32 int OUT_HWPT_ID = 16;
        @U32 int DATA_TYPE = 24;
        @U32 int DATA_LEN = 28;
        @U64 @Address int DATA_UPTR = 32;
        @U32 int FAULT_ID = 40;
    }

    public interface IommuHwInfo extends Declared.SizeFirst {
        int SIZE = 40;
        @U32 @Flags int FLAGS = 4;
        @U32 int DEV_ID = 8;
        @U32 int DATA_LEN = 12;
        @U64 @Address int DATA_UPTR = 16;
        @U32 int OUT_DATA_TYPE = 24;
        @U64 int OUT_CAPABILITIES = 32;
    }

    public interface IommuHwptSetDirtyTracking extends Declared.SizeFirst {
        int SIZE = 16;
        @U32 @Flags int FLAGS = 4;
        @U32 int HWPT_ID = 8;
    }

    public interface IommuHwptGetDirtyBitmap extends Declared.SizeFirst {
        int SIZE = 48;
        @U32 int HWPT_ID = 4;
        @U32 @Flags int FLAGS = 8;
        @U64 int IOVA = 16;
        @U64 int LENGTH = 24;
        @U64 int PAGE_SIZE = 32;
        @U64 @Address int DATA = 40;
    }

    public interface IommuHwptInvalidate extends Declared.SizeFirst {
        int SIZE = 32;
        @U32 int HWPT_ID = 4;
        @U64 @Address int DATA_UPTR = 8;
        @U32 int DATA_TYPE = 16;
        @U32 int ENTRY_LEN = 20;
        @U32 int ENTRY_NUM = 24;
    }

    public interface IommuFaultAlloc extends Declared.SizeFirst {
        int SIZE = 16;
        @U32 @Flags int FLAGS = 4;
        @U32 int OUT_FAULT_ID = 8;
        @U32 @Fd int OUT_FAULT_FD = 12;
    }

    public interface IommuViommuAlloc extends Declared.SizeFirst {
        int SIZE = 40;
        @U32 @Flags int FLAGS = 4;
        @U32 int TYPE = 8;
        @U32 int DEV_ID = 12;
        @U32 int HWPT_ID = 16;
        @U32 int OUT_VIOMMU_ID = 20;
        @U32 int DATA_LEN = 24;
        @U64 @Address int DATA_UPTR = 32;
    }

    public interface IommuVdeviceAlloc extends Declared.SizeFirst {
        int SIZE = 24;
        @U32 int VIOMMU_ID = 4;
        @U32 int DEV_ID = 8;
        @U32 int OUT_VDEVICE_ID = 12;
        @U64 int VIRT_ID = 16;
    }

    public interface IommuIoasChangeProcess extends Declared.SizeFirst {
        int SIZE = 8;
    }

    public interface IommuVeventqAlloc extends Declared.SizeFirst {
        int SIZE = 32;
        @U32 @Flags int FLAGS = 4;
        @U32 int VIOMMU_ID = 8;
        @U32 int TYPE = 12;
        @U32 int VEVENTQ_DEPTH = 16;
        @U32 int OUT_VEVENTQ_ID = 20;
        @U32 @Fd int OUT_VEVENTQ_FD = 24;
    }

    public interface IommuHwQueueAlloc extends Declared.SizeFirst {
        int SIZE = 40;
        @U32 @Flags int FLAGS = 4;
        @U32 int VIOMMU_ID = 8;
        @U32 int TYPE = 12;
        @U32 int INDEX = 16;
        @U32 int OUT_HW_QUEUE_ID = 20;
        @U64 int NESTING_PARENT_IOVA = 24;
        @U64 @Path("length") int LENGTH = 32;
    }
    // spotless:on
}
