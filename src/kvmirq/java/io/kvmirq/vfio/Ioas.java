/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.backend.Buffers;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.UapiIommufd.IommuIoasUnmap;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;

/**
 * An I/O address space (IOAS) of an iommufd, {@code /dev/iommu}. Thread-safe.
 *
 * <p>Source: drivers/iommu/iommufd/ioas.c.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="cdev"}
 */
public final class Ioas extends DmaSpace {
    private static final String NODE = "/dev/iommu";

    private final int number;
    /** A borrowed iommufd, which stays open, so the space must be removed from it. */
    private final Optional<Fd.Lease> kept;
    /** Allocated in advance for {@link #forget}, which must not allocate. */
    private final ByteBuffer destroying;

    private Ioas(VfioCalls calls, Fd iommufd, boolean stays) {
        super(calls, iommufd);
        this.destroying = VfioCalls.destroying();
        try (Undo undo = new Undo()) {
            this.kept = stays ? Optional.of(undo.add(iommufd.lease())) : Optional.empty();
            this.number = calls.createSpace(iommufd, destroying);
            undo.keep();
        }
    }

    /** Creates an address space in a new iommufd. Throws KernelException ENOENT (no /dev/iommu), EACCES or ENOMEM. */
    public static Ioas create(Kernel kernel) {
        VfioCalls calls = new VfioCalls(kernel);
        return open(calls, file -> new Ioas(calls, file, false));
    }

    private static <T> T open(VfioCalls calls, Function<Fd, T> owner) {
        return calls.open(KernelCall.IOMMUFD, "iommufd", NODE, Optional.empty(), owner);
    }

    /** @throws io.kvmirq.KernelException as {@link #create} */
    static void requireNode(VfioCalls calls) {
        calls.closeFile(open(calls, file -> file));
    }

    /**
     * Creates an address space in an iommufd that other code opened. With BORROWED {@code ownership}, the address space
     * is removed once this object, its mappings and its devices are closed, not with the iommufd.
     *
     * @param iommufd the descriptor of {@code /dev/iommu}
     * @throws IllegalArgumentException if /proc shows that the descriptor is not open, or is another kind of file
     * @throws io.kvmirq.KernelException ENOTTY if the descriptor is not an iommufd, or ENOMEM. The descriptor stays
     *     open
     */
    public static Ioas createIn(Kernel kernel, int iommufd, Ownership ownership) {
        Objects.requireNonNull(ownership, "ownership is null");
        VfioCalls calls = new VfioCalls(kernel);
        return calls.adoptIommufd(iommufd, ownership, file -> new Ioas(calls, file, ownership == Ownership.BORROWED));
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
    public List<DmaRange> ranges() {
        return calls().rangesOfSpace(file(), number);
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
