/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
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
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The interrupt path of a VMM as the calls on its tape made it, at one call of the tape. For one thread.
 *
 * <p>Not the fold of {@code io.kvmirq.mirror}, which holds one VM as it is now. A chain of a tape also names the call that
 * made or ended each link, links that ended, and files of several VMs and processes. Both ask the same rules of posting.
 */
final class TapedVmm {
    private static final Set<Integer> VGICS = Set.of(
            UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V2,
            UapiArm64.KVM_DEV_TYPE_ARM_VGIC_V3,
            UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS);
    private static final ByteBuffer NONE = ByteBuffer.allocate(0);

    record Feed(String vm, String eventfd, int gsi, long at) {}

    /** A feed that ended, by a call such as {@code KVM_IRQFD}. */
    record EndedFeed(Feed feed, long at, String call) {}

    private final Map<Integer, TapeLine.Header> programs = new HashMap<>();
    private Optional<TapeLine.Header> first = Optional.empty();
    private final Map<String, TapedDevice> devices = new LinkedHashMap<>();
    private final Map<String, TapedMachine> vms = new LinkedHashMap<>();
    /** By file of a KVM-VFIO device, VGIC or ITS, the VM's. */
    private final Map<String, String> kvmDevices = new HashMap<>();

    /** The files of VGICs that are no ITS. */
    private final Set<String> vgics = new HashSet<>();

    private final Map<String, Integer> descriptors = new HashMap<>();
    private final Map<String, Long> readEventfds = new HashMap<>();
    private final List<Feed> feeds = new ArrayList<>();
    private final Map<String, EndedFeed> ended = new HashMap<>();
    private long lastBuilt;
    /** The number of the last call. */
    long calls;
    /** The number of the last call on the tape, which goes on after {@link #calls}. */
    long lastOnTape;

    boolean goesOn;

    boolean x86 = true;

    private TapedVmm() {}

    /**
     * The path at a call; without one, at the end, or where its tear-down begins if the tape closes all its devices.
     *
     * @throws io.kvmirq.recording.tapes.TapeException if the file is not a tape
     */
    static TapedVmm of(Path tape, Optional<Long> call) throws IOException {
        TapedVmm whole = until(tape, call.orElse(Long.MAX_VALUE));
        boolean over =
                !whole.devices.isEmpty() && whole.devices.values().stream().allMatch(one -> !one.isOpen());
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
            // A rest that is no tape is told, too.
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

    List<TapedDevice> devices() {
        return List.copyOf(devices.values());
    }

    TapedMachine vm(String file) {
        return vms.computeIfAbsent(file, unknown -> new TapedMachine());
    }

    List<Feed> feeds(String eventfd) {
        return feeds.stream().filter(one -> one.eventfd().equals(eventfd)).toList();
    }

    /** The GSI that an eventfd fed before, if a call ended it. */
    Optional<EndedFeed> endedFeed(String eventfd) {
        return Optional.ofNullable(ended.get(eventfd));
    }

    /** The last call that took the count of an eventfd. */
    Optional<Long> lastRead(String eventfd) {
        return Optional.ofNullable(readEventfds.get(eventfd));
    }

    /** Whether an earlier irqfd of the VM has the same message. */
    boolean isTakenBefore(Feed feed, MsiMessage message) {
        return feeds.stream()
                .takeWhile(one -> !one.equals(feed))
                .filter(one -> one.vm().equals(feed.vm()))
                .map(one -> vm(one.vm()).routes.get(one.gsi()))
                .filter(Objects::nonNull)
                .anyMatch(routed -> routed.routes().size() == 1
                        && routed.routes().get(0) instanceof Route.Msi other
                        && other.message().equals(message));
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
            default -> {
                if (call.isRead()) {
                    readEventfds.put(call.on(), call.number());
                }
            }
        }
    }

    private void made(TapeLine.Call call, String made) {
        FileKind kind = FileKind.ofName(made);
        if (kind == FileKind.VM) {
            vms.put(made, new TapedMachine());
        } else if (kind == FileKind.VFIO_DEVICE) {
            boolean byGroup = call.request() == UapiVfio.VFIO_GROUP_GET_DEVICE_FD;
            String name = byGroup ? text(call.in().orElse(NONE)) : call.path().orElse("");
            devices.put(
                    made, new TapedDevice(made, name.isEmpty() ? made : name, call.pid(), byGroup ? call.on() : ""));
        } else if (kind == FileKind.KVM_VFIO) {
            kvmDevices.put(made, call.on());
        } else if (kind == FileKind.KVM_DEVICE && call.in().orElse(NONE).limit() >= Integer.BYTES) {
            int type = call.in().orElse(NONE).getInt(0);
            if (VGICS.contains(type)) {
                // Of a fake kernel of arm64 the header names the machine that it ran on.
                x86 = false;
                kvmDevices.put(made, call.on());
                vgics.addAll(type == UapiArm64.KVM_DEV_TYPE_ARM_VGIC_ITS ? List.of() : List.of(made));
            }
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
                @Nullable TapedDevice device = devices.get(file);
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
            @Nullable TapedDevice device = devices.get(call.on());
            if (device != null && in.limit() >= VfioIrqSet.SIZE) {
                built(device.setIrqs(call, in), call);
            }
        } else if (call.request() == Uapi.KVM_SET_DEVICE_ATTR) {
            setAttribute(call, in);
        } else if (kind == FileKind.VCPU && call.request() == Uapi.KVM_RUN) {
            built(true, call);
        }
    }

    /** A vCPU may end its last run after the devices were closed: that belongs to the tear-down. */
    private void built(boolean something, TapeLine.Call call) {
        if (something && (devices.isEmpty() || devices.values().stream().anyMatch(TapedDevice::isOpen))) {
            lastBuilt = call.number();
        }
    }

    private void vmIoctl(TapeLine.Call call, ByteBuffer in) {
        TapedMachine vm = vm(call.on());
        if (call.request() == Uapi.KVM_CREATE_IRQCHIP && x86) {
            vm.createIrqchip(call, Route.Chip.IOAPIC);
        } else if (call.request() == Uapi.KVM_ENABLE_CAP && in.limit() >= KvmEnableCap.ARGS + Long.BYTES) {
            vm.enable(in);
        } else if (call.request() == Uapi.KVM_CREATE_PIT2) {
            vm.pitReinjects = true;
        } else if (call.request() == Uapi.KVM_REINJECT_CONTROL && in.limit() > 0) {
            vm.pitReinjects = in.get(Uapi.KvmReinjectControl.PIT_REINJECT) != 0;
        } else if (call.request() == Uapi.KVM_SET_GSI_ROUTING && in.limit() >= KvmIrqRouting.SIZE) {
            built(vm.setRoutes(call, in, x86), call);
        } else if (call.request() == Uapi.KVM_IRQFD && in.limit() >= KvmIrqfd.SIZE) {
            irqfd(call, in);
        }
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
            built(true, call);
        }
    }

    private void setAttribute(TapeLine.Call call, ByteBuffer in) {
        @Nullable String file = kvmDevices.get(call.on());
        if (file == null || in.limit() < KvmDeviceAttr.SIZE) {
            return;
        }
        TapedMachine vm = vm(file);
        int group = in.getInt(KvmDeviceAttr.GROUP);
        long attribute = in.getLong(KvmDeviceAttr.ATTR);
        if (FileKind.ofName(call.on()) == FileKind.KVM_VFIO) {
            List<String> named = Stream.ofNullable(call.names().get("data")).toList();
            if (group == Uapi.KVM_DEV_VFIO_FILE && attribute == Uapi.KVM_DEV_VFIO_FILE_ADD) {
                vm.vfioFiles.addAll(named);
            } else if (group == Uapi.KVM_DEV_VFIO_FILE && attribute == Uapi.KVM_DEV_VFIO_FILE_DEL) {
                vm.vfioFiles.removeAll(named);
            }
        } else if (group == UapiArm64.KVM_DEV_ARM_VGIC_GRP_CTRL
                && attribute == UapiArm64.KVM_DEV_ARM_VGIC_CTRL_INIT
                && vgics.contains(call.on())) {
            vm.createIrqchip(call, Route.Chip.VGIC);
        } else {
            vm.setVgic(call, group, attribute);
        }
    }
}
