/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.undo.Undo;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A host IOMMU group, {@code /dev/vfio/N}. A group can be open only once at a time, so one object opens all of the
 * group's devices. Open devices keep the group open in the kernel, so this object may be closed first. Thread-safe.
 *
 * <p>Source: drivers/vfio/group.c.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="steps"}
 */
public final class VfioGroup extends VfioFile {
    private final boolean adopted;
    private @Nullable VfioContainer container;

    private VfioGroup(VfioCalls calls, Fd fd, boolean adopted) {
        super(calls, fd);
        this.adopted = adopted;
    }

    /** Whether a driver is a VFIO driver: vfio-pci, vfio-platform, or a variant such as mlx5_vfio_pci. */
    public static boolean isDriver(String driver) {
        return HostDevice.isDriver(driver);
    }

    /**
     * Whether this driver, bound to a device in a group, blocks the group for users. VFIO drivers, pci-stub and
     * pcieport do not, because they do not use the kernel's DMA API.
     *
     * <p>Source: {@code driver_managed_dma} in {@code struct pci_driver} since Linux 5.19.
     */
    public static boolean isBlockedBy(String driver) {
        return HostDevice.isBlockedBy(driver);
    }

    /**
     * Finds a device's group in sysfs, and opens it.
     *
     * @throws io.kvmirq.KernelException ENODEV if the device does not exist or has no IOMMU; ENOENT if the device is
     *     not bound to a VFIO driver; EACCES or EPERM if access is denied; EBUSY if the group is already open
     */
    public static VfioGroup open(Kernel kernel, DeviceName name) {
        VfioCalls calls = new VfioCalls(kernel);
        return open(calls, calls.device(name));
    }

    static VfioGroup open(VfioCalls calls, HostDevice device) {
        int number = device.group();
        return calls.open(
                KernelCall.VFIO_GROUP,
                "vfio group " + number,
                "/dev/vfio/" + number,
                Optional.of(device),
                fd -> new VfioGroup(calls, fd, false));
    }

    /**
     * Wraps a group that other code opened, in this process or another one.
     *
     * @param number the descriptor of {@code /dev/vfio/N}
     * @throws IllegalArgumentException if /proc shows that the descriptor is not open, or is another kind of file
     */
    public static VfioGroup adopt(Kernel kernel, int number, Ownership ownership) {
        Objects.requireNonNull(ownership, "ownership is null");
        VfioCalls calls = new VfioCalls(kernel);
        return calls.adoptGroup(number, ownership, fd -> new VfioGroup(calls, fd, true));
    }

    @Override
    public VfioContainer createSpace() {
        return VfioContainer.create(fd().kernel());
    }

    /**
     * Opens a device in the group. The first device adds the group to the container, where the group stays.
     *
     * @throws io.kvmirq.KernelException ENODEV if the device is not in the group or not bound to a VFIO driver; EPERM
     *     if host drivers use other devices in the group (the message names them)
     * @throws IllegalStateException if the group is in another container
     */
    public synchronized VfioDevice openDevice(DeviceName name, VfioContainer in) {
        Objects.requireNonNull(in, "in is null");
        if (container != null && container != in) {
            throw new IllegalStateException(
                    this + " is in " + container + " already: open all its devices in that container");
        }
        HostDevice device = calls().device(name);
        try (Undo undo = new Undo()) {
            if (container == null) {
                undo.step(
                        () -> in.attach(fd(), () -> device.notPermitted(VfioAnswer.GROUP_NO_REMAPPING)),
                        () -> calls().unsetContainer(fd()));
            }
            VfioDevice opened = open(device);
            container = in;
            undo.keep();
            return opened;
        }
    }

    /**
     * Opens a device in a group that other code opened and added to a container.
     *
     * @throws io.kvmirq.KernelException ENODEV if the device is not in the group or not bound to a VFIO driver; EINVAL
     *     if the group is not in a container
     * @throws IllegalStateException if {@link #open} opened the group
     */
    public synchronized VfioDevice openDevice(DeviceName name) {
        Objects.requireNonNull(name, "name is null");
        if (!adopted && !fd().isClosed()) {
            throw new IllegalStateException(this + " was opened here: name the container for its devices");
        }
        return open(calls().device(name));
    }

    private VfioDevice open(HostDevice device) {
        return calls().openDevice(fd(), device.name(), device::notBound, opened -> {
            VfioDevice made = VfioDevice.of(opened, device.name(), VfioDevice.Access.GROUP);
            made.openedThrough(fd());
            made.onClose(this::unuse);
            use();
            return made;
        });
    }

    @Override
    public VfioDevice openDevice(DmaSpace space, DeviceName name) {
        Objects.requireNonNull(name, "name is null");
        if (Objects.requireNonNull(space, "space is null") instanceof VfioContainer of) {
            return openDevice(name, of);
        }
        throw new IllegalArgumentException(this + " needs a container, not " + space);
    }

    /** Closes this object. Devices opened through it keep the group open in the kernel. Idempotent, never fails. */
    @Override
    public void close() {
        calls().closeFile(fd());
    }
}
