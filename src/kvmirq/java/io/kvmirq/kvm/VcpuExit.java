/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.uapi.Uapi;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;

/**
 * The reason why a guest left {@link Vcpu#run}, with the exit's data. A vCPU has one VcpuExit, and each run replaces
 * its data. A method that does not apply to the exit's {@link #reason} throws {@link IllegalStateException}. Use the
 * object only in the vCPU thread.
 *
 * <p>If the guest reads from a port or an address, {@link #answer} sets the value, which the next run delivers. Without
 * an answer, the guest reads all ones, as from an empty bus.
 *
 * <p>Source: {@code struct kvm_run} in linux/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.KvmSnippetsTest" region="run"}
 */
public final class VcpuExit {
    /** The number of words at the start of {@code struct kvm_run} with the reason and most of the exit's data. */
    private static final int WORDS = 7;

    private static final long ONES = -1;
    /** The offset of the union in {@code struct kvm_run}. */
    private static final int DATA = Uapi.KvmRun.HYPERCALL_NR;

    private static final int DATA_WORDS = 32;

    private final Mapping page;
    /** A copy of these words, because each access to the page itself is counted to keep it mapped. */
    private final long[] head = new long[WORDS];

    /** Whether the guest waits for the answer to a read. */
    private boolean reads;

    private final BitSet answered = new BitSet();
    /** Whether the guest's MSR access was answered. */
    private boolean isMsrAnswered;

    private Reason reason = Reason.OTHER;
    private int number;

    /**
     * Exit reasons. Later versions of kvmirq add no constants, so an exit reported as {@link #OTHER} stays OTHER, and
     * code that compares {@link VcpuExit#number} keeps working. {@link VcpuExit#word} returns data that has no method.
     * Source: {@code KVM_EXIT_*} in linux/kvm.h.
     */
    public enum Reason {
        /** The guest accessed a port that no in-kernel device serves. */
        IO(Uapi.KVM_EXIT_IO),
        /** The guest accessed an address that is neither memory nor an in-kernel device. */
        MMIO(Uapi.KVM_EXIT_MMIO),
        /** The guest executed HLT without an in-kernel LAPIC. With one, the kernel handles HLT. */
        HLT(Uapi.KVM_EXIT_HLT),
        /** The guest caused a triple fault. */
        SHUTDOWN(Uapi.KVM_EXIT_SHUTDOWN),
        /** The processor refused to enter the guest. */
        FAIL_ENTRY(Uapi.KVM_EXIT_FAIL_ENTRY),
        /** A {@link Vcpu#kick} or a process signal ended the run. */
        INTR(Uapi.KVM_EXIT_INTR),
        /** KVM cannot continue the guest, for example after an instruction that KVM cannot emulate. */
        INTERNAL_ERROR(Uapi.KVM_EXIT_INTERNAL_ERROR),
        /** The guest requested a power-off or reset (PSCI on arm64). */
        SYSTEM_EVENT(Uapi.KVM_EXIT_SYSTEM_EVENT),
        /** The guest sent the EOI of a level-triggered interrupt of the VMM's IOAPIC (split irqchip). */
        IOAPIC_EOI(Uapi.KVM_EXIT_IOAPIC_EOI),
        /** The guest read an MSR that KVM passes to the VMM, if KVM_CAP_X86_USER_SPACE_MSR is enabled. */
        MSR_READ(Uapi.KVM_EXIT_X86_RDMSR),
        /** The guest wrote an MSR that KVM passes to the VMM, if KVM_CAP_X86_USER_SPACE_MSR is enabled. */
        MSR_WRITE(Uapi.KVM_EXIT_X86_WRMSR),
        /** The guest made a hypercall that KVM passes to the VMM, if KVM_CAP_EXIT_HYPERCALL is enabled. */
        HYPERCALL(Uapi.KVM_EXIT_HYPERCALL),
        /** A breakpoint or step (KVM_SET_GUEST_DEBUG). {@link VcpuExit#word}(0–3): exception, address, DR6, DR7. */
        DEBUG(Uapi.KVM_EXIT_DEBUG),
        /**
         * The guest accessed an address without memory, or a page with a hardware error (KVM_CAP_MEMORY_FAULT_INFO).
         * {@link VcpuExit#word}(0) contains the flags {@code KVM_MEMORY_EXIT_FLAG_*}, word(1) the address, and word(2)
         * the length in bytes.
         */
        MEMORY_FAULT(Uapi.KVM_EXIT_MEMORY_FAULT),
        /** The guest used Hyper-V's hypercalls or SynIC. {@link VcpuExit#word}(0) is the Hyper-V exit type. */
        HYPERV(Uapi.KVM_EXIT_HYPERV),
        /** The guest made a Xen hypercall. {@link VcpuExit#word}(0) is the Xen exit type. */
        XEN(Uapi.KVM_EXIT_XEN),
        /**
         * The guest had no event window for longer than the VMM allows (KVM_CAP_X86_NOTIFY_VMEXIT). {@link
         * VcpuExit#word}(0) contains the exit's flags.
         */
        NOTIFY(Uapi.KVM_EXIT_NOTIFY),
        /** The guest took a bus lock, for example by a split lock, and KVM_CAP_X86_BUS_LOCK_EXIT is enabled. */
        BUS_LOCK(Uapi.KVM_EXIT_X86_BUS_LOCK),
        /**
         * The guest accessed the TPR. {@link VcpuExit#word}(0) is the instruction's address, word(1) is 1 for a write.
         */
        TPR_ACCESS(Uapi.KVM_EXIT_TPR_ACCESS),
        /** The guest can take an interrupt now, as requested by {@link X86Vcpu#requestInterruptWindow}. */
        INTERRUPT_WINDOW(Uapi.KVM_EXIT_IRQ_WINDOW_OPEN),
        /** Any other exit, which {@link VcpuExit#number} identifies. */
        OTHER(Uapi.KVM_EXIT_UNKNOWN);

        private static final Reason[] ALL = values();
        private final int number;

        Reason(int number) {
            this.number = number;
        }

        private static Reason of(int number) {
            for (Reason reason : ALL) {
                if (reason.number == number) {
                    return reason;
                }
            }
            return OTHER;
        }
    }

    VcpuExit(Mapping page) {
        this.page = page;
    }

    /**
     * Whether the guest can take an interrupt from {@link X86Vcpu#injectInterrupt} now. Always true with a full
     * irqchip, where {@code injectInterrupt} fails.
     */
    public boolean isReadyForInterrupt() {
        int at = Uapi.KvmRun.READY_FOR_INTERRUPT_INJECTION;
        return (head[at / Long.BYTES] >>> at % Long.BYTES * Byte.SIZE & 0xff) != 0;
    }

    /** The array to which a run copies the first words of {@code struct kvm_run}, before {@link #become}. */
    long[] head() {
        return head;
    }

    /** @param exit a {@code KVM_EXIT_*} number */
    void become(int exit) {
        number = exit;
        reason = Reason.of(exit);
        reads = (reason == Reason.IO || reason == Reason.MMIO) && !isWrite();
        isMsrAnswered = false;
        if (reads) {
            answered.clear();
        }
    }

    /** Source: the note on pending operations at KVM_RUN in Documentation/virt/kvm/api.rst. */
    boolean isWithinInstruction() {
        return switch (reason) {
            case INTR, HLT, IOAPIC_EOI, SHUTDOWN, SYSTEM_EVENT, FAIL_ENTRY, INTERNAL_ERROR -> false;
            case DEBUG, MEMORY_FAULT, NOTIFY, BUS_LOCK, TPR_ACCESS, INTERRUPT_WINDOW -> false;
            case IO, MMIO, MSR_READ, MSR_WRITE, HYPERCALL, HYPERV, XEN, OTHER -> true;
        };
    }

    /** Completes accesses before the next run. Unanswered reads return all ones, and unanswered MSR accesses fail. */
    void completeRead() {
        if ((reason == Reason.MSR_READ || reason == Reason.MSR_WRITE) && !isMsrAnswered) {
            page.putByte(Uapi.KvmRun.MSR_ERROR, (byte) 1);
        }
        if (reads) {
            reads = false;
            int count = count();
            for (int i = answered.nextClearBit(0); i < count; i = answered.nextClearBit(i + 1)) {
                put(i, ONES);
            }
        }
    }

    /** A field of the head, zero-extended. */
    private long field(int offset, int length) {
        long word = head[offset / Long.BYTES] >>> Byte.SIZE * (offset % Long.BYTES);
        return length == Long.BYTES ? word : word & (1L << Byte.SIZE * length) - 1;
    }

    private int byteAt(int offset) {
        return (int) field(offset, Byte.BYTES);
    }

    private int intAt(int offset) {
        return (int) field(offset, Integer.BYTES);
    }

    private long longAt(int offset) {
        return field(offset, Long.BYTES);
    }

    /** The exit reason; {@link Reason#OTHER} if it has no constant of its own. */
    public Reason reason() {
        return reason;
    }

    /** The exit's {@code KVM_EXIT_*} number, even if it has a {@link Reason}. Linux never renumbers exits. */
    public int number() {
        return number;
    }

    private void require(Reason... kinds) {
        for (Reason kind : kinds) {
            if (reason == kind) {
                return;
            }
        }
        throw new IllegalStateException("the guest left with " + this + ", expected "
                + String.join(" or ", List.of(kinds).stream().map(Reason::name).toList())
                + ": call only methods that its reason supports");
    }

    // Accesses

    private boolean isIo() {
        require(Reason.IO, Reason.MMIO);
        return reason == Reason.IO;
    }

    /** The port that the guest accessed, if the reason is {@link Reason#IO}. */
    public int port() {
        require(Reason.IO);
        return (int) field(Uapi.KvmRun.IO_PORT, Short.BYTES);
    }

    /** The guest-physical address that the guest accessed, if the reason is {@link Reason#MMIO}. */
    public long address() {
        require(Reason.MMIO);
        return longAt(Uapi.KvmRun.MMIO_PHYS_ADDR);
    }

    /** Whether the guest wrote, if the reason is {@link Reason#IO} or {@link Reason#MMIO}. */
    public boolean isWrite() {
        return isIo()
                ? byteAt(Uapi.KvmRun.IO_DIRECTION) == Uapi.KVM_EXIT_IO_OUT
                : byteAt(Uapi.KvmRun.MMIO_IS_WRITE) != 0;
    }

    /** The size of one access in bytes: 1, 2 or 4 for a port, 1 to 8 for an address. */
    public int size() {
        return isIo() ? byteAt(Uapi.KvmRun.IO_SIZE) : intAt(Uapi.KvmRun.MMIO_LEN);
    }

    /** The number of accesses, each of {@link #size} bytes; more than 1 if a string instruction accesses a port. */
    public int count() {
        return isIo() ? intAt(Uapi.KvmRun.IO_COUNT) : 1;
    }

    /** The value of the guest's first access, zero-extended: written by the guest or set by {@code answer}. */
    public long data() {
        return data(0);
    }

    /** Like {@link #data()}, for one access of a string instruction, from 0 to {@link #count} − 1. */
    public long data(int access) {
        int at = at(access);
        int size = size();
        if (reads && !answered.get(access)) {
            return ONES >>> Long.SIZE - Byte.SIZE * size;
        }
        return switch (size) {
            case Byte.BYTES -> Byte.toUnsignedLong(page.getByte(at));
            case Short.BYTES -> Short.toUnsignedLong(page.getShort(at));
            case Integer.BYTES -> Integer.toUnsignedLong(page.getInt(at));
            case Long.BYTES -> page.getLong(at);
            default -> bytes(at, size);
        };
    }

    private long bytes(int at, int size) {
        long value = 0;
        for (int i = size - 1; i >= 0; i--) {
            value = value << Byte.SIZE | page.getByte(at + i) & 0xff;
        }
        return value;
    }

    private int at(int access) {
        if (access < 0 || access >= count()) {
            throw new IndexOutOfBoundsException(
                    "access " + access + " of " + this + ": expected 0 to " + (count() - 1));
        }
        return isIo() ? (int) longAt(Uapi.KvmRun.IO_DATA_OFFSET) + access * size() : Uapi.KvmRun.MMIO_DATA;
    }

    /**
     * Sets the value that the guest's first access reads. The access uses the low {@link #size} bytes.
     *
     * @throws IllegalStateException if the guest's access is a write, or the value was set before
     */
    public void answer(long value) {
        answer(0, value);
    }

    /** Like {@link #answer(long)}, for one access of a string instruction, from 0 to {@link #count} − 1. */
    public void answer(int access, long value) {
        if (isWrite()) {
            throw new IllegalStateException(this + " was a write, which has no answer: run the vCPU again");
        }
        if (access >= 0 && answered.get(access)) {
            throw new IllegalStateException(
                    "access " + access + " of " + this + " was answered before: answer each access once");
        }
        put(access, value);
        answered.set(access);
    }

    private void put(int access, long value) {
        int at = at(access);
        int size = size();
        int done = 0;
        for (; size - done >= Integer.BYTES; done += Integer.BYTES) {
            page.putInt(at + done, (int) (value >>> Byte.SIZE * done));
        }
        for (; done < size; done++) {
            page.putByte(at + done, (byte) (value >>> Byte.SIZE * done));
        }
    }

    // Other exits

    /** The vector for which the guest sent the EOI, if the reason is {@link Reason#IOAPIC_EOI}. */
    public InterruptVector vector() {
        require(Reason.IOAPIC_EOI);
        return new InterruptVector(byteAt(Uapi.KvmRun.EOI_VECTOR));
    }

    /** The event {@code KVM_SYSTEM_EVENT_*} of a {@link Reason#SYSTEM_EVENT}: 1 for power-off, 2 for reset. */
    public int systemEvent() {
        require(Reason.SYSTEM_EVENT);
        return intAt(Uapi.KvmRun.SYSTEM_EVENT_TYPE);
    }

    /** The processor's reason for a {@link Reason#FAIL_ENTRY}, as a number defined in the vendor's manual. */
    public long hardwareReason() {
        require(Reason.FAIL_ENTRY);
        return longAt(Uapi.KvmRun.FAIL_ENTRY_REASON);
    }

    /** The {@code KVM_INTERNAL_ERROR_*} of a {@link Reason#INTERNAL_ERROR}, 1 if KVM cannot emulate an instruction. */
    public int suberror() {
        require(Reason.INTERNAL_ERROR);
        return intAt(Uapi.KvmRun.INTERNAL_SUBERROR);
    }

    /** The 32-bit MSR index, if the reason is {@link Reason#MSR_READ} or {@link Reason#MSR_WRITE}. */
    public int msr() {
        require(Reason.MSR_READ, Reason.MSR_WRITE);
        return intAt(Uapi.KvmRun.MSR_INDEX);
    }

    /** The value that the guest wrote to the MSR, if the reason is {@link Reason#MSR_WRITE}. */
    public long msrValue() {
        require(Reason.MSR_WRITE);
        return longAt(Uapi.KvmRun.MSR_DATA);
    }

    /** Sets the MSR value of a {@link Reason#MSR_READ}. Without this call the guest gets a general protection fault. */
    public void answerMsr(long value) {
        require(Reason.MSR_READ);
        page.putLong(Uapi.KvmRun.MSR_DATA, value);
        isMsrAnswered = true;
    }

    /** Accepts the value of a {@link Reason#MSR_WRITE}. Without this call the guest gets a general protection fault. */
    public void acceptMsr() {
        require(Reason.MSR_WRITE);
        isMsrAnswered = true;
    }

    /** The number {@code KVM_HC_*} of a {@link Reason#HYPERCALL}. */
    public long hypercall() {
        require(Reason.HYPERCALL);
        return longAt(Uapi.KvmRun.HYPERCALL_NR);
    }

    /** An argument of a {@link Reason#HYPERCALL}, numbered from 0 to 5. */
    public long argument(int index) {
        require(Reason.HYPERCALL);
        return page.getLong(Uapi.KvmRun.HYPERCALL_ARGS + Long.BYTES * Objects.checkIndex(index, 6));
    }

    /** Sets the result of the guest's {@link Reason#HYPERCALL}: 0 or a negative {@code KVM_E*}. */
    public void answerHypercall(long result) {
        require(Reason.HYPERCALL);
        page.putLong(Uapi.KvmRun.HYPERCALL_RET, result);
    }

    /**
     * A 64-bit word of the union in {@code struct kvm_run}, for exits without methods of their own. The {@link Reason}
     * constants document the words.
     *
     * @param index the word's index, 0 to 31
     */
    public long word(int index) {
        return page.getLong(DATA + Long.BYTES * Objects.checkIndex(index, DATA_WORDS));
    }

    /** Sets a word of the exit's data, such as a Xen hypercall's result, which KVM reads at the next run. */
    public void setWord(int index, long value) {
        page.putLong(DATA + Long.BYTES * Objects.checkIndex(index, DATA_WORDS), value);
    }

    @Override
    public String toString() {
        return switch (reason) {
            case IO ->
                "IO of port 0x" + Integer.toHexString(port()) + ", " + count() + " × " + size() + " bytes "
                        + (isWrite() ? "written" : "read");
            case MMIO ->
                "MMIO at 0x" + Long.toHexString(address()) + ", " + size() + " bytes "
                        + (isWrite() ? "written" : "read");
            case IOAPIC_EOI -> "IOAPIC_EOI of vector " + vector();
            case SYSTEM_EVENT -> "SYSTEM_EVENT " + systemEvent();
            case FAIL_ENTRY -> "FAIL_ENTRY 0x" + Long.toHexString(hardwareReason());
            case INTERNAL_ERROR -> "INTERNAL_ERROR " + suberror();
            case MSR_READ, MSR_WRITE -> reason + " of 0x" + Integer.toHexString(msr());
            case HYPERCALL -> "HYPERCALL " + hypercall();
            case OTHER -> "exit " + number;
            default -> reason.name();
        };
    }
}
