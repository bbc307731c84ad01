/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.Errno;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.uapi.Arguments;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiTable;
import io.kvmirq.uapi.UapiTable.Field;
import io.kvmirq.uapi.UapiTable.FileKind;
import io.kvmirq.uapi.UapiTable.Request;
import io.kvmirq.uapi.UapiTable.Role;
import io.kvmirq.uapi.UapiTable.Trait;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Finds calls that cannot be made again, or whose answer cannot be compared. */
final class ReplayPassed {
    /** The number of processors, the limits of the kernel's build, and the size of the processor's state. */
    private static final Set<Long> CAPABILITIES_OF_MACHINE = Set.of(
            (long) Uapi.KVM_CAP_NR_VCPUS,
            (long) Uapi.KVM_CAP_MAX_VCPUS,
            (long) Uapi.KVM_CAP_MAX_VCPU_ID,
            (long) Uapi.KVM_CAP_XSAVE2,
            (long) Uapi.KVM_CAP_VM_TYPES);

    /** Errnos of resource limits of the recorded process. Without the limit, the call would succeed. */
    private static final Set<Errno> LIMITS = Set.of(Errno.ENOMEM, Errno.EMFILE, Errno.ENFILE);

    /** Errnos of missing rights of the recorded process; EIO: it did not create the VM. */
    private static final Set<Errno> OF_MACHINE = Set.of(Errno.EPERM, Errno.EACCES, Errno.EIO);

    private ReplayPassed() {}

    /** Whether the tape lacks a part of the call: the target of a pointer, or the signal or limit that ended it. */
    static boolean points(TapeLine.Call call) {
        if (isInterrupted(call) || call.errno().filter(LIMITS::contains).isPresent()) {
            return true;
        }
        boolean registers = call.call().equals("mmap") || call.isRead() || call.isWrite();
        if (FileKind.ofName(call.on()) == FileKind.VFIO_DEVICE && registers) {
            return true;
        }
        @Nullable Request request = Arguments.of(call.request(), call.on());
        if (!call.call().equals("ioctl") || call.in().isEmpty() || request == null || request.isValue()) {
            return false;
        }
        if (Arguments.isKvm(call.request())
                && call.request() != Uapi.KVM_SET_GSI_ROUTING
                && !request.traits().contains(Trait.FILLED)
                && succeeded(call)
                && lacksElements(call, request)) {
            return true;
        }
        if (request.leadsOn()) {
            return true;
        }
        return request.argument().flatMap(struct -> struct.field(Role.ADDRESS)).stream()
                .anyMatch(address -> !address.target().guest() && points(call, request, address));
    }

    private static boolean points(TapeLine.Call call, Request request, Field address) {
        if (address.target().bytes() == 0) {
            return Arguments.holds(
                    address.when(),
                    call.in().orElseThrow(),
                    call.in().orElseThrow().limit());
        }
        boolean recorded = call.data().isPresent() || call.names().containsKey("data");
        boolean asked = request.number() == Uapi.KVM_SET_DEVICE_ATTR
                && request.kind() != FileKind.KVM_DEVICE
                && request.kind() != FileKind.KVM_VFIO;
        return asked && !recorded && succeeded(call);
    }

    private static boolean lacksElements(TapeLine.Call call, Request request) {
        ByteBuffer in = call.in().orElseThrow();
        int head = Arguments.headLength(call.request(), request);
        return head > 0 && in.limit() == head && Arguments.length(call.request(), request, in) > head;
    }

    /** Whether a signal ended the call before it did anything. Signals are not on the tape. */
    private static boolean isInterrupted(TapeLine.Call call) {
        return call.errno().filter(Errno.EINTR::equals).isPresent() && !ReplayGuests.isRun(call);
    }

    /** Whether the call opens a file that does not belong to KVM, VFIO or iommufd. */
    static boolean isOtherFile(TapeLine.Call call) {
        return call.call().startsWith("open")
                && call.path().map(FileKind::ofLink).orElse(FileKind.NONE) == FileKind.NONE;
    }

    /** Whether a different answer is accepted, because it depends on the machine, or on data that the tape lacks. */
    static boolean isSilent(TapeLine.Call call) {
        if (call.errno().filter(OF_MACHINE::contains).isPresent() || isReadOfStatistics(call)) {
            return true;
        }
        if (!call.call().equals("ioctl")) {
            return false;
        }
        return asksLength(call)
                || hasTrait(call, Trait.OF_PROCESSOR)
                || isOfAnotherMode(call)
                || hasHiddenAddress(call)
                || namesStranger(call)
                || call.request() == Uapi.KVM_CHECK_EXTENSION && isOfMachine(call.value())
                || call.request() == Uapi.KVM_ENABLE_CAP && isOther(call)
                || call.request() == Uapi.KVM_SET_DEVICE_ATTR && succeeded(call) && isUnknownValue(call);
    }

    static boolean hasTrait(TapeLine.Call call, Trait trait) {
        @Nullable Request request = Arguments.of(call.request(), call.on());
        return request != null && request.traits().contains(trait);
    }

    private static boolean isReadOfStatistics(TapeLine.Call call) {
        return FileKind.ofName(call.on()) == FileKind.STATS && !call.call().equals("close");
    }

    /** Whether the call sets CR4 or EFER, whose legal bits depend on the processor. */
    private static boolean isOfAnotherMode(TapeLine.Call call) {
        boolean segments = call.request() == Uapi.KVM_SET_SREGS || call.request() == Uapi.KVM_SET_SREGS2;
        return segments
                && call.in()
                        .filter(bytes -> bytes.limit() >= Uapi.KvmSregs2.APIC_BASE)
                        .filter(bytes -> (bytes.getLong(Uapi.KvmSregs.CR4) | bytes.getLong(Uapi.KvmSregs.EFER)) != 0)
                        .isPresent();
    }

    /** Whether EINVAL may be due to an address of the program, which is 0 on the tape. */
    private static boolean hasHiddenAddress(TapeLine.Call call) {
        return call.errno().filter(Errno.EINVAL::equals).isPresent()
                && Optional.ofNullable(Arguments.of(call.request(), call.on()))
                        .flatMap(Request::argument)
                        .flatMap(struct -> struct.field(Role.ADDRESS))
                        .filter(field -> !call.names().containsKey(String.valueOf(field.offset()))
                                && !call.names().containsKey("data")
                                && call.data().isEmpty())
                        .isPresent();
    }

    /** Whether the call has a descriptor without a name: another thread may have opened or closed it at that time. */
    private static boolean namesStranger(TapeLine.Call call) {
        if (call.errno().isEmpty() || call.in().isEmpty() || call.cut()) {
            return false;
        }
        ByteBuffer in = call.in().get();
        int[] places = new int[Arguments.MOST_FDS];
        int count = Arguments.places(Arguments.of(call.request(), call.on()), Role.FD, in, in.limit(), places);
        return Arrays.stream(places, 0, count)
                .anyMatch(at -> in.getInt(at) >= 0 && !call.names().containsKey(String.valueOf(at)));
    }

    /** Whether the call passes a short list to learn the full length, which depends on the processor. */
    private static boolean asksLength(TapeLine.Call call) {
        return call.call().equals("ioctl")
                && Arguments.isKvm(call.request())
                && call.errno().filter(Errno.E2BIG::equals).isPresent()
                && Optional.ofNullable(Arguments.of(call.request(), call.on()))
                        .filter(request -> request.writes()
                                && request.argument()
                                        .flatMap(struct -> struct.field(Role.COUNT))
                                        .isPresent())
                        .isPresent();
    }

    private static boolean isOfMachine(long capability) {
        return !UapiTable.isCapability(capability) || CAPABILITIES_OF_MACHINE.contains(capability);
    }

    private static boolean isUnknownValue(TapeLine.Call call) {
        return call.data().isEmpty() && !call.names().containsKey("data");
    }

    private static boolean isOther(TapeLine.Call call) {
        return call.in()
                .filter(bytes -> bytes.limit() >= Uapi.KvmEnableCap.SIZE)
                .map(bytes -> bytes.getInt(Uapi.KvmEnableCap.CAP))
                .filter(number -> !UapiTable.isCapability(number) || number == Uapi.KVM_CAP_MAX_VCPU_ID)
                .isPresent();
    }

    private static boolean succeeded(TapeLine.Call call) {
        return call.call().equals("ioctl")
                && call.errno().isEmpty()
                && call.result() >= 0
                && call.made().isEmpty()
                && !call.begins();
    }
}
