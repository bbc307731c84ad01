/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kernel.Undo;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * An address space (IOAS) of an iommufd, {@code /dev/iommu}. Thread-safe.
 *
 * <p>Source: drivers/iommu/iommufd/ioas.c.
 */
public final class Ioas extends DmaSpace {
    private static final String NODE = "/dev/iommu";

    private final int number;
    /** An iommufd that stays open, so that the space must be removed from it. */
    private final Optional<Fd.Lease> kept;
    /** For {@link #forget}, which must not allocate. */
    private final ByteBuffer destroying;

    private Ioas(VfioCalls calls, Fd iommufd, int number, Optional<Fd.Lease> kept) {
        super(calls, iommufd);
        this.number = number;
        this.kept = kept;
        this.destroying = VfioCalls.destroying(number);
    }

    /** @throws io.kvmirq.KernelException ENOENT when the kernel has no iommufd; EACCES; ENOMEM */
    public static Ioas create(Kernel kernel) {
        VfioCalls calls = new VfioCalls(kernel);
        try (Undo undo = new Undo()) {
            Fd file = open(calls);
            undo.add(() -> calls.closeFile(file));
            Ioas made = new Ioas(calls, file, calls.createSpace(file), Optional.empty());
            undo.keep();
            return made;
        }
    }

    private static Fd open(VfioCalls calls) {
        return calls.open(KernelCall.IOMMUFD, "iommufd", NODE, Optional.empty());
    }

    /** @throws io.kvmirq.KernelException as {@link #create} */
    static void requireNode(VfioCalls calls) {
        calls.closeFile(open(calls));
    }

    /**
     * A new address space in an iommufd that was opened elsewhere. It is removed from a borrowed iommufd when this
     * object, its mappings and its devices are closed.
     *
     * @param iommufd the descriptor of {@code /dev/iommu}
     * @throws IllegalArgumentException if /proc says that the descriptor is not open, or something else
     * @throws io.kvmirq.KernelException ENOTTY for another descriptor; ENOMEM. The descriptor stays open
     */
    public static Ioas in(Kernel kernel, int iommufd, Ownership ownership) {
        VfioCalls calls = new VfioCalls(kernel);
        try (Undo undo = new Undo()) {
            Fd tried = calls.adoptIommufd(iommufd, Ownership.BORROWED);
            undo.add(() -> calls.closeFile(tried));
            int number = calls.createSpace(tried);
            Fd file = calls.adoptIommufd(iommufd, ownership);
            boolean stays = ownership == Ownership.BORROWED;
            return new Ioas(calls, file, number, stays ? Optional.of(file.lease()) : Optional.empty());
        }
    }

    @Override
    void forget() {
        kept.ifPresent(iommufd -> {
            calls().destroySpace(iommufd, destroying);
            iommufd.close();
        });
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
    ByteBuffer newUnmapping() {
        return Buffers.allocate(IommuIoasUnmap.SIZE);
    }

    @Override
    void unmap(Fd.Lease lease, ByteBuffer unmapping, long iova, long length) {
        calls().unmapInSpace(lease, unmapping, number, iova, length);
    }
}
