/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmDeviceAttr;
import io.kvmirq.uapi.Uapi.KvmEnableCap;
import io.kvmirq.uapi.Uapi.KvmIrqRouting;
import io.kvmirq.uapi.Uapi.KvmIrqRoutingEntry;
import io.kvmirq.uapi.Uapi.KvmIrqfd;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** The interrupt path of a VMM as the calls on its tape made it, at one call of the tape. For one thread. */
final class TapedVmm {
    /** GSIs that have a route from KVM_CREATE_IRQCHIP on: the pins of the I/O APIC. */
    private static final int PINS = 24;

    private static final int MOST_VECTORS = 2048;
    private static final long NEVER = 0;
    private static final ByteBuffer NONE = ByteBuffer.allocate(0);

    /**
     * A vector of a device.
     *
     * @param eventfd empty if VFIO signals none
     * @param at the call that made it so
     * @param masked by VFIO_IRQ_SET_ACTION_MASK, at this call; 0 if it is not
     */
    record Vector(Optional<String> eventfd, long at, long masked) {}

    /** An eventfd that feeds a GSI. */
    record Feed(String vm, String eventfd, int gsi, long at) {}

    /** A feed that ended, by a call such as {@code KVM_IRQFD}. */
    record EndedFeed(Feed feed, long at, String call) {}

    /** The routes of a GSI, and since when it has routes without a gap. Immutable. */
    record Routed(List<Route> routes, long since, long at) {}

    /** A VFIO device. */
    static final class Device {
        final String file;
        final String name;
        final int pid;
        final String group;
        /** By index of VFIO and number. */
        final Map<Integer, TreeMap<Integer, Vector>> vectors = new TreeMap<>();

        int lastIndex = UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX;
        long closed = NEVER;

        Device(String file, String name, int pid, String group) {
            this.file = file;
            this.name = name;
            this.pid = pid;
            this.group = group;
        }
    }

    /** A VM. */
    static final class Machine {
        boolean lapics;
        boolean apicIds32Bit;
        boolean pitReinjects;
        final TreeSet<Integer> vcpus = new TreeSet<>();
        final Map<Integer, Routed> routes = new TreeMap<>();
        /** By GSI, the call that removed its last route. */
        final Map<Integer, Long> unrouted = new HashMap<>();

        final Set<String> vfioFiles = new HashSet<>();
    }

    private final Map<Integer, TapeLine.Header> programs = new HashMap<>();
    private Optional<TapeLine.Header> first = Optional.empty();
    private final Map<String, Device> devices = new LinkedHashMap<>();
    private final Map<String, Machine> vms = new LinkedHashMap<>();
    /** By file of the KVM-VFIO device, the VM's. */
    private final Map<String, String> kvmVfio = new HashMap<>();

    private final Map<String, Integer> descriptors = new HashMap<>();
    private final Map<String, Long> readEventfds = new HashMap<>();
    private final List<Feed> feeds = new ArrayList<>();
    private final Map<String, EndedFeed> ended = new HashMap<>();
    private long calls;
    private long lastBuilt;
    private boolean x86 = true;

    private TapedVmm() {}

    /**
     * The path at a call; without one, at the end, or where its tear-down begins if the tape closes all its devices.
     *
     * @throws io.kvmirq.recording.tapes.TapeException if the file is not a tape
     */
    static TapedVmm of(Path tape, Optional<Long> call) throws IOException {
        TapedVmm whole = until(tape, call.orElse(Long.MAX_VALUE));
        boolean over =
                !whole.devices.isEmpty() && whole.devices.values().stream().allMatch(one -> one.closed != NEVER);
        return call.isEmpty() && over ? until(tape, whole.lastBuilt) : whole;
    }

    private static TapedVmm until(Path tape, long last) throws IOException {
        TapedVmm vmm = new TapedVmm();
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(Files.newInputStream(tape)))) {
            Optional<TapeLine> line = reader.next();
            while (line.isPresent() && !(line.get() instanceof TapeLine.Call call && call.number() > last)) {
                vmm.see(line.get());
                line = reader.next();
            }
            // A rest that is no tape is told, too.
            while (line.isPresent()) {
                line = reader.next();
                vmm.more = true;
            }
        }
        return vmm;
    }

    private boolean more;

    /** Whether the tape goes on. */
    boolean goesOn() {
        return more;
    }

    /** The number of the last call. */
    long calls() {
        return calls;
    }

    boolean isX86() {
        return x86;
    }

    /** The kernel that the tape was made on; empty if the tape has no header. */
    Optional<String> kernel() {
        return first.map(TapeLine.Header::kernel);
    }

    /** The program of a process, and its number. */
    String program(int pid) {
        TapeLine.@Nullable Header header = programs.get(pid);
        String path = header == null ? "" : header.program();
        String name = path.substring(path.lastIndexOf('/') + 1);
        return (name.isEmpty() ? "?" : name) + " (process " + pid + ")";
    }

    List<Device> devices() {
        return List.copyOf(devices.values());
    }

    Machine vm(String file) {
        return vms.computeIfAbsent(file, unknown -> new Machine());
    }

    /** The GSIs that an eventfd feeds now. */
    List<Feed> feeds(String eventfd) {
        return feeds.stream().filter(one -> one.eventfd().equals(eventfd)).toList();
    }

    /** What an eventfd fed before, if a call ended it. */
    Optional<EndedFeed> endedFeed(String eventfd) {
        return Optional.ofNullable(ended.get(eventfd));
    }

    /** The last call that took the count of an eventfd. */
    Optional<Long> lastRead(String eventfd) {
        return Optional.ofNullable(readEventfds.get(eventfd));
    }

    /** How many vectors signal an eventfd. */
    long signallers(String eventfd) {
        return devices.values().stream()
                .flatMap(device -> device.vectors.values().stream())
                .flatMap(vectors -> vectors.values().stream())
                .filter(vector -> vector.eventfd().equals(Optional.of(eventfd)))
                .count();
    }

    private void see(TapeLine line) {
        if (line instanceof TapeLine.Header header) {
            programs.put(header.pid(), header);
            if (first.isEmpty()) {
                first = Optional.of(header);
                x86 = header.architecture().matches("x86_64|i.86");
            }
            return;
        }
        TapeLine.Call call = (TapeLine.Call) line;
        calls = call.number();
        if (call.errno().isPresent() || call.begins()) {
            return;
        }
        boolean duplicates = call.call().startsWith("dup") || call.call().equals("fcntl");
        call.made().ifPresent(made -> {
            descriptors.merge(made, 1, Integer::sum);
            if (!duplicates) {
                made(call, made);
            }
        });
        switch (call.call()) {
            case "ioctl" -> ioctl(call);
            case "close" -> descriptorClosed(call.on(), call);
            case "dup", "dup2", "dup3" ->
                Optional.ofNullable(call.names().get("value")).ifPresent(file -> descriptorClosed(file, call));
            case "read", "preadv2" -> readEventfds.put(call.on(), call.number());
            default -> {}
        }
    }

    private void made(TapeLine.Call call, String made) {
        FileKind kind = FileKind.ofName(made);
        if (kind == FileKind.VM) {
            vms.put(made, new Machine());
        } else if (kind == FileKind.VFIO_DEVICE) {
            boolean byGroup = call.request() == UapiVfio.VFIO_GROUP_GET_DEVICE_FD;
            String name = byGroup ? text(call.in().orElse(NONE)) : call.path().orElse("");
            devices.put(made, new Device(made, name.isEmpty() ? made : name, call.pid(), byGroup ? call.on() : ""));
        } else if (kind == FileKind.KVM_VFIO) {
            kvmVfio.put(made, call.on());
        } else if (kind == FileKind.VCPU && call.value() >= 0 && call.value() <= VcpuId.MAX) {
            vm(call.on()).vcpus.add((int) call.value());
        }
    }

    private static String text(ByteBuffer bytes) {
        String text = StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
        int end = text.indexOf('\0');
        return end < 0 ? text : text.substring(0, end);
    }

    private void descriptorClosed(String file, TapeLine.Call call) {
        int left = descriptors.merge(file, -1, Integer::sum);
        if (left > 0) {
            return;
        }
        descriptors.remove(file);
        switch (FileKind.ofName(file)) {
            case VFIO_DEVICE -> {
                @Nullable Device device = devices.get(file);
                if (device != null) {
                    device.closed = call.number();
                }
            }
            case EVENTFD -> {
                feeds(file).forEach(feed -> end(feed, call, "close of the eventfd"));
            }
            case VM ->
                feeds.stream()
                        .filter(feed -> feed.vm().equals(file))
                        .toList()
                        .forEach(feed -> end(feed, call, "close of the VM"));
            default -> {}
        }
    }

    private void end(Feed feed, TapeLine.Call call, String by) {
        feeds.remove(feed);
        ended.put(feed.eventfd(), new EndedFeed(feed, call.number(), by));
    }

    private void ioctl(TapeLine.Call call) {
        ByteBuffer in = call.in().orElse(NONE);
        FileKind kind = FileKind.ofName(call.on());
        if (call.result() < 0) {
            return;
        }
        if (kind == FileKind.VM) {
            vmIoctl(call, in);
        } else if (kind == FileKind.VFIO_DEVICE && call.request() == UapiVfio.VFIO_DEVICE_SET_IRQS) {
            @Nullable Device device = devices.get(call.on());
            if (device != null && in.limit() >= VfioIrqSet.SIZE) {
                setIrqs(device, call, in);
            }
        } else if (kind == FileKind.KVM_VFIO && call.request() == Uapi.KVM_SET_DEVICE_ATTR) {
            setFile(call, in);
        } else if (kind == FileKind.VCPU && call.request() == Uapi.KVM_RUN) {
            lastBuilt = call.number();
        }
    }

    private void vmIoctl(TapeLine.Call call, ByteBuffer in) {
        Machine vm = vm(call.on());
        if (call.request() == Uapi.KVM_CREATE_IRQCHIP) {
            vm.lapics = true;
            for (int pin = 0; x86 && pin < PINS; pin++) {
                Route route = new Route.Pin(new Gsi(pin), Route.Chip.IOAPIC, pin);
                vm.routes.put(pin, new Routed(List.of(route), call.number(), call.number()));
            }
        } else if (call.request() == Uapi.KVM_ENABLE_CAP && in.limit() >= KvmEnableCap.ARGS + Long.BYTES) {
            int capability = in.getInt(KvmEnableCap.CAP);
            vm.lapics |= capability == Uapi.KVM_CAP_SPLIT_IRQCHIP;
            vm.apicIds32Bit |= capability == Uapi.KVM_CAP_X2APIC_API
                    && (in.getLong(KvmEnableCap.ARGS) & Uapi.KVM_X2APIC_API_USE_32BIT_IDS) != 0;
        } else if (call.request() == Uapi.KVM_CREATE_PIT2) {
            vm.pitReinjects = true;
        } else if (call.request() == Uapi.KVM_REINJECT_CONTROL && in.limit() > 0) {
            vm.pitReinjects = in.get(Uapi.KvmReinjectControl.PIT_REINJECT) != 0;
        } else if (call.request() == Uapi.KVM_SET_GSI_ROUTING && in.limit() >= KvmIrqRouting.SIZE) {
            setRoutes(vm, call, in);
        } else if (call.request() == Uapi.KVM_IRQFD && in.limit() >= KvmIrqfd.SIZE) {
            irqfd(call, in);
        }
    }

    private void setRoutes(Machine vm, TapeLine.Call call, ByteBuffer in) {
        Map<Integer, List<Route>> table = new TreeMap<>();
        int held = (in.limit() - KvmIrqRouting.SIZE) / KvmIrqRoutingEntry.SIZE;
        long count = Math.min(Integer.toUnsignedLong(in.getInt(KvmIrqRouting.NR)), held);
        for (int i = 0; i < count; i++) {
            route(in, KvmIrqRouting.SIZE + i * KvmIrqRoutingEntry.SIZE)
                    .ifPresent(route -> table.computeIfAbsent(route.gsi().number(), gsi -> new ArrayList<>())
                            .add(route));
        }
        vm.routes.keySet().stream().filter(gsi -> !table.containsKey(gsi)).forEach(gone -> {
            vm.unrouted.put(gone, call.number());
        });
        Map<Integer, Routed> before = Map.copyOf(vm.routes);
        vm.routes.clear();
        table.forEach((gsi, routes) -> {
            @Nullable Routed old = before.get(gsi);
            boolean same = old != null && old.routes().equals(routes);
            vm.routes.put(
                    gsi, same ? old : new Routed(routes, old == null ? call.number() : old.since(), call.number()));
            lastBuilt = same ? lastBuilt : call.number();
        });
    }

    /** A route to a chip or a message; empty for the other kinds and for numbers that no kernel takes. */
    private Optional<Route> route(ByteBuffer in, int at) {
        int gsi = in.getInt(at + KvmIrqRoutingEntry.GSI);
        int type = in.getInt(at + KvmIrqRoutingEntry.TYPE);
        if (gsi < 0) {
            return Optional.empty();
        }
        try {
            if (type == Uapi.KVM_IRQ_ROUTING_MSI) {
                long address = (long) in.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_HI) << 32
                        | Integer.toUnsignedLong(in.getInt(at + KvmIrqRoutingEntry.U_MSI_ADDRESS_LO));
                boolean valid = (in.getInt(at + KvmIrqRoutingEntry.FLAGS) & Uapi.KVM_MSI_VALID_DEVID) != 0;
                OptionalInt device =
                        valid ? OptionalInt.of(in.getInt(at + KvmIrqRoutingEntry.U_MSI_DEVID)) : OptionalInt.empty();
                MsiMessage message = new MsiMessage(address, in.getInt(at + KvmIrqRoutingEntry.U_MSI_DATA), device);
                return Optional.of(new Route.Msi(new Gsi(gsi), message));
            }
            int chip = in.getInt(at + KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP);
            for (Route.Chip known : Route.Chip.values()) {
                if (type == Uapi.KVM_IRQ_ROUTING_IRQCHIP && known.id() == chip && known == Route.Chip.VGIC != x86) {
                    int pin = in.getInt(at + KvmIrqRoutingEntry.U_IRQCHIP_PIN);
                    return Optional.of(new Route.Pin(new Gsi(gsi), known, pin));
                }
            }
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
        return Optional.empty();
    }

    private void irqfd(TapeLine.Call call, ByteBuffer in) {
        String eventfd = call.names().getOrDefault("" + KvmIrqfd.FD, "descriptor " + in.getInt(KvmIrqfd.FD));
        int gsi = in.getInt(KvmIrqfd.GSI);
        if ((in.getInt(KvmIrqfd.FLAGS) & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0) {
            feeds(eventfd).stream()
                    .filter(feed -> feed.vm().equals(call.on()) && feed.gsi() == gsi)
                    .forEach(feed -> end(feed, call, "KVM_IRQFD"));
        } else {
            feeds.add(new Feed(call.on(), eventfd, gsi, call.number()));
            lastBuilt = call.number();
        }
    }

    private void setIrqs(Device device, TapeLine.Call call, ByteBuffer in) {
        int flags = in.getInt(VfioIrqSet.FLAGS);
        int index = in.getInt(VfioIrqSet.INDEX);
        long start = Integer.toUnsignedLong(in.getInt(VfioIrqSet.START));
        long count = Integer.toUnsignedLong(in.getInt(VfioIrqSet.COUNT));
        boolean none = (flags & UapiVfio.VFIO_IRQ_SET_DATA_NONE) != 0;
        if (index < 0 || index > UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX || start >= MOST_VECTORS) {
            return;
        }
        TreeMap<Integer, Vector> vectors = device.vectors.computeIfAbsent(index, first -> new TreeMap<>());
        if ((flags & UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER) == 0) {
            boolean mask = (flags & UapiVfio.VFIO_IRQ_SET_ACTION_MASK) != 0;
            if (none) {
                vectors.replaceAll((number, old) -> number >= start && number - start < count
                        ? new Vector(old.eventfd(), old.at(), mask ? call.number() : NEVER)
                        : old);
            }
            return;
        }
        if (none && count == 0) {
            vectors.replaceAll((number, old) ->
                    old.eventfd().isPresent() ? new Vector(Optional.empty(), call.number(), NEVER) : old);
        } else if ((flags & UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD) != 0) {
            device.lastIndex = index;
            for (int i = 0; i < count && VfioIrqSet.DATA + (i + 1) * Integer.BYTES <= in.limit(); i++) {
                int at = VfioIrqSet.DATA + i * Integer.BYTES;
                int number = in.getInt(at);
                Optional<String> eventfd = Optional.ofNullable(call.names().get(String.valueOf(at)))
                        .or(() -> number < 0 ? Optional.empty() : Optional.of("descriptor " + number));
                vectors.put((int) start + i, new Vector(eventfd, call.number(), NEVER));
                lastBuilt = eventfd.isPresent() ? call.number() : lastBuilt;
            }
        }
    }

    private void setFile(TapeLine.Call call, ByteBuffer in) {
        @Nullable String vm = kvmVfio.get(call.on());
        @Nullable String file = call.names().get("data");
        if (vm == null
                || file == null
                || in.limit() < KvmDeviceAttr.SIZE
                || in.getInt(KvmDeviceAttr.GROUP) != Uapi.KVM_DEV_VFIO_FILE) {
            return;
        }
        long attribute = in.getLong(KvmDeviceAttr.ATTR);
        if (attribute == Uapi.KVM_DEV_VFIO_FILE_ADD) {
            vm(vm).vfioFiles.add(file);
        } else if (attribute == Uapi.KVM_DEV_VFIO_FILE_DEL) {
            vm(vm).vfioFiles.remove(file);
        }
    }
}
