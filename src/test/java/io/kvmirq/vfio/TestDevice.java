/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.contract.Hardware;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Machine;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;

/** A device to test with, and what makes its hardware act: a fake one, QEMU's e1000e or QEMU's edu. */
abstract class TestDevice {
    static final PciAddress FAKE = PciAddress.parse("0000:00:02.0");
    /** As many as the e1000e has. */
    static final int VECTORS = 5;

    private final String label;

    private TestDevice(String label) {
        this.label = label;
    }

    @Override
    public String toString() {
        return label;
    }

    abstract Kernel kernel();

    /** Skips, with the reason, where there is no such device. */
    abstract PciAddress address();

    /** Makes the opened device ready to raise interrupts. */
    void prepare(VfioDevice device) {
        device.config().enableBusMaster();
    }

    abstract Hardware hardware(VfioDevice device);

    /** The device sends the message of a vector of MSI-X. */
    void send(VfioDevice device, int vector) {
        hardware(device).send(vector);
    }

    /** Before interrupts are disabled: the device does nothing more of its own accord. */
    void settle(VfioDevice device) {}

    /** The device asserts INTx until {@link #serve}. */
    void request(VfioDevice device) {
        hardware(device).request();
    }

    void serve(VfioDevice device) {
        hardware(device).serve();
    }

    /** With MSI-X of {@link #VECTORS} vectors. */
    static Stream<TestDevice> messages() {
        return all(new Real(E1000E, Hardware::e1000e), "6.1", "6.12", "7.1", "7.1,cdev");
    }

    /** With INTx. */
    static Stream<TestDevice> lines() {
        return all(new Real(EDU, Hardware::edu), "6.1", "6.12", "7.1", "6.12,cdev");
    }

    /** The machines of the lab are slow, and a fake device answers the same elsewhere. */
    private static Stream<TestDevice> all(TestDevice real, String... profiles) {
        Stream<TestDevice> fakes = Stream.of(profiles).map(TestDevice::fake);
        return Stream.concat(Machine.isOfLab() ? Stream.empty() : fakes, Stream.of(real));
    }

    static FakeKernel fakeKernel(String profile) {
        return new FakeKernel(Profile.parse(profile));
    }

    static Fake fake(String profile) {
        return new Fake(fakeKernel(profile), profile);
    }

    static final class Fake extends TestDevice {
        final FakeKernel fake;
        final FakePciDevice device;

        private Fake(FakeKernel fake, String profile) {
            super("fake " + profile);
            this.fake = fake;
            this.device = fake.pciDevice(FAKE.toString(), 5)
                    .msix(VECTORS)
                    .msi(1)
                    .intx()
                    .express()
                    .resettable()
                    .add();
        }

        @Override
        Kernel kernel() {
            return fake.open();
        }

        @Override
        PciAddress address() {
            return FAKE;
        }

        @Override
        Hardware hardware(VfioDevice opened) {
            return Hardware.of(device);
        }
    }

    /** One that the lab binds to vfio-pci. */
    private static final class Real extends TestDevice {
        private final io.kvmirq.contract.TestDevice which;
        private final Function<Hardware.Registers, Hardware> model;

        Real(io.kvmirq.contract.TestDevice which, Function<Hardware.Registers, Hardware> model) {
            super("QEMU's " + which);
            this.which = which;
            this.model = model;
        }

        @Override
        Kernel kernel() {
            return Kernel.open(Backends.AUTO);
        }

        @Override
        PciAddress address() {
            Optional<io.kvmirq.contract.TestDevice.Place> place = which.onThisMachine();
            assumeTrue(place.isPresent(), which.isMissing());
            return PciAddress.parse(place.orElseThrow().address());
        }

        @Override
        Hardware hardware(VfioDevice device) {
            return model.apply(device.region(0)::putInt);
        }

        @Override
        void prepare(VfioDevice device) {
            super.prepare(device);
            device.config().enableMemory();
            hardware(device).start();
        }

        /** QEMU's e1000e counts 128 us from each message, and aborts if MSI-X is off at their end. */
        @Override
        void settle(VfioDevice device) {
            if (which == E1000E) {
                device.reset();
            }
        }
    }

    /** The files of the device's host. */
    HostFiles hostFiles() {
        return this instanceof Fake of ? of.fake.hostFiles() : HostFiles.at(Path.of("/"));
    }

    /** Whether the kernel has files of VFIO devices. */
    boolean hasDeviceFiles() {
        return this instanceof Fake
                ? label.endsWith("cdev")
                : !hostFiles().list("dev/vfio/devices").isEmpty();
    }

    /** Whether the kernel of this device adds vectors to enabled ones; since 6.5 where the IOMMU's driver can. */
    boolean mayAddVectors() {
        return this instanceof Fake fake ? !fake.toString().endsWith("6.1") : Machine.kernelAtLeast(6, 5);
    }
}
