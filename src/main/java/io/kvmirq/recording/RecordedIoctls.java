/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The lines of ioctls, and of what programs write into guests. */
final class RecordedIoctls {
    private final CallLines lines;
    private final ProcessMemory memory;
    private final GuestMemory guests;
    /** What each vCPU shares with its VMM. */
    private final Map<String, Run> runs = new HashMap<>();

    private record Run(String mapping, long address) {}

    private final ByteBuffer run = Buffers.allocate(GuestMemory.EXIT_SIZE);

    RecordedIoctls(CallLines lines, ProcessMemory memory) {
        this.lines = lines;
        this.memory = memory;
        this.guests = new GuestMemory(memory);
    }

    static long request(@Nullable Object[] arguments) {
        return Capture.number(arguments[1]) & 0xffff_ffffL;
    }

    private static int fd(@Nullable Object[] arguments) {
        return (int) Capture.number(arguments[0]);
    }

    // Before

    void before(Capture capture, @Nullable Object[] arguments) {
        long request = request(arguments);
        if (request == Uapi.KVM_RUN) {
            synchronized (lines.writer) {
                beginRun(capture, fd(arguments));
            }
        } else if (!Arguments.isValue(request)) {
            int head = Arguments.headLength(request);
            boolean readable = head == 0 || capture.copy(arguments[2], head, capture.in);
            long length = readable ? Arguments.length(request, capture.in) : head;
            if (readable) {
                capture.load(arguments[2], length, (int) Math.min(length, Arguments.most(request)));
            }
            attribute(capture, request);
        }
    }

    /** The file that a KVM-VFIO device is told of, by a pointer to its number. */
    private void attribute(Capture capture, long request) {
        if (request == Uapi.KVM_SET_DEVICE_ATTR
                && capture.inLength == Uapi.KvmDeviceAttr.SIZE
                && capture.in.getInt(Uapi.KvmDeviceAttr.GROUP) == Uapi.KVM_DEV_VFIO_FILE
                && memory.copy(capture.in.getLong(Uapi.KvmDeviceAttr.ADDR), Integer.BYTES, capture.data)) {
            capture.dataLength = Integer.BYTES;
        }
    }

    /** Memory of guests, then that it begins: it may block until other calls have been made. */
    private void beginRun(Capture capture, int fd) {
        String on = lines.files.subject(fd);
        guests.begins(on, (mapping, offset, bytes, length) -> {
            lines.begin(capture, "memory", mapping);
            lines.writer.arguments(0, "", offset, 0);
            if (length > 0) {
                lines.writer.bytes("in", bytes, length);
            }
            lines.end(0);
        });
        boolean known = copyRun(on);
        lines.begin(capture, "ioctl", on);
        lines.writer.arguments(Uapi.KVM_RUN, "KVM_RUN", 0, 0);
        if (known) {
            lines.writer.bytes("in", run, Uapi.KvmRun.IMMEDIATE_EXIT + 1);
        }
        lines.writer.flag("begins");
        lines.writer.endLine();
    }

    // After

    void line(Capture capture, @Nullable Object[] arguments, long result) {
        long request = request(arguments);
        lines.begin(capture, "ioctl", fd(arguments));
        @Nullable FileType type = lines.files.type(fd(arguments));
        UapiTable.@Nullable Request known = arguments[1] instanceof Long number
                ? Requests.find(number, type == null ? null : type.kind().orElse(null))
                : null;
        long value = Arguments.isValue(request) ? Capture.number(arguments[2]) : 0;
        lines.writer.arguments(request, known == null ? "" : known.name(), value, 0);
        if (request == Uapi.KVM_RUN) {
            endRun(fd(arguments), result);
            return;
        }
        if (Arguments.isWritten(request)) {
            capture.storeChanged(arguments[2]);
        }
        int count = Arguments.descriptors(request, capture.in, capture.inLength, capture.places);
        for (int i = 0; i < count; i++) {
            lines.name(capture, capture.places[i]);
        }
        nameOthers(capture, request);
        String device = createdDevice(capture, request, result);
        lines.structures(capture, known == null ? null : known.argument().orElse(null));
        if (device.isEmpty()) {
            lines.end(result, FileType.madeBy(request));
        } else {
            lines.made(device);
        }
    }

    private void nameOthers(Capture capture, long request) {
        int at = Arguments.address(request);
        if (at >= 0 && capture.inLength >= at + Long.BYTES) {
            String place = memory.placeOf(capture.in.getLong(at));
            String mapping = place.isEmpty() ? "" : place.substring(0, place.indexOf('+'));
            if (guests.add(mapping)) {
                lines.writer.name(at, place);
            }
            capture.putIn(at, 0);
            capture.putIn(at + Integer.BYTES, 0);
        }
        @Nullable String file = capture.dataLength >= 0 ? lines.files.find(capture.data.getInt(0)) : null;
        if (file != null) {
            lines.writer.name(TapeWriter.IN_DATA, file);
            capture.data.putInt(0, 0);
        }
    }

    /** @return its name; empty when none was made */
    private String createdDevice(Capture capture, long request, long result) {
        if (request != Uapi.KVM_CREATE_DEVICE
                || result != 0
                || capture.inLength < Uapi.KvmCreateDevice.SIZE
                || (capture.in.getInt(Uapi.KvmCreateDevice.FLAGS) & Uapi.KVM_CREATE_DEVICE_TEST) != 0) {
            return "";
        }
        ByteBuffer after = capture.outLength < 0 ? capture.in : capture.out;
        String name = lines.files.made(after.getInt(Uapi.KvmCreateDevice.FD), FileType.KVM_DEVICE);
        after.putInt(Uapi.KvmCreateDevice.FD, 0);
        return name;
    }

    private void endRun(int fd, long result) {
        if (result >= 0 && copyRun(lines.files.subject(fd))) {
            lines.writer.bytes("out", run, GuestMemory.EXIT_SIZE);
        }
        guests.ran();
        lines.end(result);
    }

    private boolean copyRun(String vcpu) {
        @Nullable Run known = runs.get(vcpu);
        return known != null && memory.copyUnknown(known.address, GuestMemory.EXIT_SIZE, run);
    }

    // Mappings

    void closed(String file) {
        guests.closed(file);
    }

    void mapped(String vcpu, String mapping) {
        if (memory.length(mapping) >= GuestMemory.EXIT_SIZE) {
            runs.put(vcpu, new Run(mapping, memory.address(mapping)));
        }
    }

    void unmapped(String mapping) {
        guests.remove(mapping);
        runs.values().removeIf(run -> run.mapping.equals(mapping));
    }
}
