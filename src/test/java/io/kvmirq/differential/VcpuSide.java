/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.X86Msr;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;

/** The registers of vCPUs on one of the kernels compared. */
final class VcpuSide {
    private static final int ROOM = 1024;
    private static final int MOST_LEAVES = 16;
    private static final int LEAVES = Uapi.KvmCpuid2.SIZE + MOST_LEAVES * Uapi.KvmCpuidEntry2.SIZE;
    /** In a segment of {@code struct kvm_sregs}. */
    private static final int SEGMENT = 24;

    private static final int TYPE = 14;
    private static final long RESUME_FLAG = 1 << 16;
    private static final int SEGMENTS = 8;

    private static final boolean APICV = Machine.profile().label().contains("vtd");
    static final boolean PVM = Machine.profile().label().equals(Machine.PVM);

    private final Libc libc;
    private final ProgramRun program;
    private final ByteBuffer memory = Buffers.allocate(ROOM);
    private final long address;

    VcpuSide(Libc libc, ProgramRun program) {
        this.libc = libc;
        this.program = program;
        this.address = libc.addressOf(memory);
    }

    Answer make(int fd, Call call) {
        memory.put(0, new byte[ROOM]);
        return switch (call.operation()) {
            case GET_REGS -> getRegisters(fd);
            case SET_REGS -> {
                get(fd, Uapi.KVM_GET_REGS, 0);
                memory.putLong(call.intAt(1) * Long.BYTES, call.at(2));
                yield get(fd, Uapi.KVM_SET_REGS, 0);
            }
            case GET_SREGS -> getSegments(fd);
            case SET_SREGS -> setSegments(fd, call);
            case GET_EVENTS -> getEvents(fd);
            case SET_EVENTS -> setEvents(fd, call);
            case GET_DEBUG -> get(fd, Uapi.KVM_GET_DEBUGREGS, Uapi.KvmDebugregs.SIZE);
            case SET_DEBUG -> {
                get(fd, Uapi.KVM_GET_DEBUGREGS, 0);
                memory.putLong(call.intAt(1), call.at(2));
                yield get(fd, Uapi.KVM_SET_DEBUGREGS, 0);
            }
            case GET_XCRS -> get(fd, Uapi.KVM_GET_XCRS, Uapi.KvmXcrs.SIZE);
            case SET_XCRS -> {
                if (PVM && hasMachinesLeaves(fd)) {
                    yield Answer.of(0);
                }
                memory.putInt(Uapi.KvmXcrs.NR_XCRS, call.intAt(1))
                        .putInt(Uapi.KvmXcrs.XCRS, call.intAt(2))
                        .putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, call.at(3));
                yield get(fd, Uapi.KVM_SET_XCRS, 0);
            }
            case GET_MSR -> msr(fd, Uapi.KVM_GET_MSRS, call.intAt(1), -1);
            case SET_MSR -> msr(fd, Uapi.KVM_SET_MSRS, call.intAt(1), ofAnyProcessor(call.intAt(1), call.at(2)));
            case GET_CPUID -> getCpuid(fd, call.intAt(1));
            case SET_CPUID -> setCpuid(fd, call);
            case INTERRUPT -> {
                memory.putInt(Uapi.KvmInterrupt.IRQ, call.intAt(1));
                yield get(fd, Uapi.KVM_INTERRUPT, 0);
            }
            case NMI -> Answer.of(libc.ioctl(fd, Uapi.KVM_NMI, 0));
            default -> throw new IllegalArgumentException(call.toString());
        };
    }

    private Answer get(int fd, long request, int output) {
        return Answer.of(libc.ioctl(fd, request, address), memory, output);
    }

    /** Hardware decides whether RF is set while the VMM answers a read of memory: VMX sets it. */
    private Answer getRegisters(int fd) {
        int result = libc.ioctl(fd, Uapi.KVM_GET_REGS, address);
        memory.putLong(Uapi.KvmRegs.RFLAGS, memory.getLong(Uapi.KvmRegs.RFLAGS) & ~RESUME_FLAG);
        return Answer.of(result, memory, Uapi.KvmRegs.SIZE);
    }

    /** Hardware decides the types of segments that no guest has loaded. */
    private Answer getSegments(int fd) {
        int result = libc.ioctl(fd, Uapi.KVM_GET_SREGS, address);
        for (int at = TYPE; at < SEGMENTS * SEGMENT; at += SEGMENT) {
            memory.put(at, (byte) 0);
        }
        return Answer.of(result, memory, Uapi.KvmSregs.SIZE);
    }

    private Answer setSegments(int fd, Call call) {
        libc.ioctl(fd, Uapi.KVM_GET_SREGS, address);
        put(call.intAt(1), call.intAt(2), call.at(3));
        return get(fd, Uapi.KVM_SET_SREGS, 0);
    }

    private void put(int at, int width, long value) {
        for (int i = 0; i < width; i++) {
            memory.put(at + i, (byte) (value >>> Byte.SIZE * i));
        }
    }

    /** Hardware decides which shadow is told. */
    private Answer getEvents(int fd) {
        int result = readEvents(fd);
        boolean shadow = memory.get(KvmVcpuEvents.INTERRUPT_SHADOW) != 0;
        memory.put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) (shadow && !program.isAfterSti(fd) ? 1 : 0));
        return Answer.of(result, memory, KvmVcpuEvents.SIZE);
    }

    /** An interrupt that APICv delivers leaves its vector only if the guest faulted meanwhile. */
    private int readEvents(int fd) {
        int result = libc.ioctl(fd, Uapi.KVM_GET_VCPU_EVENTS, address);
        if (APICV && memory.get(KvmVcpuEvents.INTERRUPT_INJECTED) == 0) {
            memory.put(KvmVcpuEvents.INTERRUPT_NR, (byte) 0);
        }
        return result;
    }

    private Answer setEvents(int fd, Call call) {
        readEvents(fd);
        memory.putInt(KvmVcpuEvents.FLAGS, call.intAt(1));
        put(call.intAt(2), call.at(2) == KvmVcpuEvents.SIPI_VECTOR ? Integer.BYTES : 1, call.at(3));
        return get(fd, Uapi.KVM_SET_VCPU_EVENTS, 0);
    }

    private Answer msr(int fd, long request, int number, long value) {
        memory.putInt(Uapi.KvmMsrs.NMSRS, 1)
                .putInt(Uapi.KvmMsrs.SIZE, number)
                .putLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.DATA, value);
        return get(fd, request, Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.SIZE);
    }

    /** An address that is canonical with 57 bits and not with 48 depends on the host: it is given 48. */
    private static long ofAnyProcessor(int msr, long value) {
        boolean has57Bits = value << 7 >> 7 == value;
        return msr != X86Msr.PAT.number() && has57Bits ? value << 16 >> 16 : value;
    }

    private Answer getCpuid(int fd, int room) {
        if (hasMachinesLeaves(fd)) {
            return Answer.of(0);
        }
        memory.putInt(Uapi.KvmCpuid2.NENT, room);
        return get(fd, Uapi.KVM_GET_CPUID2, LEAVES);
    }

    /**
     * A kvm_pvm replaces leaves 1 and 0xd by the machine's: neither these nor the XCR0 they allow are compared. Other
     * kernels change bits of them as the vCPU's state changes.
     */
    private boolean hasMachinesLeaves(int fd) {
        memory.putInt(Uapi.KvmCpuid2.NENT, MOST_LEAVES);
        boolean has = false;
        if (libc.ioctl(fd, Uapi.KVM_GET_CPUID2, address) == 0) {
            for (int at = Uapi.KvmCpuid2.SIZE; at < LEAVES; at += Uapi.KvmCpuidEntry2.SIZE) {
                has |= memory.getInt(at) == 1 || memory.getInt(at) == 0xd;
            }
        }
        memory.put(0, new byte[ROOM]);
        return has;
    }

    private Answer setCpuid(int fd, Call call) {
        int count = (call.arguments().size() - 1) / Operation.LEAF_SIZE;
        memory.putInt(Uapi.KvmCpuid2.NENT, count);
        for (int i = 0; i < count; i++) {
            int at = Uapi.KvmCpuid2.SIZE + i * Uapi.KvmCpuidEntry2.SIZE;
            int from = 1 + i * Operation.LEAF_SIZE;
            memory.putInt(at, call.intAt(from))
                    .putInt(at + Uapi.KvmCpuidEntry2.EAX, call.intAt(from + 1))
                    .putInt(at + Uapi.KvmCpuidEntry2.ECX, call.intAt(from + 2))
                    .putInt(at + Uapi.KvmCpuidEntry2.EDX, call.at(from) == 1 ? GuestRun.LAPIC : 0);
        }
        return get(fd, Uapi.KVM_SET_CPUID2, 0);
    }
}
