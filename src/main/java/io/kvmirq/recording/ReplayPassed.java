/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

import io.kvmirq.Errno;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.backend.libc.UapiTable;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** Calls of a tape that are not made again, or whose answer says nothing; they are counted by request. */
final class ReplayPassed {
    /** What changes how interrupts go: without one of them, what follows is not what the tape saw. */
    private static final Set<Long> INTERRUPT_PATH = Set.of(
            Uapi.KVM_RUN,
            Uapi.KVM_IRQFD,
            Uapi.KVM_IOEVENTFD,
            Uapi.KVM_IRQ_LINE,
            Uapi.KVM_IRQ_LINE_STATUS,
            Uapi.KVM_SET_GSI_ROUTING,
            Uapi.KVM_SIGNAL_MSI,
            Uapi.KVM_CREATE_IRQCHIP,
            Uapi.KVM_SET_IRQCHIP,
            Uapi.KVM_SET_LAPIC,
            Uapi.KVM_CREATE_PIT2,
            Uapi.KVM_INTERRUPT,
            Uapi.KVM_NMI,
            Uapi.KVM_SET_USER_MEMORY_REGION,
            Uapi.KVM_SET_USER_MEMORY_REGION2,
            Uapi.KVM_CREATE_DEVICE,
            Uapi.KVM_SET_DEVICE_ATTR);

    /** KVM's, by their number alone: of memory that the tape does not hold, which the kernel would read or write here. */
    private static final Set<Integer> POINTING = Set.of(
            0x42, // KVM_GET_DIRTY_LOG
            0x7a, // KVM_XEN_HVM_CONFIG
            0xab, // KVM_GET_ONE_REG
            0xac, // KVM_SET_ONE_REG
            0xb4, // KVM_ARM_COPY_MTE_TAGS
            0xba, // KVM_MEMORY_ENCRYPT_OP
            0xbb, // KVM_MEMORY_ENCRYPT_REG_REGION
            0xbc, // KVM_MEMORY_ENCRYPT_UNREG_REGION
            0xc0, // KVM_CLEAR_DIRTY_LOG
            0xc6); // KVM_X86_SET_MSR_FILTER

    /** KVM's, by their number alone: lists of which programs ask the length by asking for too few, and get E2BIG. */
    private static final Set<Integer> LISTS = Set.of(
            0x02, // KVM_GET_MSR_INDEX_LIST
            0x05, // KVM_GET_SUPPORTED_CPUID
            0x09, // KVM_GET_EMULATED_CPUID
            0x0a); // KVM_GET_MSR_FEATURE_INDEX_LIST

    private final Map<String, Long> counts = new TreeMap<>();
    private long all;

    /** How many. */
    long all() {
        return all;
    }

    void add(TapeLine.Call call) {
        all++;
        counts.merge(
                TapeText.request(call).map(UapiTable.Request::name).orElseGet(() -> Names.hex(call.request())),
                1L,
                Long::sum);
    }

    /** A sentence, if there were any. */
    Optional<String> remark() {
        return counts.isEmpty()
                ? Optional.empty()
                : Optional.of(counts.entrySet().stream()
                        .map(count -> count.getKey() + " " + count.getValue())
                        .collect(Collectors.joining(", ", "passed over: ", "")));
    }

    /** Whether it cannot be made: what it points to was the program's, and is not on the tape. */
    static boolean points(TapeLine.Call call) {
        if (!call.call().equals("ioctl") || call.in().isEmpty()) {
            return false;
        }
        long request = call.request();
        if (request == Uapi.VFIO_IOMMU_MAP_DMA || request == Uapi.IOMMU_IOAS_MAP) {
            return true;
        }
        if (!Arguments.isKvm(request) || Arguments.isValue(request)) {
            return false;
        }
        if (call.request() != Uapi.KVM_SET_GSI_ROUTING && succeeded(call) && lacksElements(call)) {
            return true;
        }
        boolean recorded = call.data().isPresent() || call.names().containsKey("data");
        boolean attribute = request == Uapi.KVM_GET_DEVICE_ATTR
                || request == Uapi.KVM_SET_DEVICE_ATTR
                        && !FileType.ofIdentity(call.on()).equals(Optional.of(FileType.KVM_DEVICE));
        return POINTING.contains((int) (request & 0xff)) || attribute && !recorded && succeeded(call);
    }

    private static boolean lacksElements(TapeLine.Call call) {
        int length = call.in().map(ByteBuffer::limit).orElse(0);
        int head = Arguments.headLength(call.request());
        return head > 0
                && length == head
                && Arguments.length(call.request(), call.in().orElseThrow()) > length;
    }

    /** Whether a kernel without a model of it can be spared it. */
    static boolean isSpared(TapeLine.Call call) {
        return (succeeded(call) || asksLength(call))
                && Arguments.isKvm(call.request())
                && !INTERRUPT_PATH.contains(call.request())
                && (call.request() != Uapi.KVM_ENABLE_CAP || isOther(call));
    }

    /** Whether another answer says nothing: it is about a capability that has nothing to do with interrupts. */
    static boolean isSilent(TapeLine.Call call) {
        if (!call.call().equals("ioctl")) {
            return false;
        }
        return asksLength(call)
                || call.request() == Uapi.KVM_CHECK_EXTENSION && !Names.isCapability(call.value())
                || call.request() == Uapi.KVM_ENABLE_CAP && succeeded(call) && isOther(call)
                || call.request() == Uapi.KVM_SET_DEVICE_ATTR && succeeded(call) && isUnknownValue(call);
    }

    /** The answer is of the processor. */
    private static boolean asksLength(TapeLine.Call call) {
        return call.call().equals("ioctl")
                && Arguments.isKvm(call.request())
                && call.errno().filter(Errno.E2BIG::equals).isPresent()
                && LISTS.contains((int) (call.request() & 0xff));
    }

    private static boolean isUnknownValue(TapeLine.Call call) {
        return call.data().isEmpty() && !call.names().containsKey("data");
    }

    private static boolean isOther(TapeLine.Call call) {
        return call.in()
                .filter(bytes -> bytes.limit() >= Uapi.KvmEnableCap.SIZE)
                .map(bytes -> bytes.getInt(Uapi.KvmEnableCap.CAP))
                .filter(number -> !Names.isCapability(number) || number == Uapi.KVM_CAP_MAX_VCPU_ID)
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
