/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.PciAddress;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/** Devices that share an interrupt line of a fake host, each in a VM of its own. */
final class SharedLineWorld implements AutoCloseable {
    /** Devices with DisINTx and a message. */
    static final UnaryOperator<FakePciDevice.Builder> DIS_INTX =
            builder -> builder.intx().msi(1);

    static final UnaryOperator<FakePciDevice.Builder> NO_DIS_INTX =
            builder -> builder.intxWithoutDisIntx().msi(1);

    final FakeKernel fake;
    final Kernel kernel;
    private final Undo made = new Undo();
    private final List<FakePciDevice> devices = new ArrayList<>();

    SharedLineWorld(String profile, boolean nointxmask) {
        fake = FakeKernel.inVirtualTime(Profile.parse(profile));
        fake.setNointxmask(nointxmask);
        kernel = made.add(fake.open());
    }

    /** A VM that has a device. */
    final class Owner {
        final LineGuest guest = LineGuest.of(fake, kernel, made);
        final KvmVfio kvmVfio = made.add(KvmVfio.create(guest.vm()));
        final FakePciDevice hardware;
        final VfioDevice device;
        final Forwarding forwarding;
        /** How often the guest's handler served the device. */
        int served;
        /** How often the guest's handler found that the device requests nothing. */
        int spurious;

        private boolean requests;

        Owner(UnaryOperator<FakePciDevice.Builder> shape) {
            hardware = addDevice(shape);
            device = made.add(VfioDevice.open(kernel, address(devices.size() - 1), kvmVfio));
            forwarding = made.add(Forwarding.create(guest.vm(), device));
        }

        ForwardedIrq forward() {
            return forwarding.forward(device.intx(), LineGuest.PIN);
        }

        void request() {
            requests = true;
            hardware.requestService();
        }

        /** The handler of the guest. */
        void serve() {
            if (requests) {
                requests = false;
                hardware.serve();
                served++;
            } else {
                spurious++;
            }
        }

        /** The guest takes all interrupts that it gets, one after the other. */
        void run() {
            boolean taken = guest.take(this::serve);
            while (taken) {
                taken = guest.take(this::serve);
            }
        }
    }

    /** Adds a device on the line of those before. */
    FakePciDevice addDevice(UnaryOperator<FakePciDevice.Builder> shape) {
        FakePciDevice.Builder builder =
                shape.apply(fake.pciDevice(address(devices.size()).toString(), devices.size() + 1));
        Optional<FakePciDevice> first = devices.stream().findFirst();
        FakePciDevice added = (first.isPresent() ? builder.onLineOf(first.get()) : builder).add();
        devices.add(added);
        return added;
    }

    static PciAddress address(int index) {
        return PciAddress.parse("0000:00:0" + (index + 1) + ".0");
    }

    @Override
    public void close() {
        made.close();
    }
}
