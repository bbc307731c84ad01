/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A host device that this process controls through VFIO. Thread-safe.
 *
 * <pre>{@code
 * try (Kernel kernel = Kernel.open();
 *         Vm vm = Vm.create(kernel);
 *         KvmVfio kvmVfio = KvmVfio.create(vm);
 *         VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio)) { ... }
 * }</pre>
 *
 * <p>Source: drivers/vfio/vfio_main.c, Documentation/driver-api/vfio.rst.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="kvmvfio"}
 */
public final class VfioDevice implements AutoCloseable {
    /** The file through which a device was opened. */
    public enum Access {
        /** The device is opened through its IOMMU group and a container. */
        GROUP,
        /** The device is opened through its own file and an iommufd. */
        CDEV,
        /** Other code opened the device and passed the descriptor to the library. */
        ADOPTED
    }

    private static final List<IrqKind> PCI_INDEXES =
            List.of(IrqKind.INTX, IrqKind.MSI, IrqKind.MSIX, IrqKind.ERROR, IrqKind.REQUEST);

    private final DeviceName name;
    private final Access access;
    private final DeviceCalls calls;
    private final DeviceInfo info;
    private final Interrupts interrupts;
    /** Handles that were opened only for this device and are closed with it. */
    private final Undo parts = new Undo();

    private final List<Runnable> listeners = new CopyOnWriteArrayList<>();

    private Optional<FileHolder.Hold> hold = Optional.empty();
    private Optional<DmaSpace> space = Optional.empty();
    private Optional<Fd> group = Optional.empty();

    private VfioDevice(DeviceName name, Access access, DeviceCalls calls) {
        this.name = name;
        this.access = access;
        this.calls = calls;
        this.info = info(calls);
        this.interrupts = new Interrupts(calls, info, access == Access.ADOPTED);
    }

    /**
     * Opens a device, and creates a DMA space for it alone. The device is opened through its own file and an iommufd if
     * the host has both and this user has access, otherwise through its group and a container. {@link #access} returns
     * which was used. KVM does not get the device's file. Interrupts work without it, but mediated devices and
     * non-coherent DMA need {@link #open(Kernel,DeviceName,FileHolder)}.
     *
     * <p>A group can be open only once at a time, so open all its devices through one {@link VfioFile}.
     *
     * @throws io.kvmirq.KernelException as {@code open} and {@code openDevice} in {@link VfioGroup} and {@link
     *     VfioCdev}. No descriptor stays open
     */
    public static VfioDevice open(Kernel kernel, DeviceName name) {
        return open(kernel, name, Optional.empty());
    }

    /**
     * Adds the group's or cdev's file to KVM-VFIO and then opens the device, as the kernel requires. {@link #close}
     * removes the file from KVM-VFIO before closing it. Otherwise like {@link #open(Kernel,DeviceName)}.
     *
     * @param holder the VM's KVM-VFIO device, {@code KvmVfio}
     */
    public static VfioDevice open(Kernel kernel, DeviceName name, FileHolder holder) {
        Objects.requireNonNull(holder, "holder is null");
        return open(kernel, name, Optional.of(holder));
    }

    private static VfioDevice open(Kernel kernel, DeviceName name, Optional<FileHolder> holder) {
        try (Undo undo = new Undo()) {
            VfioFile file = undo.add(VfioFile.open(kernel, name));
            Optional<FileHolder.Hold> hold = holder.map(owner -> undo.add(owner.hold(file)));
            DmaSpace space = undo.add(file.createSpace());
            VfioDevice device = file.openDevice(space, name);
            device.parts.add(space);
            device.parts.add(file);
            device.hold = hold;
            device.space = Optional.of(space);
            undo.keep();
            return device;
        }
    }

    /** Records the group through which the device was opened. Called only before the user gets the device. */
    void openedThrough(Fd file) {
        group = Optional.of(file);
    }

    /** Adds a step that runs after the device was closed. Called only before the user gets the device. */
    void onClose(AutoCloseable step) {
        parts.add(step);
    }

    /** Adds a step that runs after {@link #close} in the closing thread, without a lock. Its exceptions are logged. */
    public void addCloseListener(Runnable step) {
        Objects.requireNonNull(step, "step is null");
        listeners.add(step);
    }

    /** Removes a step that {@link #addCloseListener} added. */
    public void removeCloseListener(Runnable step) {
        Objects.requireNonNull(step, "step is null");
        listeners.remove(step);
    }

    /** @param fd the device's descriptor, closed with the device, but left open if this throws */
    static VfioDevice of(Fd fd, DeviceName name, Access access) {
        return new VfioDevice(name, access, new DeviceCalls(fd));
    }

    /**
     * Wraps a device that other code opened. All descriptors of a device share its interrupts, and the kernel does not
     * report which of them have eventfds. Arming therefore replaces another program's eventfds, and closing the armed
     * interrupts disables all interrupts of their kind for it too. If arming fails, the kernel may have detached that
     * program's eventfds, and {@link VectorsDisturbedException} is thrown.
     *
     * @param number an open descriptor of the device
     * @param name the device's name, for error messages
     * @throws IllegalArgumentException if /proc shows that the descriptor is not open, or is another kind of file
     * @throws io.kvmirq.KernelException ENOTTY or EINVAL if {@code number} is not a VFIO device. The descriptor stays
     *     open
     */
    public static VfioDevice adopt(Kernel kernel, DeviceName name, int number, Ownership ownership) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(ownership, "ownership is null");
        VfioCalls files = new VfioCalls(kernel);
        String expected = "a VFIO device, from VFIO_GROUP_GET_DEVICE_FD or /dev/vfio/devices";
        return files.adoptDevice(name, number, ownership, expected, fd -> of(fd, name, Access.ADOPTED));
    }

    private static DeviceInfo info(DeviceCalls calls) {
        ByteBuffer info = calls.info();
        int flags = info.getInt(VfioDeviceInfo.FLAGS);
        boolean pci = (flags & UapiVfio.VFIO_DEVICE_FLAGS_PCI) != 0;
        boolean platform = (flags & (UapiVfio.VFIO_DEVICE_FLAGS_PLATFORM | UapiVfio.VFIO_DEVICE_FLAGS_AMBA)) != 0;
        int count = Math.max(0, info.getInt(VfioDeviceInfo.NUM_IRQS));
        List<IrqInfo> irqs = calls.irqInfos(
                pci
                        ? PCI_INDEXES.subList(0, Math.min(count, PCI_INDEXES.size())) // a newer kernel may have more
                        : Collections.nCopies(count, IrqKind.PLATFORM));
        return new DeviceInfo(
                pci ? DeviceInfo.Bus.PCI : platform ? DeviceInfo.Bus.PLATFORM : DeviceInfo.Bus.OTHER,
                (flags & UapiVfio.VFIO_DEVICE_FLAGS_RESET) != 0,
                info.getInt(VfioDeviceInfo.NUM_REGIONS),
                irqs);
    }

    /** The device's name on its bus. */
    public DeviceName name() {
        return name;
    }

    /** The file through which the device was opened. */
    public Access access() {
        return access;
    }

    /** VFIO's description of the device, as read at open. */
    public DeviceInfo info() {
        return info;
    }

    /** The device's descriptor. Keep it open by {@link Fd#lease} while you use its number. */
    public Fd fd() {
        return calls.device();
    }

    /**
     * The DMA space that was created together with the device.
     *
     * @throws IllegalStateException if the caller created the space, or the device comes from {@link #adopt}
     */
    public DmaSpace dma() {
        return space.orElseThrow(() -> new IllegalStateException(
                this + " was not opened with a DMA space of its own: use the one that it was opened in"));
    }

    /**
     * Whether {@link #open(Kernel,DeviceName,FileHolder)} added the device's file to KVM-VFIO before opening the
     * device. False for a device from {@link #adopt}, because it is not known whether the file was added.
     */
    public boolean isHeld() {
        return hold.isPresent();
    }

    /** The number of VFIO_DEVICE_SET_IRQS calls that this object has made to change interrupts. */
    public long irqChanges() {
        return interrupts.changes();
    }

    Interrupts interrupts() {
        return interrupts;
    }

    /**
     * Resets only this device, not its bus. The config space keeps its values, and armed interrupts stay armed. While
     * another thread on the host holds the device lock, the call retries for a quarter of a second.
     *
     * @throws io.kvmirq.KernelException EINVAL if the device cannot be reset alone; EAGAIN if the lock is still held
     *     after the retries. When the host requests the device back, it holds the lock until {@link #close}
     */
    public void reset() {
        calls.reset();
    }

    /**
     * Resets the bus or slot of a device that {@link #reset} cannot reset, if no other device shares the bus or slot.
     * The config space keeps its values, and armed interrupts stay armed. While the device is locked, the call retries
     * like {@link #reset}.
     *
     * @throws io.kvmirq.KernelException ENODEV if the device is on a root bus, because no bridge can reset it; EAGAIN
     *     if the device is still locked
     * @throws IllegalStateException if the reset would affect other devices, or the device comes from {@link #adopt}
     */
    public void hotReset() {
        if (access == Access.ADOPTED) {
            throw new IllegalStateException(
                    this + " was adopted: its owner has the files that resetting its bus needs");
        }
        int devices = calls.hotResetAffects();
        if (devices > 1) {
            throw new IllegalStateException(
                    "resetting the bus of " + this + " would reset other devices, too: " + (devices - 1));
        }
        calls.hotReset(group);
    }

    /**
     * Resets the device alone, or with its bus if the kernel refuses that. If both fail, the call disables bus
     * mastering, so that the device cannot do DMA until a later user enables it.
     *
     * @throws DeviceNotResetException if the device was not reset. The exception reports whether bus mastering is off
     * @throws UnsupportedOperationException if the device is not a PCI device
     */
    public void resetOrStop() {
        PciConfig config = config();
        List<RuntimeException> refusals = new ArrayList<>();
        List<Runnable> resets = info.resettable() ? List.of(this::reset, this::hotReset) : List.of(this::hotReset);
        for (Runnable reset : resets) {
            try {
                reset.run();
                return;
            } catch (ClosedHandleException e) {
                throw e; // closing the device has disabled its bus mastering
            } catch (KernelException | IllegalStateException e) {
                refusals.add(e);
            }
        }
        Optional<String> runs = Optional.empty();
        try {
            config.disableBusMaster();
        } catch (KernelException | IllegalStateException e) {
            runs = Optional.ofNullable(e.getMessage());
        }
        throw new DeviceNotResetException(info.resettable(), refusals, runs);
    }

    // Regions

    /**
     * Returns a device region.
     *
     * @param index VFIO's region index, where 0–5 are a PCI device's BARs
     * @throws io.kvmirq.KernelException EINVAL if the device has no such region
     */
    public Region region(int index) {
        return new Region(calls, index, calls.regionInfo(index));
    }

    /** The config space. Throws UnsupportedOperationException if the device is not a PCI device. */
    public PciConfig config() {
        if (info.bus() != DeviceInfo.Bus.PCI) {
            throw new UnsupportedOperationException(this + " is not a PCI device: it has no configuration space");
        }
        return new PciConfig(region(UapiVfio.VFIO_PCI_CONFIG_REGION_INDEX));
    }

    // Interrupts

    /** All MSI-X vectors. Throws IllegalArgumentException if the device has no MSI-X. */
    public MessageIrqs msix() {
        return msix(0, info(UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, IrqKind.MSIX).count());
    }

    /**
     * Consecutive MSI-X vectors, numbered as in the device's MSI-X table.
     *
     * @throws IllegalArgumentException if the device does not have these vectors
     */
    public MessageIrqs msix(int first, int count) {
        return messages(UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, IrqKind.MSIX, first, count);
    }

    /**
     * Consecutive MSI vectors, counted from 0.
     *
     * @throws IllegalArgumentException if the device does not have these vectors
     */
    public MessageIrqs msi(int first, int count) {
        return messages(UapiVfio.VFIO_PCI_MSI_IRQ_INDEX, IrqKind.MSI, first, count);
    }

    private MessageIrqs messages(int index, IrqKind kind, int first, int count) {
        IrqInfo irqs = info(index, kind);
        irqs.requireVectors(first, count, this);
        return new MessageIrqs(this, irqs, index, first, count);
    }

    /**
     * A PCI device's pin interrupt (INTx).
     *
     * @throws IllegalArgumentException if the device has no INTx
     */
    public LineIrq intx() {
        info(UapiVfio.VFIO_PCI_INTX_IRQ_INDEX, IrqKind.INTX).requireVectors(0, 1, this);
        return new LineIrq(this, UapiVfio.VFIO_PCI_INTX_IRQ_INDEX);
    }

    /**
     * A platform device's interrupt.
     *
     * @param number the interrupt's number, counted from 0 as in the firmware's device description
     * @throws IllegalArgumentException if the device has no interrupt with this number
     */
    public LineIrq platformIrq(int number) {
        if (info.bus() == DeviceInfo.Bus.PCI
                || number < 0
                || number >= info.irqs().size()) {
            throw new IllegalArgumentException("interrupt " + number + " of " + this + " does not exist: "
                    + (info.bus() == DeviceInfo.Bus.PCI
                            ? "a PCI device has INTx, MSI and MSI-X"
                            : "it has " + info.irqs().size() + ", numbered from 0"));
        }
        return new LineIrq(this, number);
    }

    /**
     * The interrupt that reports uncorrectable errors.
     *
     * @throws IllegalArgumentException if the device cannot report errors, because it is not PCI Express
     */
    public NoticeIrq err() {
        info(UapiVfio.VFIO_PCI_ERR_IRQ_INDEX, IrqKind.ERROR).requireVectors(0, 1, this);
        return new NoticeIrq(this, UapiVfio.VFIO_PCI_ERR_IRQ_INDEX);
    }

    /**
     * The interrupt by which the host requests the device back. Close the device when this interrupt arrives, because
     * the host waits until it is closed.
     */
    public NoticeIrq req() {
        info(UapiVfio.VFIO_PCI_REQ_IRQ_INDEX, IrqKind.REQUEST).requireVectors(0, 1, this);
        return new NoticeIrq(this, UapiVfio.VFIO_PCI_REQ_IRQ_INDEX);
    }

    private IrqInfo info(int index, IrqKind kind) {
        if (info.bus() != DeviceInfo.Bus.PCI || index >= info.irqs().size()) {
            throw new IllegalArgumentException(this + " has no " + kind.label() + ": it is not a PCI device");
        }
        return info.irqs().get(index);
    }

    /**
     * Disarms all interrupts, removes the device's file from KVM-VFIO if {@link #open} added it, and closes the device
     * and the files that were opened with it. Idempotent, never fails.
     */
    @Override
    public void close() {
        interrupts.close();
        hold.ifPresent(held -> calls.tellOfEnd("the Hold of the file", held::close));
        calls.closeDevice();
        synchronized (parts) {
            parts.close();
        }
        listeners.forEach(step -> calls.tellOfEnd("a close listener", step));
    }

    @Override
    public String toString() {
        return calls.device().toString();
    }
}
