/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.DeviceName;
import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.diag.TapedLog.Step;
import io.kvmirq.mirror.DeliveryPath;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Producer;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmDeviceAttr;
import io.kvmirq.uapi.Uapi.KvmEnableCap;
import io.kvmirq.uapi.Uapi.KvmIrqRouting;
import io.kvmirq.uapi.Uapi.KvmIrqfd;
import io.kvmirq.uapi.UapiArm64;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.uapi.UapiVfio.VfioIrqSet;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The tape of a VMM, read up to one call: its processes, its devices, and the steps of its interrupt path as a {@link
 * TapedLog}. For one thread.
 */
final class TapedVmm {
    private static final Set<Integer> VGICS = Set.of(
            UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V2,
            UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3,
            UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS);
    private static final String SET_IRQS = "VFIO_DEVICE_SET_IRQS";
    private static final ByteBuffer NONE = ByteBuffer.allocate(0);

    /** By index of VFIO. */
    private static final List<Producer.Kind> KINDS =
            List.of(Producer.Kind.INTX, Producer.Kind.MSI, Producer.Kind.MSI_X);

    /** A VFIO device; each open file counts as a device. */
    static final class Device implements DeviceName {
        final String file;
        final String name;
        final int pid;
        final String group;
        /** The interrupt kind that was armed last. */
        Producer.Kind last = Producer.Kind.MSI_X;
        /** The call that closed the device. */
        Optional<Long> closed = Optional.empty();

        Device(String file, String name, int pid, String group) {
            this.file = file;
            this.name = name;
            this.pid = pid;
            this.group = group;
        }

        @Override
        public String busName() {
            return "pci";
        }
    }

    /** A file that the VMM added to the KVM-VFIO device of a VM. */
    private record Known(String vm, String file) {}

    /** KVM_IRQFD with a GSI that KVM takes, and that no routing table can have. */
    record Unroutable(long at, String gsi) {}

    final TapedLog log = new TapedLog();
    private final TapedRoutes routes = new TapedRoutes(log);
    private final Map<Integer, TapeLine.Header> programs = new HashMap<>();
    private Optional<TapeLine.Header> first = Optional.empty();
    private final Map<String, Device> devices = new LinkedHashMap<>();
    /** By file of a KVM-VFIO device, VGIC or ITS, the VM's. */
    private final Map<String, String> kvmDevices = new HashMap<>();

    /** The files of VGICs, without ITSs. */
    private final Set<String> vgics = new HashSet<>();

    private final Set<Known> vfioFiles = new HashSet<>();
    private final Map<String, Integer> descriptors = new HashMap<>();
    private final Map<String, Long> readEventfds = new HashMap<>();
    /** By eventfd: an irqfd on a GSI outside of every routing table. */
    final Map<EventFdId, Unroutable> unroutable = new HashMap<>();

    private long lastBuilt;
    /** The number of the last call. */
    long calls;
    /** The number of the last call on the tape, which goes on after {@link #calls}. */
    long lastOnTape;

    boolean goesOn;

    boolean x86 = true;

    private TapedVmm() {}

    /**
     * The state after a call; without a call, at the end of the tape, or before its tear-down if the tape closes all
     * devices.
     *
     * @throws io.kvmirq.recording.tapes.TapeException if the file is not a tape
     */
    static TapedVmm of(Path tape, Optional<Long> call) throws IOException {
        TapedVmm whole = until(tape, call.orElse(Long.MAX_VALUE));
        boolean over =
                !whole.devices.isEmpty() && whole.devices.values().stream().allMatch(one -> one.closed.isPresent());
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
            vmm.lastOnTape = vmm.calls;
            // Reads to the end, because a corrupt rest must be reported too.
            while (line.isPresent()) {
                if (line.get() instanceof TapeLine.Call call) {
                    vmm.lastOnTape = call.number();
                }
                line = reader.next();
                vmm.goesOn = true;
            }
        }
        return vmm;
    }

    /** The kernel that the tape was made on; empty if the tape has no header. */
    Optional<String> kernel() {
        return first.map(TapeLine.Header::kernel);
    }

    String program(int pid) {
        TapeLine.@Nullable Header header = programs.get(pid);
        String path = header == null ? "" : header.program();
        String name = path.substring(path.lastIndexOf('/') + 1);
        return (name.isEmpty() ? "?" : name) + " (process " + pid + ")";
    }

    List<Device> devices() {
        return List.copyOf(devices.values());
    }

    /** Whether a device's file, or its group's, is in a KVM-VFIO device of a VM. */
    boolean isKnownTo(String vm, Device device) {
        return vfioFiles.contains(new Known(vm, device.file)) || vfioFiles.contains(new Known(vm, device.group));
    }

    /** The last call that took the count of an eventfd. */
    Optional<Long> lastRead(EventFdId eventfd) {
        return Optional.ofNullable(readEventfds.get(log.file(eventfd)));
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
            default -> {
                if (call.isRead()) {
                    readEventfds.put(call.on(), call.number());
                }
            }
        }
    }

    private void made(TapeLine.Call call, String made) {
        FileKind kind = FileKind.ofName(made);
        if (kind == FileKind.VFIO_DEVICE) {
            boolean byGroup = call.request() == UapiVfio.VFIO_GROUP_GET_DEVICE_FD;
            String name = byGroup ? text(call.in().orElse(NONE)) : call.path().orElse("");
            devices.put(made, new Device(made, name.isEmpty() ? made : name, call.pid(), byGroup ? call.on() : ""));
        } else if (kind == FileKind.KVM_VFIO) {
            kvmDevices.put(made, call.on());
        } else if (kind == FileKind.KVM_DEVICE && call.in().orElse(NONE).limit() >= Integer.BYTES) {
            int type = call.in().orElse(NONE).getInt(0);
            if (VGICS.contains(type)) {
                // For a fake arm64 kernel, the header names the machine on which it ran.
                x86 = false;
                kvmDevices.put(made, call.on());
                vgics.addAll(type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS ? List.of() : List.of(made));
            }
        } else if (kind == FileKind.VCPU && call.value() >= 0 && call.value() <= VcpuId.MAX) {
            log.add(call, "KVM_CREATE_VCPU", call.on(), new Event.VcpuAdded(new VcpuId((int) call.value())));
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
                    device.closed = Optional.of(call.number());
                    log.vectors(device).forEach(vector -> disarm(call, "close", vector));
                }
            }
            case EVENTFD -> {
                unroutable.remove(log.id(file));
                log.irqfds(log.id(file)).forEach(irqfd -> end(irqfd, call, "close of the eventfd"));
            }
            case VM -> log.irqfds(file).forEach(irqfd -> end(irqfd, call, "close of the VM"));
            default -> {}
        }
    }

    private void end(Step irqfd, TapeLine.Call call, String by) {
        irqfd.eventfd()
                .ifPresent(event -> log.add(call, by, irqfd.vm(), new Event.ConsumerRemoved(event, irqfd.gsi())));
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
        } else if (call.request() == Uapi.KVM_SET_DEVICE_ATTR) {
            setAttribute(call, in);
        } else if (kind == FileKind.VCPU && call.request() == Uapi.KVM_RUN) {
            built(call);
        }
    }

    /** A vCPU may end its last run after the devices were closed; this run belongs to the tear-down. */
    private void built(TapeLine.Call call) {
        if (devices.isEmpty() || devices.values().stream().anyMatch(one -> one.closed.isEmpty())) {
            lastBuilt = call.number();
        }
    }

    private void setIrqs(Device device, TapeLine.Call call, ByteBuffer in) {
        int flags = in.getInt(VfioIrqSet.FLAGS);
        int index = in.getInt(VfioIrqSet.INDEX);
        long start = Integer.toUnsignedLong(in.getInt(VfioIrqSet.START));
        long count = Integer.toUnsignedLong(in.getInt(VfioIrqSet.COUNT));
        boolean none = (flags & UapiVfio.VFIO_IRQ_SET_DATA_NONE) != 0;
        if (index < 0 || index >= KINDS.size() || start >= MsiMessage.MOST_VECTORS) {
            return;
        }
        Producer.Kind kind = KINDS.get(index);
        boolean trigger = (flags & UapiVfio.VFIO_IRQ_SET_ACTION_TRIGGER) != 0;
        if (none && (!trigger || count == 0)) {
            boolean mask = (flags & UapiVfio.VFIO_IRQ_SET_ACTION_MASK) != 0;
            for (Step step : log.vectors(device)) {
                if (step.event() instanceof Event.ProducerAdded added
                        && added.producer().kind() == kind) {
                    int number = added.producer().number();
                    if (trigger) {
                        disarm(call, SET_IRQS, step);
                    } else if (number >= start && number - start < count) {
                        deliver(call, added.event(), mask ? DeliveryPath.MASKED : DeliveryPath.KERNEL);
                    }
                }
            }
        } else if (trigger && (flags & UapiVfio.VFIO_IRQ_SET_DATA_EVENTFD) != 0) {
            device.last = kind;
            for (int i = 0; i < count && VfioIrqSet.DATA + (i + 1) * Integer.BYTES <= in.limit(); i++) {
                Producer vector = new Producer(device, kind, (int) start + i);
                int at = VfioIrqSet.DATA + i * Integer.BYTES;
                int number = in.getInt(at);
                arm(
                        call,
                        vector,
                        Optional.ofNullable(call.names().get(String.valueOf(at)))
                                .or(() -> number < 0 ? Optional.empty() : Optional.of("descriptor " + number)));
            }
        }
    }

    private void arm(TapeLine.Call call, Producer vector, Optional<String> eventfd) {
        Optional<Step> before = log.vector(vector);
        before.ifPresent(step -> disarm(call, SET_IRQS, step));
        if (eventfd.isEmpty() && before.isEmpty()) {
            add(call, new Event.ProducerRemoved(TapedLog.NO_EVENTFD, vector));
        }
        if (eventfd.isPresent()) {
            EventFdId event = log.id(eventfd.get());
            add(call, new Event.ProducerAdded(event, vector));
            deliver(call, event, DeliveryPath.KERNEL);
            built(call);
        }
    }

    /** @param vector the last step of the vector */
    private void disarm(TapeLine.Call call, String name, Step vector) {
        if (vector.event() instanceof Event.ProducerAdded added) {
            log.add(call, name, "", new Event.ProducerRemoved(added.event(), added.producer()));
        }
    }

    /** QEMU unmasks INTx at each EOI: a mask that stays is no step. */
    private void deliver(TapeLine.Call call, EventFdId event, DeliveryPath path) {
        if (log.mask(event).isPresent() == (path == DeliveryPath.MASKED)) {
            return;
        }
        add(call, new Event.DeliveryChanged(event, path));
    }

    private void add(TapeLine.Call call, Event ofDevice) {
        log.add(call, SET_IRQS, "", ofDevice);
    }

    private void vmIoctl(TapeLine.Call call, ByteBuffer in) {
        if (call.request() == Uapi.KVM_CREATE_IRQCHIP && x86) {
            routes.createIrqchip(call);
        } else if (call.request() == Uapi.KVM_ENABLE_CAP && in.limit() >= KvmEnableCap.ARGS + Long.BYTES) {
            enable(call, in.getInt(KvmEnableCap.CAP), in.getLong(KvmEnableCap.ARGS));
        } else if (call.request() == Uapi.KVM_CREATE_PIT2) {
            reinject(call, true);
        } else if (call.request() == Uapi.KVM_REINJECT_CONTROL && in.limit() > 0) {
            reinject(call, in.get(Uapi.KvmReinjectControl.PIT_REINJECT) != 0);
        } else if (call.request() == Uapi.KVM_SET_GSI_ROUTING && in.limit() >= KvmIrqRouting.SIZE) {
            if (routes.set(call, in, x86)) {
                built(call);
            }
        } else if (call.request() == Uapi.KVM_IRQFD && in.limit() >= KvmIrqfd.SIZE) {
            irqfd(call, in);
        }
    }

    private void enable(TapeLine.Call call, int capability, long argument) {
        if (capability == Uapi.KVM_CAP_SPLIT_IRQCHIP) {
            log.add(call, "KVM_ENABLE_CAP", call.on(), new Event.IrqchipCreated(Event.Irqchip.SPLIT));
        } else if (capability == Uapi.KVM_CAP_X2APIC_API) {
            if ((argument & Uapi.KVM_X2APIC_API_USE_32BIT_IDS) != 0) {
                log.add(call, "KVM_ENABLE_CAP", call.on(), new Event.ApicIdsWidened());
            }
            if ((argument & Uapi.KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK) != 0) {
                log.add(call, "KVM_ENABLE_CAP", call.on(), new Event.BroadcastQuirkDisabled());
            }
        }
    }

    private void reinject(TapeLine.Call call, boolean reinjects) {
        Set<InhibitReason> reasons = reinjects ? Set.of(InhibitReason.PIT_REINJ) : Set.of();
        log.add(call, "KVM_REINJECT_CONTROL", call.on(), new Event.Inhibited(reasons));
    }

    private void irqfd(TapeLine.Call call, ByteBuffer in) {
        EventFdId event = log.id(call.names().getOrDefault("" + KvmIrqfd.FD, "descriptor " + in.getInt(KvmIrqfd.FD)));
        int number = in.getInt(KvmIrqfd.GSI);
        boolean ends = (in.getInt(KvmIrqfd.FLAGS) & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0;
        if (number < 0 || number > Gsi.MAX) {
            String gsi = Integer.toUnsignedString(number);
            if (!ends) {
                unroutable.put(event, new Unroutable(call.number(), gsi));
                built(call);
            } else {
                unroutable.computeIfPresent(event, (id, one) -> one.gsi().equals(gsi) ? null : one);
            }
            return;
        }
        Gsi gsi = new Gsi(number);
        if (ends) {
            log.irqfd(call.on(), event, gsi).ifPresent(irqfd -> end(irqfd, call, "KVM_IRQFD"));
        } else {
            log.add(call, "KVM_IRQFD", call.on(), new Event.ConsumerAdded(event, gsi));
            built(call);
        }
    }

    private void setAttribute(TapeLine.Call call, ByteBuffer in) {
        @Nullable String vm = kvmDevices.get(call.on());
        if (vm == null || in.limit() < KvmDeviceAttr.SIZE) {
            return;
        }
        int group = in.getInt(KvmDeviceAttr.GROUP);
        long attribute = in.getLong(KvmDeviceAttr.ATTR);
        if (FileKind.ofName(call.on()) == FileKind.KVM_VFIO) {
            List<Known> named = Stream.ofNullable(call.names().get("data"))
                    .map(file -> new Known(vm, file))
                    .toList();
            if (group == Uapi.KVM_DEV_VFIO_FILE && attribute == Uapi.KVM_DEV_VFIO_FILE_ADD) {
                vfioFiles.addAll(named);
            } else if (group == Uapi.KVM_DEV_VFIO_FILE && attribute == Uapi.KVM_DEV_VFIO_FILE_DEL) {
                named.forEach(vfioFiles::remove);
            }
        } else if (group == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL
                && attribute == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT
                && vgics.contains(call.on())) {
            routes.initializeVgic(call, vm);
        } else {
            routes.setVgic(call, vm, group, attribute);
        }
    }
}
