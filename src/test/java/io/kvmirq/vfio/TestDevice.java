/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Machine;
import java.nio.file.Path;
import java.util.Optional;
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

    /** The device sends the message of a vector of MSI-X. */
    abstract void send(VfioDevice device, int vector);

    /** Before interrupts are disabled: the device does nothing more of its own accord. */
    void settle(VfioDevice device) {}

    /** The device asserts INTx until {@link #serve}. */
    abstract void request(VfioDevice device);

    abstract void serve(VfioDevice device);

    /** With MSI-X of {@link #VECTORS} vectors. */
    static Stream<TestDevice> messages() {
        return Stream.of(fake("6.1"), fake("6.12"), fake("7.1"), fake("7.1,cdev"), new E1000e());
    }

    /** With INTx. */
    static Stream<TestDevice> lines() {
        return Stream.of(fake("6.1"), fake("6.12"), fake("7.1"), fake("6.12,cdev"), new Edu());
    }

    static FakeKernel fakeKernel(String profile) {
        return new FakeKernel(Profile.of(profile));
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
            return Kernel.over(fake.backend(), Kernel.DEVICE);
        }

        @Override
        PciAddress address() {
            return FAKE;
        }

        @Override
        void send(VfioDevice opened, int vector) {
            device.sendMessage(vector);
        }

        @Override
        void request(VfioDevice opened) {
            device.requestService();
        }

        @Override
        void serve(VfioDevice opened) {
            device.serve();
        }
    }

    /** One that the lab binds to vfio-pci. */
    private abstract static class Real extends TestDevice {
        private final io.kvmirq.contract.TestDevice which;

        Real(io.kvmirq.contract.TestDevice which) {
            super("QEMU's " + which);
            this.which = which;
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
    }

    /** Source: hw/net/e1000e_core.c of QEMU. */
    private static final class E1000e extends Real {
        private static final int ICR = 0xc0;
        private static final int ICS = 0xc8;
        private static final int IMS = 0xd0;
        private static final int IVAR = 0xe4;
        /** Causes 20–24 of ICR: RxQ0, RxQ1, TxQ0, TxQ1 and other. */
        private static final int FIRST_CAUSE = 20;

        E1000e() {
            super(io.kvmirq.contract.TestDevice.E1000E);
        }

        @Override
        void prepare(VfioDevice device) {
            super.prepare(device);
            device.config().enableMemory();
            Region bar = device.region(0);
            bar.putInt(IVAR, 0x000cba98); // cause 20 + i to vector i
        }

        /** QEMU counts 128 us from each message, and aborts if MSI-X is off at their end; a reset stops that. */
        @Override
        void settle(VfioDevice device) {
            device.reset();
        }

        @Override
        void send(VfioDevice device, int vector) {
            Region bar = device.region(0);
            bar.putInt(ICR, 1 << FIRST_CAUSE + vector);
            bar.putInt(IMS, 0x1f << FIRST_CAUSE); // the device masks a cause with its message
            bar.putInt(ICS, 1 << FIRST_CAUSE + vector);
        }

        @Override
        void request(VfioDevice device) {
            throw new AssertionError("edu is for INTx");
        }

        @Override
        void serve(VfioDevice device) {
            throw new AssertionError("edu is for INTx");
        }
    }

    /** Source: docs/specs/edu.rst of QEMU. */
    private static final class Edu extends Real {
        private static final int RAISE = 0x60;
        private static final int ACKNOWLEDGE = 0x64;

        Edu() {
            super(io.kvmirq.contract.TestDevice.EDU);
        }

        @Override
        void prepare(VfioDevice device) {
            super.prepare(device);
            device.config().enableMemory();
        }

        @Override
        void send(VfioDevice device, int vector) {
            request(device);
        }

        @Override
        void request(VfioDevice device) {
            device.region(0).putInt(RAISE, 1);
        }

        @Override
        void serve(VfioDevice device) {
            device.region(0).putInt(ACKNOWLEDGE, 1);
        }
    }

    /** The files of the device's host. */
    HostFiles hostFiles() {
        return this instanceof Fake of ? of.fake.hostFiles() : HostFiles.of(Path.of("/"));
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
