/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.explain.Answers;
import io.kvmirq.explain.IommufdAnswer;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.undo.Undo;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * A device's own file, {@code /dev/vfio/devices/vfioN}, which can be bound to an iommufd. Device files exist since
 * Linux 6.6 with CONFIG_VFIO_DEVICE_CDEV, which Debian's kernels do not set. Thread-safe.
 *
 * <p>Source: drivers/vfio/device_cdev.c.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="cdev"}
 */
public final class VfioCdev extends VfioFile {
    private static final String DIRECTORY = "/dev/vfio/devices/";

    private final DeviceName name;
    private boolean opened;

    private VfioCdev(VfioCalls calls, Fd fd, DeviceName name) {
        super(calls, fd);
        this.name = name;
    }

    /**
     * Finds a device's /dev/vfio/devices/vfioN in sysfs, and opens it.
     *
     * @throws KernelException ENOENT if the device is not bound to a VFIO driver, or the kernel has no device files;
     *     EACCES if access is denied; ENODEV if the device was removed
     */
    public static VfioCdev open(Kernel kernel, DeviceName name) {
        VfioCalls calls = new VfioCalls(kernel);
        return open(calls, calls.device(name));
    }

    static VfioCdev open(VfioCalls calls, HostDevice device) {
        DeviceName name = device.name();
        String file = device.deviceFile()
                .orElseThrow(() -> new KernelException(
                        KernelCall.VFIO_CDEV.label(),
                        name.toString(),
                        Errno.ENOENT,
                        device.notBound()
                                .orElseGet(() -> Answers.sentence(KernelCall.VFIO_CDEV, Errno.ENOENT, Set.of()))));
        return calls.open(
                KernelCall.VFIO_CDEV,
                "vfio device " + name,
                DIRECTORY + file,
                Optional.of(device),
                fd -> new VfioCdev(calls, fd, name));
    }

    /**
     * Wraps a device file that other code opened. The file must not be bound to an iommufd.
     *
     * @param number the descriptor of {@code /dev/vfio/devices/vfioN}
     * @param name the device's name, for error messages
     * @throws IllegalArgumentException if /proc shows that the descriptor is not open, or is another kind of file
     */
    public static VfioCdev adopt(Kernel kernel, DeviceName name, int number, Ownership ownership) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(ownership, "ownership is null");
        VfioCalls calls = new VfioCalls(kernel);
        return calls.adoptDevice(
                name,
                number,
                ownership,
                "the file of a VFIO device, /dev/vfio/devices/vfioN",
                fd -> new VfioCdev(calls, fd, name));
    }

    @Override
    public Ioas createSpace() {
        return Ioas.create(fd().kernel());
    }

    /**
     * Binds the file to the iommufd of {@code space}, and attaches the device to the space. {@link VfioDevice#close}
     * also closes the file. Close this object after a failure, because a file cannot be bound twice.
     *
     * @throws KernelException EPERM if host drivers use other devices in the group (the message names them); EBUSY if
     *     the device's group is open; EINVAL if the file is already bound
     */
    public synchronized VfioDevice openDevice(Ioas space) {
        if (isUsed()) {
            throw new IllegalStateException(this
                    + (opened ? " is open already: use its VfioDevice" : " is bound already: open the file again"));
        }
        HostDevice device = calls().device(name);
        try (Undo undo = new Undo()) {
            undo.step(space::use, space::unuse);
            calls().bind(
                            fd(),
                            space.iommufd(),
                            () -> device.notPermitted(VfioAnswer.BIND_NO_REMAPPING, IommufdAnswer.BIND_ELSEWHERE));
            use(); // the driver has taken the VM from the file
            calls().attach(fd(), space.number());
            VfioDevice made = VfioDevice.of(fd(), name, VfioDevice.Access.CDEV);
            made.onClose(space::unuse);
            made.onClose(this::unuse);
            opened = true;
            undo.keep();
            return made;
        }
    }

    @Override
    public VfioDevice openDevice(DmaSpace space, DeviceName of) {
        if (!of.equals(name)) {
            throw new IllegalArgumentException(this + " is not the file of " + of + ": open the file of that device");
        }
        if (space instanceof Ioas ioas) {
            return openDevice(ioas);
        }
        throw new IllegalArgumentException(this + " needs an address space of an iommufd, not " + space);
    }

    /**
     * Closes the file, unless a device was opened through it, in which case only closing the device does. Idempotent,
     * never fails.
     */
    @Override
    public synchronized void close() {
        if (!opened) {
            calls().closeFile(fd());
        }
    }
}
