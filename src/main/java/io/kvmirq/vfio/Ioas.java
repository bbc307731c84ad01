/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import java.util.Optional;

/**
 * An address space (IOAS) of an iommufd, {@code /dev/iommu}. Thread-safe.
 *
 * <p>Source: drivers/iommu/iommufd/ioas.c.
 */
public final class Ioas extends DmaSpace {
    private static final String NODE = "/dev/iommu";

    private final int number;

    private Ioas(VfioCalls calls, Fd iommufd, int number) {
        super(calls, iommufd);
        this.number = number;
    }

    /** @throws io.kvmirq.KernelException ENOENT when the kernel has no iommufd; EACCES; ENOMEM */
    public static Ioas create(Kernel kernel) {
        VfioCalls calls = new VfioCalls(kernel);
        return in(calls, calls.open(KernelCall.IOMMUFD, "iommufd", NODE, Optional.empty()));
    }

    /**
     * A new address space in an iommufd that was opened elsewhere.
     *
     * @param iommufd the descriptor of {@code /dev/iommu}
     */
    public static Ioas in(Kernel kernel, int iommufd, Ownership ownership) {
        return in(new VfioCalls(kernel), Fd.adopt(kernel, "iommufd", iommufd, ownership));
    }

    private static Ioas in(VfioCalls calls, Fd iommufd) {
        try {
            return new Ioas(calls, iommufd, calls.createSpace(iommufd));
        } catch (RuntimeException e) {
            calls.closeFile(iommufd);
            throw e;
        }
    }

    Fd iommufd() {
        return file();
    }

    int number() {
        return number;
    }

    @Override
    void map(Fd.Lease lease, long iova, Mapping memory, boolean writable) {
        calls().mapInSpace(lease, number, iova, memory, writable);
    }

    @Override
    void unmap(Fd.Lease lease, long iova, long length) {
        calls().unmapInSpace(lease, number, iova, length);
    }
}
