/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.PciAddress;
import io.kvmirq.arch.intx.model.InterruptMode;
import io.kvmirq.arch.intx.model.LineController;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.KernelOfFile;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** The devices of a host, and VFIO's files, which exist only while the host has a device. */
public final class VfioHost implements PciHost {
    private static final String DIRECTORY = "/dev/vfio/";
    private static final long PAGE = 4096;
    private static final int FIRST_LINE = 32;
    /** The host irq of devices that are bound to host drivers. */
    private static final int IRQ_OF_HOST = 11;

    private final KernelOfFile host;
    private final HostVectors vectors = new HostVectors();
    private final HostAddresses addresses = new HostAddresses();
    private final List<VfioGroup> groups = new ArrayList<>();
    private int nextLine = FIRST_LINE;

    private boolean nointxmask;
    /** RLIMIT_MEMLOCK in bytes; empty if the process has CAP_IPC_LOCK. */
    private OptionalLong lockLimit = OptionalLong.empty();

    public VfioHost(KernelOfFile host) {
        this.host = host;
    }

    /** Adds a device bound to vfio-pci, on the interrupt line of {@code neighbour} or, if empty, on its own line. */
    public VfioPci add(PciFunction function, Optional<VfioPci> neighbour) {
        checkNew(function.address());
        PciLine line = neighbour.map(VfioPci::line).orElseGet(() -> newLine(function.intx()));
        VfioGroup group = group(function.group());
        VfioPci device = new VfioPci(host, function.placed(addresses), group, this, line);
        group.devices().add(device);
        return device;
    }

    /** A new line. Without an interrupt pin it gets no host irq number. */
    private PciLine newLine(boolean pin) {
        LineController controller = host.build().arm64() ? LineController.GIC : LineController.IOAPIC;
        return pin ? new PciLine(host, controller, vectors.line(), nextLine++) : new PciLine(host, controller, 0, 0);
    }

    /** Adds a device bound to a host driver. VFIO then cannot use the IOMMU group of the device. */
    public void addToHost(PciFunction function) {
        checkNew(function.address());
        group(function.group()).ofHost().add(function.placed(addresses));
    }

    private void checkNew(PciAddress address) {
        if (functions().anyMatch(function -> function.address().equals(address))) {
            throw new IllegalArgumentException("a device has the address " + address + " already: use another one");
        }
    }

    private Stream<FakeVfioDevice> devices() {
        return groups.stream().flatMap(group -> group.devices().stream());
    }

    private Stream<VfioPci> pci() {
        return devices().filter(VfioPci.class::isInstance).map(VfioPci.class::cast);
    }

    /** All PCI devices in the order of addresses, those of host drivers included. */
    private Stream<PciFunction> functions() {
        return Stream.concat(pci().map(VfioPci::function), groups.stream().flatMap(group -> group.ofHost().stream()))
                .sorted(Comparator.comparing(PciFunction::address));
    }

    @Override
    public List<PciFunction> onBusOf(PciFunction function) {
        return functions()
                .filter(other -> other.address().domain() == function.address().domain()
                        && other.address().bus() == function.address().bus())
                .toList();
    }

    @Override
    public List<VfioPci> boundAmong(List<PciFunction> functions) {
        return pci().filter(device -> functions.contains(device.function())).toList();
    }

    @Override
    public HostVectors vectors() {
        return vectors;
    }

    public VfioPlatform add(String name, int group, List<Boolean> levels, boolean resets) {
        if (devices().anyMatch(device -> device.name().equals(name))) {
            throw new IllegalArgumentException("a device has the name " + name + " already: use another one");
        }
        VfioGroup of = group(group);
        VfioPlatform device = new VfioPlatform(host, name, of, freeIndex(), levels, resets, () -> nextLine++);
        of.devices().add(device);
        return device;
    }

    /** The group with a number. Open files may still hold an older group without devices, which gets no new ones. */
    private VfioGroup group(int number) {
        groups.removeIf(VfioGroup::isGone);
        for (VfioGroup group : groups) {
            if (group.number() == number) {
                return group;
            }
        }
        VfioGroup added = new VfioGroup(number);
        groups.add(added);
        return added;
    }

    public void limitVectors(int free) {
        vectors.setFree(free);
    }

    public void limitLockedMemory(long bytes) {
        lockLimit = OptionalLong.of(bytes);
    }

    /** Whether an IOMMU driver may pin more memory. {@code lock_acct} of vfio_pin_pages_remote() counts whole pages. */
    private boolean mayPin(long bytes) {
        return lockLimit.isEmpty() || bytes <= (lockLimit.getAsLong() & -PAGE) - pinned();
    }

    /** The pinned bytes: mappings of containers, and of address spaces that an IOMMU uses. */
    private long pinned() {
        long inContainers = groups.stream()
                .map(VfioGroup::container)
                .filter(Objects::nonNull)
                .distinct()
                .mapToLong(ContainerFile::pinned)
                .sum();
        long inSpaces = devices()
                .map(FakeVfioDevice::bound)
                .filter(Objects::nonNull)
                .map(BoundDevice::table)
                .filter(Objects::nonNull)
                .map(PageTable::space)
                .distinct()
                .mapToLong(AddressSpace::bytes)
                .sum();
        return inContainers + inSpaces;
    }

    public void setNointxmask(boolean on) {
        if (pci().findAny().isPresent()) {
            throw new IllegalStateException(
                    "vfio-pci has devices already: set nointxmask before you add the first one");
        }
        nointxmask = on;
    }

    @Override
    public boolean isNointxmask() {
        return nointxmask;
    }

    /** Adds the sysfs files of all devices, and the links to their groups and drivers. */
    public void show(DeviceFiles files) {
        files.addParameter("nointxmask", nointxmask);
        lockLimit.ifPresent(limit -> files.addLockLimit(limit, pinned()));
        List<VfioPci> pci = pci().toList();
        pci.forEach(device -> files.add(
                device.function(), device.line().irq(), device.registers().bytes()));
        groups.forEach(group ->
                group.ofHost().forEach(function -> files.add(function, IRQ_OF_HOST, new PciImage(function).values())));
        pci.stream().map(VfioPci::line).distinct().forEach(line -> files.addLine(line, handlersOf(line)));
        pci.forEach(device -> device.vectors().show(files));
        if (host.build().cdev()) {
            devices().forEach(files::addCdev);
        }
        for (VfioGroup group : groups) {
            for (FakeVfioDevice device : group.devices()) {
                files.addMember(group, device.bus(), device.name(), "vfio-" + device.bus());
            }
            for (PciFunction function : group.ofHost()) {
                files.addMember(group, "pci", function.address().toString(), "driver-of-host");
            }
        }
    }

    private List<String> handlersOf(PciLine line) {
        Stream<String> ofVfio = pci().filter(device -> device.line() == line && device.mode() == InterruptMode.INTX)
                .map(device -> "vfio-intx(" + device.name() + ")");
        return Stream.concat(Stream.generate(() -> "driver-of-host").limit(line.drivers()), ofVfio)
                .toList();
    }

    @Override
    public int freeIndex() {
        return IntStream.iterate(0, index -> index + 1)
                .filter(index -> devices().noneMatch(device -> device.index() == index))
                .findFirst()
                .orElseThrow();
    }

    /** Opens /dev/iommu or a file in or below /dev/vfio. Returns a descriptor or a negative errno. */
    public int open(String path) {
        if (host.build().cdev()) {
            if (path.equals("/dev/iommu")) {
                return host.install(new IommuFile(host, this::mayPin));
            }
            Optional<FakeVfioDevice> device = devices()
                    .filter(candidate -> path.equals(DIRECTORY + "devices/vfio" + candidate.index()))
                    .findFirst();
            if (device.isPresent() && host.isFull()) {
                return host.refuse(FileAnswer.FD_TABLE_FULL);
            }
            if (device.isPresent()) {
                return host.install(new DeviceFile(host, device.get(), null));
            }
        }
        for (VfioGroup group : groups) {
            if (!group.devices().isEmpty()) {
                if (path.equals(DIRECTORY + "vfio")) {
                    return host.install(new ContainerFile(host, this::mayPin));
                }
                if (path.equals(DIRECTORY + group.number())) {
                    return open(group);
                }
            }
        }
        return host.refuse(FileAnswer.NO_SUCH_FILE);
    }

    /** Opens a group. Checks for a free descriptor first, as {@code do_sys_openat2()} does. */
    private int open(VfioGroup group) {
        if (host.isFull()) {
            return host.refuse(FileAnswer.FD_TABLE_FULL);
        }
        return group.hasCdev() || group.isOpen()
                ? host.refuse(VfioAnswer.VFIO_GROUP_BUSY)
                : host.install(new GroupFile(host, group));
    }
}
