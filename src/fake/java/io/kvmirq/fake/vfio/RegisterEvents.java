/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.explain.VfioAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.Host;
import io.kvmirq.uapi.UapiVfio.VfioDeviceIoeventfd;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;

/** Eventfds whose signal writes to a device register. Source: {@code vfio_pci_ioeventfd()} in vfio_pci_rdwr.c. */
final class RegisterEvents {
    /** VFIO_PCI_IOEVENTFD_MAX. */
    private static final int MOST = 1000;
    /** The end of fd in struct vfio_device_ioeventfd. */
    private static final int LEAST = 28;

    private final Host host;
    private final VfioPci device;
    private final Map<Register, EventAction> events = new HashMap<>();

    private record Register(int bar, int at, int width, long data) {}

    RegisterEvents(Host host, VfioPci device) {
        this.host = host;
        this.device = device;
    }

    /** Handles VFIO_DEVICE_IOEVENTFD. */
    int answer(long address) {
        return host.copied(address, LEAST, given -> {
            int width = given.getInt(VfioDeviceIoeventfd.FLAGS);
            int fd = given.getInt(VfioDeviceIoeventfd.FD);
            long offset = given.getLong(VfioDeviceIoeventfd.OFFSET);
            boolean wrong = Integer.compareUnsigned(given.getInt(VfioDeviceIoeventfd.ARGSZ), LEAST) < 0
                    || Integer.bitCount(width) != 1
                    || width < 0
                    || width > (host.build().isSince(6, 14) ? Integer.BYTES : Long.BYTES)
                    || fd < -1
                    || !device.bars().isRegister(PciRequests.region(offset), PciRequests.at(offset), width);
            return wrong ? host.refuse(VfioAnswer.VFIO_IOEVENTFD_RANGE) : set(register(offset, width, given), fd);
        });
    }

    private static Register register(long offset, int width, ByteBuffer given) {
        int bar = PciRequests.region(offset);
        return new Register(bar, (int) PciRequests.at(offset), width, given.getLong(VfioDeviceIoeventfd.DATA));
    }

    private int set(Register register, int fd) {
        EventAction known = events.get(register);
        if (known != null) {
            if (fd != -1) {
                return host.refuse(VfioAnswer.VFIO_IOEVENTFD_EXISTS);
            }
            known.clear();
            events.remove(register);
            return 0;
        }
        if (fd < 0) {
            return host.refuse(VfioAnswer.VFIO_IOEVENTFD_ABSENT);
        }
        if (events.size() >= MOST) {
            return host.refuse(VfioAnswer.VFIO_IOEVENTFD_LIMIT);
        }
        FakeFile file = host.file(fd);
        if (!(file instanceof EventFile event)) {
            return host.refuse(file == null ? VfioAnswer.VFIO_IOEVENTFD_FD : VfioAnswer.VFIO_IOEVENTFD_NOT_AN_EVENTFD);
        }
        EventAction action = new EventAction(() -> write(register));
        events.put(register, action);
        action.set(event);
        return 0;
    }

    private void write(Register register) {
        if (device.reaches(register.bar())) {
            for (int i = 0; i < register.width(); i++) {
                byte value = (byte) (register.data() >>> Byte.SIZE * i);
                device.bars().write(register.bar(), register.at() + i, value);
            }
        }
    }

    /** The last file of the device was closed. */
    void clear() {
        events.values().forEach(EventAction::clear);
        events.clear();
    }
}
