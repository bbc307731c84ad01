/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import static io.kvmirq.uapi.UapiTable.FileKind.EVENT_QUEUE;
import static io.kvmirq.uapi.UapiTable.FileKind.FAULT_QUEUE;
import static io.kvmirq.uapi.UapiTable.FileKind.IOMMUFD;

import io.kvmirq.uapi.Fact.Address;
import io.kvmirq.uapi.Fact.Fd;
import io.kvmirq.uapi.Fact.Flags;
import io.kvmirq.uapi.Fact.Ioctl;
import io.kvmirq.uapi.Fact.Length;
import io.kvmirq.uapi.Fact.NewFd;
import io.kvmirq.uapi.Fact.OneOf;
import io.kvmirq.uapi.Fact.Out;
import io.kvmirq.uapi.Fact.Path;
import io.kvmirq.uapi.Fact.U16;
import io.kvmirq.uapi.Fact.U32;
import io.kvmirq.uapi.Fact.U64;
import io.kvmirq.uapi.Fact.When;

/**
 * {@link Uapi} of include/uapi/linux/iommufd.h. Objects of an iommufd (address spaces, page tables, virtual IOMMUs) have
 * numbers of its own, which are no descriptors.
 */
public final class UapiIommufd {
    private UapiIommufd() {}

    // spotless:off: a table, a line for each field

    private static final long IOMMU = UapiVfio.VFIO_TYPE << 8 | 0x80;

    @Ioctl(on = IOMMUFD, argument = IommuDestroy.class)
    public static final long IOMMU_DESTROY = IOMMU;
    @Ioctl(on = IOMMUFD, argument = IommuIoasAlloc.class)
    public static final long IOMMU_IOAS_ALLOC = IOMMU + 1;
    @Ioctl(on = IOMMUFD, argument = IommuIoasAllowIovas.class)
    public static final long IOMMU_IOAS_ALLOW_IOVAS = IOMMU + 2;
    @Ioctl(on = IOMMUFD, argument = IommuIoasCopy.class)
    public static final long IOMMU_IOAS_COPY = IOMMU + 3;
    @Ioctl(on = IOMMUFD, argument = IommuIoasIovaRanges.class)
    public static final long IOMMU_IOAS_IOVA_RANGES = IOMMU + 4;
    @Ioctl(on = IOMMUFD, argument = IommuIoasMap.class)
    public static final long IOMMU_IOAS_MAP = IOMMU + 5;
    @Ioctl(on = IOMMUFD, argument = IommuIoasUnmap.class)
    public static final long IOMMU_IOAS_UNMAP = IOMMU + 6;
    @Ioctl(on = IOMMUFD, argument = IommuOption.class)
    public static final long IOMMU_OPTION = IOMMU + 7;
    @Ioctl(on = IOMMUFD, argument = IommuVfioIoas.class)
    public static final long IOMMU_VFIO_IOAS = IOMMU + 8;
    @Ioctl(on = IOMMUFD, argument = IommuHwptAlloc.class)
    public static final long IOMMU_HWPT_ALLOC = IOMMU + 9;
    @Ioctl(on = IOMMUFD, argument = IommuHwInfo.class)
    public static final long IOMMU_GET_HW_INFO = IOMMU + 10;
    @Ioctl(on = IOMMUFD, argument = IommuHwptSetDirtyTracking.class)
    public static final long IOMMU_HWPT_SET_DIRTY_TRACKING = IOMMU + 11;
    @Ioctl(on = IOMMUFD, argument = IommuHwptGetDirtyBitmap.class)
    public static final long IOMMU_HWPT_GET_DIRTY_BITMAP = IOMMU + 12;
    @Ioctl(on = IOMMUFD, argument = IommuHwptInvalidate.class)
    public static final long IOMMU_HWPT_INVALIDATE = IOMMU + 13;
    @Ioctl(on = IOMMUFD, argument = IommuFaultAlloc.class)
    public static final long IOMMU_FAULT_QUEUE_ALLOC = IOMMU + 14;
    @Ioctl(on = IOMMUFD, argument = IommuIoasMapFile.class)
    public static final long IOMMU_IOAS_MAP_FILE = IOMMU + 15;
    @Ioctl(on = IOMMUFD, argument = IommuViommuAlloc.class)
    public static final long IOMMU_VIOMMU_ALLOC = IOMMU + 16;
    @Ioctl(on = IOMMUFD, argument = IommuVdeviceAlloc.class)
    public static final long IOMMU_VDEVICE_ALLOC = IOMMU + 17;
    @Ioctl(on = IOMMUFD, argument = IommuIoasChangeProcess.class)
    public static final long IOMMU_IOAS_CHANGE_PROCESS = IOMMU + 18;
    @Ioctl(on = IOMMUFD, argument = IommuVeventqAlloc.class)
    public static final long IOMMU_VEVENTQ_ALLOC = IOMMU + 19;
    @Ioctl(on = IOMMUFD, argument = IommuHwQueueAlloc.class)
    public static final long IOMMU_HW_QUEUE_ALLOC = IOMMU + 20;

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

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuDestroy {
        public static final int SIZE = 8;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int ID = 4;

        private IommuDestroy() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasAlloc {
        public static final int SIZE = 12;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 @Out public static final int OUT_IOAS_ID = 8;

        private IommuIoasAlloc() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasAllowIovas {
        public static final int SIZE = 24;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int IOAS_ID = 4;
        @U32 public static final int NUM_IOVAS = 8;
        @U64 @Address public static final int ALLOWED_IOVAS = 16;

        private IommuIoasAllowIovas() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasCopy {
        public static final int SIZE = 40;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags("IOMMU_IOAS_MAP_") public static final int FLAGS = 4;
        @U32 public static final int DST_IOAS_ID = 8;
        @U32 public static final int SRC_IOAS_ID = 12;
        @U64 public static final int LENGTH = 16;
        @U64 public static final int DST_IOVA = 24;
        @U64 public static final int SRC_IOVA = 32;

        private IommuIoasCopy() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasIovaRanges {
        public static final int SIZE = 32;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int IOAS_ID = 4;
        @U32 public static final int NUM_IOVAS = 8;
        @U64 @Address public static final int ALLOWED_IOVAS = 16;
        @U64 @Out public static final int OUT_IOVA_ALIGNMENT = 24;

        private IommuIoasIovaRanges() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasMap {
        public static final int SIZE = 40;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags("IOMMU_IOAS_MAP_") public static final int FLAGS = 4;
        @U32 public static final int IOAS_ID = 8;
        @U64 @Address(lengthAt = IommuIoasMap.LENGTH) public static final int USER_VA = 16;
        @U64 public static final int LENGTH = 24;
        @U64 public static final int IOVA = 32;

        private IommuIoasMap() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasMapFile {
        public static final int SIZE = 40;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags("IOMMU_IOAS_MAP_") public static final int FLAGS = 4;
        @U32 public static final int IOAS_ID = 8;
        @U32 @Fd public static final int FD = 12;
        @U64 public static final int START = 16;
        @U64 public static final int LENGTH = 24;
        @U64 public static final int IOVA = 32;

        private IommuIoasMapFile() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasUnmap {
        public static final int SIZE = 24;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int IOAS_ID = 4;
        @U64 public static final int IOVA = 8;
        @U64 public static final int LENGTH = 16;

        private IommuIoasUnmap() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuOption {
        public static final int SIZE = 24;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int OPTION_ID = 4;
        @U16 @OneOf("IOMMU_OPTION_OP_") public static final int OP = 8;
        @U32 public static final int OBJECT_ID = 12;
        @U64 public static final int VAL64 = 16;

        private IommuOption() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuVfioIoas {
        public static final int SIZE = 12;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int IOAS_ID = 4;
        @U16 @OneOf("IOMMU_VFIO_IOAS_") public static final int OP = 8;

        private IommuVfioIoas() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuHwptAlloc {
        public static final int SIZE = 48;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags("IOMMU_HWPT_") public static final int FLAGS = 4;
        @U32 public static final int DEV_ID = 8;
        @U32 public static final int PT_ID = 12;
        @U32 @Out public static final int OUT_HWPT_ID = 16;
        @U32 public static final int DATA_TYPE = 24;
        @U32 public static final int DATA_LEN = 28;
        @U64 @Address(lengthAt = DATA_LEN) public static final int DATA_UPTR = 32;
        @U32 @When(IOMMU_HWPT_FAULT_ID_VALID) public static final int FAULT_ID = 40;

        private IommuHwptAlloc() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuHwInfo {
        public static final int SIZE = 40;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 public static final int DEV_ID = 8;
        @U32 public static final int DATA_LEN = 12;
        @U64 @Address(lengthAt = DATA_LEN) public static final int DATA_UPTR = 16;
        @U32 @Out public static final int OUT_DATA_TYPE = 24;
        @U64 @Out public static final int OUT_CAPABILITIES = 32;

        private IommuHwInfo() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuHwptSetDirtyTracking {
        public static final int SIZE = 16;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 public static final int HWPT_ID = 8;

        private IommuHwptSetDirtyTracking() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuHwptGetDirtyBitmap {
        public static final int SIZE = 48;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int HWPT_ID = 4;
        @U32 @Flags public static final int FLAGS = 8;
        @U64 public static final int IOVA = 16;
        @U64 public static final int LENGTH = 24;
        @U64 public static final int PAGE_SIZE = 32;
        @U64 @Address public static final int DATA = 40;

        private IommuHwptGetDirtyBitmap() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuHwptInvalidate {
        public static final int SIZE = 32;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int HWPT_ID = 4;
        @U64 @Address public static final int DATA_UPTR = 8;
        @U32 public static final int DATA_TYPE = 16;
        @U32 public static final int ENTRY_LEN = 20;
        @U32 public static final int ENTRY_NUM = 24;

        private IommuHwptInvalidate() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuFaultAlloc {
        public static final int SIZE = 16;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 @Out public static final int OUT_FAULT_ID = 8;
        @U32 @NewFd(FAULT_QUEUE) public static final int OUT_FAULT_FD = 12;

        private IommuFaultAlloc() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuViommuAlloc {
        public static final int SIZE = 40;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 public static final int TYPE = 8;
        @U32 public static final int DEV_ID = 12;
        @U32 public static final int HWPT_ID = 16;
        @U32 @Out public static final int OUT_VIOMMU_ID = 20;
        @U32 public static final int DATA_LEN = 24;
        @U64 @Address(lengthAt = DATA_LEN) public static final int DATA_UPTR = 32;

        private IommuViommuAlloc() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuVdeviceAlloc {
        public static final int SIZE = 24;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 public static final int VIOMMU_ID = 4;
        @U32 public static final int DEV_ID = 8;
        @U32 @Out public static final int OUT_VDEVICE_ID = 12;
        @U64 public static final int VIRT_ID = 16;

        private IommuVdeviceAlloc() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuIoasChangeProcess {
        public static final int SIZE = 8;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;

        private IommuIoasChangeProcess() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuVeventqAlloc {
        public static final int SIZE = 32;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 public static final int VIOMMU_ID = 8;
        @U32 public static final int TYPE = 12;
        @U32 public static final int VEVENTQ_DEPTH = 16;
        @U32 @Out public static final int OUT_VEVENTQ_ID = 20;
        @U32 @NewFd(EVENT_QUEUE) public static final int OUT_VEVENTQ_FD = 24;

        private IommuVeventqAlloc() {}
    }

    /** include/uapi/linux/iommufd.h. */
    public static final class IommuHwQueueAlloc {
        public static final int SIZE = 40;
        @U32 @Length @Path("size") public static final int LENGTH_OF_ARGUMENT = 0;
        @U32 @Flags public static final int FLAGS = 4;
        @U32 public static final int VIOMMU_ID = 8;
        @U32 public static final int TYPE = 12;
        @U32 public static final int INDEX = 16;
        @U32 @Out public static final int OUT_HW_QUEUE_ID = 20;
        @U64 public static final int NESTING_PARENT_IOVA = 24;
        @U64 @Path("length") public static final int LENGTH = 32;

        private IommuHwQueueAlloc() {}
    }
    // spotless:on
}
