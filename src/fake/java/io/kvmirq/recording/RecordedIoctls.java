/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Masking;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Writes the lines of ioctls, and of a program's writes to guest memory. */
final class RecordedIoctls implements Masking.Holder {
    private final CallLines lines;
    private final ProcessMemory memory;
    private final RecordedGuestMemory guests;
    private final Masking masking = new Masking(this);
    /** The mapped kvm_run structure of each vCPU. */
    private final Map<String, Run> runs = new HashMap<>();

    private record Run(String mapping, long address) {}

    private final ByteBuffer run = Buffers.allocate(Arguments.RUN_EXIT);

    RecordedIoctls(CallLines lines, ProcessMemory memory) {
        this.lines = lines;
        this.memory = memory;
        this.guests = new RecordedGuestMemory(memory);
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
        FileKind kind = lines.files().type(fd(arguments));
        @Nullable Request known = known(arguments, kind);
        capture.kind = kind;
        capture.known = known;
        if (request == Uapi.KVM_RUN) {
            synchronized (lines.writer()) {
                beginRun(capture, fd(arguments));
            }
            return;
        }
        if (Arguments.isValue(request, known)) {
            return;
        }
        if (known != null && known.text()) {
            capture.loadText(arguments[2]);
            return;
        }
        int head = Arguments.headLength(request, known);
        boolean readable = head == 0 || capture.copy(arguments[2], head, capture.in);
        if (readable) {
            long length = Arguments.length(request, known, capture.in);
            capture.load(arguments[2], length, (int) Math.min(length, Arguments.most(request)));
        }
        int value = Arguments.valueLength(known, capture.in, capture.inLength);
        if (value > 0 && memory.copy(capture.in.getLong(Uapi.KvmDeviceAttr.ADDR), value, capture.data)) {
            capture.dataLength = value;
        }
        if (value > 0 && !Arguments.isDescriptor(known)) {
            synchronized (lines.writer()) {
                writeMemory(capture);
            }
        }
    }

    private static @Nullable Request known(@Nullable Object[] arguments, FileKind kind) {
        return arguments[1] instanceof Long number ? UapiTable.find(number, kind) : null;
    }

    /** Writes changed guest memory and the line that KVM_RUN begins. KVM_RUN may block until other calls are made. */
    private void beginRun(Capture capture, int fd) {
        String on = lines.files().subject(fd);
        guests.begins(on);
        writeMemory(capture);
        boolean known = copyRun(on);
        lines.begin(capture, "ioctl", on);
        lines.writer().arguments(Uapi.KVM_RUN, "KVM_RUN", 0, 0);
        if (known) {
            lines.writer().bytes(TapeWriter.IN, run, Uapi.KvmRun.IMMEDIATE_EXIT + 1);
        }
        lines.writer().flag(TapeWriter.BEGINS);
        lines.writer().endLine();
    }

    /** Writes the guest memory that the program changed, before a vCPU or an ITS reads it. */
    private void writeMemory(Capture capture) {
        guests.changes((mapping, offset, bytes, length) -> {
            lines.begin(capture, "memory", mapping);
            lines.writer().arguments(0, "", offset, 0);
            if (length > 0) {
                lines.writer().bytes(TapeWriter.IN, bytes, length);
            }
            lines.end(0);
        });
    }

    // After

    void line(Capture capture, @Nullable Object[] arguments, long result) {
        long request = request(arguments);
        lines.begin(capture, "ioctl", fd(arguments));
        FileKind kind = lines.files().type(fd(arguments));
        // The call itself may have named the file, so its kind may be known only now.
        @Nullable Request known = kind == capture.kind ? capture.known : known(arguments, kind);
        long value = Arguments.value(request, known, Capture.number(arguments[2]));
        lines.writer().arguments(request, known == null ? "" : known.name(), value, 0);
        if (request == Uapi.KVM_RUN) {
            endRun(fd(arguments), result);
            return;
        }
        if (Arguments.isWritten(request, known)) {
            capture.storeChanged(arguments[2]);
        }
        masking.over(capture.in, capture.inLength, capture.out, capture.outLength);
        String made = arguments[1] instanceof Long number
                ? masking.ioctl(known, number, kind, capture.data, capture.dataLength, result)
                : "";
        lines.structures(capture, known == null ? null : known.argument().orElse(null));
        if (made.isEmpty()) {
            lines.end(result);
        } else {
            lines.made(made);
        }
    }

    void maskPoll(Capture capture) {
        masking.over(capture.in, capture.inLength, capture.out, capture.outLength);
        masking.poll();
    }

    @Override
    public @Nullable String file(int fd) {
        return lines.files().find(fd);
    }

    @Override
    public String made(int fd, FileKind kind) {
        return lines.files().made(fd, kind);
    }

    @Override
    public String guestMemory(long address) {
        String place = memory.placeOf(address);
        String mapping = place.isEmpty() ? "" : place.substring(0, place.indexOf('+'));
        return guests.add(mapping) ? place : "";
    }

    @Override
    public void named(int place, String name) {
        lines.writer().name(place, name);
    }

    private void endRun(int fd, long result) {
        if (result >= 0 && copyRun(lines.files().subject(fd))) {
            lines.writer().bytes(TapeWriter.OUT, run, Arguments.RUN_EXIT);
        }
        guests.ran();
        lines.end(result);
    }

    private boolean copyRun(String vcpu) {
        @Nullable Run known = runs.get(vcpu);
        return known != null && memory.copyUnknown(known.address, Arguments.RUN_EXIT, run);
    }

    // Mappings

    void closed(String file) {
        guests.closed(file);
    }

    void mapped(String vcpu, String mapping) {
        if (memory.length(mapping) >= Arguments.RUN_EXIT) {
            runs.put(vcpu, new Run(mapping, memory.address(mapping)));
        }
    }

    void unmapped(String mapping) {
        guests.remove(mapping);
        runs.values().removeIf(run -> run.mapping.equals(mapping));
    }
}
