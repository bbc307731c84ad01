/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.path.Hop;
import io.kvmirq.testing.SeenCalls;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmIrqRouting;
import io.kvmirq.uapi.Uapi.KvmIrqRoutingEntry;
import io.kvmirq.uapi.Uapi.KvmIrqfd;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * The paths of a device's interrupts, from the system calls of the VMM that has the device in one VM: the witness of what
 * probes show. It uses no class of the probes. A call that fails counts as one that succeeds.
 */
final class SeenPaths {
    /** A vector by index and number, to the eventfd-id. */
    private final Map<String, Long> eventfds = new HashMap<>();

    private final Map<Long, Integer> gsis = new HashMap<>();
    private final Map<Integer, Message> messages = new HashMap<>();

    /** A message of a route. */
    record Message(long address, int data) {
        /** Intel SDM vol. 3, 11.11.1. A vCPU's logical id has the bit of its number, as Linux sets it. */
        String vcpu() {
            int destination = (int) (address >>> 12) & 0xff;
            boolean isLogical = (address & 4) != 0;
            return "vcpu " + (isLogical ? Integer.numberOfTrailingZeros(destination) : destination);
        }

        @Override
        public String toString() {
            return String.format("address 0x%x, data 0x%x", address, data);
        }
    }

    static SeenPaths of(Path seen) throws IOException {
        SeenPaths paths = new SeenPaths();
        for (SeenCalls.Ioctl call : SeenCalls.ioctls(seen)) {
            ByteBuffer argument = call.argument();
            if (call.request() == UapiVfio.VFIO_DEVICE_SET_IRQS) {
                paths.setIrqs(argument, call);
            } else if (call.request() == Uapi.KVM_IRQFD) {
                boolean ends = (argument.getInt(KvmIrqfd.FLAGS) & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0;
                int gsi = argument.getInt(KvmIrqfd.GSI);
                if (ends) {
                    paths.gsis.remove(call.ids().get(0), gsi);
                } else {
                    paths.gsis.put(call.ids().get(0), gsi);
                }
            } else if (call.request() == Uapi.KVM_SET_GSI_ROUTING) {
                paths.setRoutes(argument);
            }
        }
        return paths;
    }

    private void setIrqs(ByteBuffer argument, SeenCalls.Ioctl call) {
        int flags = argument.getInt(VfioIrqSet.FLAGS);
        String index = argument.getInt(VfioIrqSet.INDEX) == UapiVfio.VFIO_PCI_MSI_IRQ_INDEX ? "MSI " : "MSI-X ";
        if ((flags & UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER) == 0) {
            return;
        }
        if ((flags & UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD) == 0) {
            eventfds.keySet().removeIf(vector -> vector.startsWith(index) && argument.getInt(VfioIrqSet.COUNT) == 0);
            return;
        }
        for (int i = 0; i < call.ids().size(); i++) {
            eventfds.put(
                    index + (argument.getInt(VfioIrqSet.START) + i), call.ids().get(i));
        }
    }

    private void setRoutes(ByteBuffer argument) {
        messages.clear();
        for (int i = 0; i < argument.getInt(KvmIrqRouting.NR); i++) {
            int at = KvmIrqRouting.SIZE + i * KvmIrqRoutingEntry.SIZE;
            if (argument.getInt(at + KvmIrqRoutingEntry.TYPE) == Uapi.KVM_IRQ_ROUTING_MSI) {
                long address = (long) argument.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_HI) << 32
                        | Integer.toUnsignedLong(argument.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_LO));
                messages.put(
                        argument.getInt(at + KvmIrqRoutingEntry.GSI),
                        new Message(address, argument.getInt(at + KvmIrqRoutingEntry.U_MSI_DATA)));
            }
        }
    }

    /** The eventfd-id of a GSI's irqfd. */
    long eventfd(int gsi) {
        return gsis.entrySet().stream()
                .filter(irqfd -> irqfd.getValue() == gsi)
                .mapToLong(Map.Entry::getKey)
                .findFirst()
                .orElseThrow();
    }

    /** The number of eventfds whose irqfd has this GSI. */
    long irqfds(int gsi) {
        return gsis.values().stream().filter(known -> known == gsi).count();
    }

    Optional<Message> message(int gsi) {
        return Optional.ofNullable(messages.get(gsi));
    }

    /** The values of a path's hops, as far as the calls show it. The host's irq is from /proc/interrupts. */
    Map<Hop<?>, String> of(String device, String vector, long process) throws IOException {
        Map<Hop<?>, String> hops = new HashMap<>();
        String handler = "vfio-"
                + vector.toLowerCase(Locale.ROOT).replace("msi-x ", "msix[").replace("msi ", "msi[") + "](" + device
                + ")";
        for (String row : Files.readAllLines(Path.of("/proc/interrupts"))) {
            if (row.endsWith(handler)) {
                hops.put(Hop.HOST_IRQ, row.strip().split(":", 2)[0]);
            }
        }
        Long event = eventfds.getOrDefault(vector, -1L);
        if (event >= 0) {
            hops.put(Hop.DEVICE_VECTOR, vector);
            hops.put(Hop.EVENTFD, "id " + event);
        }
        if (gsis.containsKey(event)) {
            int gsi = gsis.get(event);
            hops.put(Hop.IRQFD, "process " + process);
            hops.put(Hop.GSI, "gsi " + gsi);
            message(gsi).ifPresent(message -> {
                hops.put(Hop.GUEST_VECTOR, "0x" + Integer.toHexString(message.data() & 0xff));
                hops.put(Hop.VCPU, message.vcpu());
            });
        }
        return hops;
    }
}
