/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/**
 * The devices of QEMU that the lab binds to vfio-pci. A fake kernel gets devices of the same shape. The registers of their
 * configuration spaces were read on Debian's 6.1 and 6.12, with QEMU 7.2; its firmware leaves COMMAND at 0x103.
 */
public enum TestDevice {
    /** PCI Express, without an expansion ROM; raises any of its 5 MSI-X vectors when told to. */
    E1000E("e1000e", 0x8086, 0x10d3, 1, 0x0014_0241, device -> device.intx()
            .msi(1)
            .msix(5)
            .bar(0, 0x2_0000)
            .bar(1, 0x2_0000)
            .ioBar(2, 0x20)
            .bar(3, 0x4000)
            .msixTable(3, 0)
            .msixPending(3, 0x2000)
            .powerManagement()
            .express()
            .resettable()
            .register(0, 8, 0, 0)
            .register(0, 0xa, 0x200, 0)
            .register(0, 0x2c, 0x8086, 0)
            .register(1, 2, 0x22, 0)
            .register(1, 4, 0, 0x1e00)
            .register(0x10, 2, 0x91, 0)
            .register(0x10, 4, 0x8000, 0)
            .register(0x10, 6, 0, 0)
            .register(0x10, 8, 0, 0)
            .register(0x10, 0xc, 0x411, 0)
            .register(0x10, 0x12, 0x11, 0)),
    /** Conventional PCI; raises its MSI, or its INTx until it is acknowledged. */
    EDU("edu", 0x1234, 0x11e8, 2, 0x0100_00ed, device -> device.intx()
            .msi(1)
            .bar(0, 0x10_0000)
            .register(0, 8, 0x10, 0)
            .register(0, 0xa, 0xff, 0)
            .register(0, 0x2c, 0x1af4, 0)
            .register(0, 0x2e, 0x1100, 0)),
    /** PCI Express with 65 MSI-X vectors, whose table is in BAR 0, and no MSI. */
    NVME("nvme", 0x1b36, 0x0010, 3, 0x0f01_07ff, device -> device.intx()
            .msix(65)
            .registers64(0, 0x4000)
            .msixTable(0, 0x2000)
            .msixPending(0, 0x3000)
            .powerManagement()
            .express()
            .resettable()
            .register(0, 8, 0x202, 0)
            .register(0, 0xa, 0x108, 0)
            .register(0, 0x2c, 0x1af4, 0)
            .register(0, 0x2e, 0x1100, 0)
            .register(0x10, 2, 0x92, 0)
            .register(0x10, 4, 0x8000, 0)
            .register(0x10, 8, 0, 0)
            .register(0x10, 0xc, 0x411, 0)
            .register(0x10, 0x12, 0x11, 0)
            .register(0x10, 0x26, 0x30, 0)
            .register(0x10, 0x28, 0, 0x8000)),
    /** QEMU's virtio-serial with more MSI-X vectors than some hosts can give. */
    SERIAL("virtio-serial with 1024 vectors", 0x1af4, 0x1043, 4, 0, device -> device.intx()
            .msix(1024)
            .bar(1, 0x8000)
            .bar64(4, 0x4000)
            .msixTable(1, 0)
            .msixPending(1, 0x4000)
            .capability(new byte[] {9, 0, 20, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
            .register(9, 2, 0x514, 0)
            .register(9, 4, 0, 0xff)
            .register(9, 6, 0, 0)
            .register(0, 8, 1, 0)
            .register(0, 0xa, 0x780, 0)
            .register(0, 0x2c, 0x1af4, 0)
            .register(0, 0x2e, 0x1100, 0));

    private static final Path DEVICES = Path.of("/sys/bus/pci/devices");

    private final String label;
    private final int vendor;
    private final int device;
    /** The IOMMU group on a fake kernel. */
    private final int group;
    /** The register at the start of BAR 0; 0 for a device without that BAR. */
    private final int first;

    @SuppressWarnings("ImmutableEnumChecker") // a lambda without state
    private final UnaryOperator<FakePciDevice.Builder> shape;

    TestDevice(String label, int vendor, int device, int group, int first, UnaryOperator<FakePciDevice.Builder> shape) {
        this.label = label;
        this.vendor = vendor;
        this.device = device;
        this.group = group;
        this.first = first;
        this.shape = shape;
    }

    /** Where a kernel has a device: its address and its IOMMU group. */
    public record Place(String address, int group) {}

    /** The place on a fake kernel. */
    public Place onFake() {
        return new Place("0000:00:0" + (group + 1) + ".0", group);
    }

    /** Adds a device of this shape. */
    public FakePciDevice addTo(FakeKernel fake, Place place) {
        FakePciDevice added = shape.apply(
                        fake.pciDevice(place.address(), place.group()).ids(vendor, device))
                // As firmware leaves COMMAND: the lab's arm64 has none, and Linux enabled memory.
                .register(0, 4, Machine.isX86() ? 0x103 : 2, 0x107)
                .add();
        if (first != 0) {
            added.setRegister(0, 0, first);
        }
        return added;
    }

    /** The place on this machine; empty unless vfio-pci is bound to the device. */
    public Optional<Place> onThisMachine() {
        return allOnThisMachine().stream().findFirst();
    }

    /** The places of all such devices to which vfio-pci is bound, by address. */
    List<Place> allOnThisMachine() {
        if (!Files.isDirectory(DEVICES)) {
            return List.of();
        }
        try (Stream<Path> devices = Files.list(DEVICES)) {
            return devices.filter(this::isThis)
                    .sorted()
                    .map(found ->
                            new Place(found.getFileName().toString(), Integer.parseInt(linkName(found, "iommu_group"))))
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private boolean isThis(Path candidate) {
        return number(candidate, "vendor") == vendor
                && number(candidate, "device") == device
                && linkName(candidate, "driver").equals("vfio-pci");
    }

    private static int number(Path device, String file) {
        try {
            return Integer.decode(Files.readString(device.resolve(file)).strip());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Empty without such a link. */
    private static String linkName(Path device, String link) {
        try {
            return Files.readSymbolicLink(device.resolve(link)).getFileName().toString();
        } catch (IOException e) {
            return "";
        }
    }

    /** The device's own file; empty where the kernel gives it none. */
    public Optional<String> file(boolean fake) {
        if (fake) {
            return Optional.of("vfio" + (group - 1));
        }
        return onThisMachine().flatMap(place -> {
            String[] names = DEVICES.resolve(place.address())
                    .resolve("vfio-dev")
                    .toFile()
                    .list();
            return names == null ? Optional.empty() : Arrays.stream(names).findFirst();
        });
    }

    /** Whether a real kernel with all of them answers in this run what the fakes are asked: here or in the lab. */
    static boolean areAsked() {
        return Machine.isOfLab()
                || List.of(values()).stream()
                        .allMatch(device -> device.onThisMachine().isPresent());
    }

    /** Why a test is skipped on this machine. */
    public String isMissing() {
        return "needs QEMU's " + label + " bound to vfio-pci: make lab runs this";
    }
}
