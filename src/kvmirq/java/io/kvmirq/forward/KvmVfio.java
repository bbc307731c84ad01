/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.FileHolder;
import io.kvmirq.vfio.VfioFile;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * A VM's KVM-VFIO device, at most one per VM. It passes the guest's VFIO files to KVM, and the VM to their VFIO
 * drivers. Without it, interrupts still reach the guest, but non-coherent DMA and drivers that need the VM, such as
 * those of mediated devices, do not work. Thread-safe.
 *
 * <p>Add a file before its device is opened, and remove it before the file is closed, because both calls need the open
 * descriptor. {@code VfioDevice.open(kernel, name, kvmVfio)} and the device's {@code close} do this for you.
 *
 * <p>Source: virt/kvm/vfio.c, Documentation/virt/kvm/devices/vfio.rst.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="kvmvfio"}
 */
public final class KvmVfio implements FileHolder, AutoCloseable {
    private final ForwardCalls calls;
    private final Fd fd;
    /** The added files and forwarded lines, which end when this object is closed. */
    private final Set<Hold> holds = new LinkedHashSet<>();

    private final Abi2014 abi2014;

    private KvmVfio(Fd fd) {
        this.calls = new ForwardCalls(fd.kernel());
        this.fd = fd;
        this.abi2014 = new Abi2014(this, calls, holds);
    }

    /**
     * @throws io.kvmirq.KernelException EBUSY if the VM already has a KVM-VFIO device, which {@link #adopt} can wrap;
     *     ENODEV if the kernel lacks KVM-VFIO
     */
    public static KvmVfio create(Vm vm) {
        Objects.requireNonNull(vm, "vm is null");
        try (Undo undo = new Undo()) {
            KvmVfio made =
                    new KvmVfio(undo.add(vm.createDevice(KvmDevice.Type.VFIO)).fd());
            undo.keep();
            return made;
        }
    }

    /** Wraps a VMM's KVM-VFIO device. Throws IllegalArgumentException if {@code number} is not an open KVM device. */
    public static KvmVfio adopt(Kernel kernel, int number, Ownership ownership) {
        Objects.requireNonNull(ownership, "ownership is null");
        return new ForwardCalls(kernel).adopt(number, ownership, KvmVfio::new);
    }

    /** The KVM-VFIO device's descriptor. A {@link Fd#lease} keeps it open while you use its number. */
    public Fd fd() {
        return fd;
    }

    Abi2014 abi2014() {
        return abi2014;
    }

    private final class Added implements Hold {
        private final Fd.Lease device;
        private final Fd.Lease file;
        private boolean closed;

        Added(VfioFile added) {
            try (Undo undo = new Undo()) {
                this.device = undo.add(fd.lease());
                this.file = undo.add(added.fd().lease());
                calls.add(device, file, added.toString());
                undo.keep();
            }
        }

        @Override
        public void close() {
            synchronized (KvmVfio.this) {
                if (!closed) {
                    calls.remove(device, file);
                    closed = true;
                    holds.remove(this);
                    file.close();
                    device.close();
                }
            }
        }
    }

    /**
     * Adds a group's or device's VFIO file. Closing the result removes the file.
     *
     * @throws io.kvmirq.KernelException EEXIST if KVM already has the file, EINVAL if {@code file} is not a VFIO file,
     *     or is a device file and the kernel is older than 6.6
     * @throws IllegalStateException while a device is open through the file, because a driver gets the VM only when the
     *     device is opened
     */
    @Override
    public synchronized Hold hold(VfioFile file) {
        Objects.requireNonNull(file, "file is null");
        synchronized (file) { // no device can be opened between the check and the addition
            if (file.isUsed()) {
                throw new IllegalStateException(
                        "a device was opened through " + file + " before the file was added to KVM-VFIO, so it would"
                                + " not be associated with the VM: add the file first, then open the device");
            }
            Added added = new Added(file);
            holds.add(added);
            return added;
        }
    }

    /** Ends all forwardings by {@link Abi2014}, removes all files and closes the device. Idempotent, never fails. */
    @Override
    public synchronized void close() {
        List.copyOf(holds).forEach(Hold::close);
        calls.closeDevice(fd);
    }

    @Override
    public String toString() {
        return fd.toString();
    }
}
