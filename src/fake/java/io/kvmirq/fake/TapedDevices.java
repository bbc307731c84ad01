/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioDeviceInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqInfo;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** The PCI devices that a recorded program opened through VFIO, as far as the tape describes them. */
final class TapedDevices {
    private static final Pattern GROUP = Pattern.compile("/dev/vfio/([0-9]{1,9})");
    /** The largest number of interrupts of each VFIO index. */
    private static final int[] MOST = {1, 32, MsiMessage.MOST_VECTORS, 1, 1};

    private static final int MOST_DEVICES = 256;

    /** A device, and the smallest number of interrupts of each index. */
    private static final class Device {
        private final PciAddress address;
        private final int group;
        private final int[] interrupts = new int[UapiVfio.VFIO_PCI_NUM_IRQS];
        private boolean resets;

        Device(PciAddress address, int group) {
            this.address = address;
            this.group = group;
        }

        void atLeast(int index, int count) {
            if (index >= 0 && index < interrupts.length && count <= MOST[index]) {
                interrupts[index] = Math.max(interrupts[index], count);
            }
        }

        void addTo(FakeKernel kernel) {
            FakePciDevice.Builder builder = kernel.pciDevice(address.toString(), group);
            if (interrupts[UapiVfio.VFIO_PCI_INTX_IRQ_INDEX] > 0) {
                builder.intx();
            }
            int msi = interrupts[UapiVfio.VFIO_PCI_MSI_IRQ_INDEX];
            if (msi > 0) {
                builder.msi(Integer.highestOneBit(2 * msi - 1));
            }
            int msix = interrupts[UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX];
            if (msix > 0) {
                builder.msix(msix);
            }
            if (interrupts[UapiVfio.VFIO_PCI_ERR_IRQ_INDEX] > 0) {
                builder.express();
            }
            if (resets) {
                builder.resettable();
            }
            builder.add();
        }
    }

    private final Map<String, Integer> groups = new HashMap<>();
    private final Map<String, Device> byFile = new HashMap<>();
    private final Map<PciAddress, Device> byAddress = new LinkedHashMap<>();

    private TapedDevices() {}

    static void add(Path tape, FakeKernel kernel) throws IOException {
        TapedDevices devices = new TapedDevices();
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(tape)))) {
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                if (line.get() instanceof TapeLine.Call call && call.errno().isEmpty()) {
                    devices.see(call);
                }
            }
        }
        devices.byAddress.values().forEach(device -> device.addTo(kernel));
    }

    private void see(TapeLine.Call call) {
        Matcher group = GROUP.matcher(call.path().orElse(""));
        if (call.made().isPresent() && group.matches()) {
            groups.put(call.made().get(), Integer.parseInt(group.group(1)));
        } else if (call.call().equals("ioctl")) {
            ask(call);
        }
    }

    /** Notes a device that the program opened, if it is a PCI device. */
    private void open(TapeLine.Call call, String name) {
        PciAddress address;
        try {
            address = PciAddress.parse(name.substring(0, Math.max(0, name.indexOf('\0'))));
        } catch (IllegalArgumentException e) {
            return;
        }
        if (byAddress.size() < MOST_DEVICES && call.made().isPresent()) {
            byFile.put(
                    call.made().get(),
                    byAddress.computeIfAbsent(address, one -> new Device(one, groups.getOrDefault(call.on(), 0))));
        }
    }

    private void ask(TapeLine.Call call) {
        @Nullable Device device = byFile.get(call.on());
        ByteBuffer in = call.in().orElse(ByteBuffer.allocate(0));
        ByteBuffer after = call.out().orElse(in);
        if (call.request() == UapiVfio.VFIO_GROUP_GET_DEVICE_FD && groups.containsKey(call.on())) {
            open(call, StandardCharsets.UTF_8.decode(in.duplicate()).toString());
        } else if (device == null) {
            return;
        } else if (call.request() == UapiVfio.VFIO_DEVICE_GET_INFO && after.limit() >= VfioDeviceInfo.NUM_IRQS) {
            device.resets |= (after.getInt(VfioDeviceInfo.FLAGS) & UapiVfio.VFIO_DEVICE_FLAGS_RESET) != 0;
        } else if (call.request() == UapiVfio.VFIO_DEVICE_GET_IRQ_INFO && after.limit() >= VfioIrqInfo.SIZE) {
            device.atLeast(after.getInt(VfioIrqInfo.INDEX), after.getInt(VfioIrqInfo.COUNT));
        } else if (call.request() == UapiVfio.VFIO_DEVICE_SET_IRQS && in.limit() >= VfioIrqSet.SIZE) {
            device.atLeast(in.getInt(VfioIrqSet.INDEX), in.getInt(VfioIrqSet.START) + in.getInt(VfioIrqSet.COUNT));
        }
    }
}
