/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.testing.GuestAssembler.bytes;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A guest in real mode that takes what waits in its LAPIC, one interrupt an exit, and never halts: every loop of it
 * leaves by OUT. Its memory is one piece for all VMs of a side, mapped at guest address 0.
 *
 * <p>Guest-physical memory: 0x0000 interrupt table, 0x1000 the code, 0x2000 + 4 * v interrupts taken on vector v,
 * 0x8000 stack. Handlers find their vector in CS, as that of {@code guest.S} does. The PIC is kept out by masking
 * LINT0: where it interrupts the guest is another matter.
 *
 * <p>What an EOI makes KVM do, an exit or an NMI, may come some instructions later, but before the guest is entered
 * again. So every EOI is followed by an exit that is not recorded.
 *
 * <p>The guest ends what is in service before it takes anything, and leaves for no other reason while something is. For
 * the KVM this was written on (6.18, kvm_pvm: real mode is emulated) ends an interrupt as it delivers it, and the
 * guest's EOI ends whatever else is in service; the source (lapic.c, {@code apic_set_eoi()}) and so the fake end one.
 */
final class GuestRun {
    /** Ports: handled (the vector), NMI, nothing to do, ended what was in service, the one that ioeventfds may take. */
    private static final int HANDLED = 0x80;

    private static final int NMI = 0x81;
    private static final int IDLE = 0x82;
    private static final int ENDED = 0x83;
    static final int NOTIFY = 0x84;

    private static final byte[] CODE = bytes(GuestAssembler.LAPIC_ON
            + "mov ecx, 0x835; mov eax, 0x10000; wrmsr;" // LINT0: masked
            + "mov ecx, 0x80b; xor eax, eax;" // EOI, as often as the search puts something in service
            + "wrmsr; out 0x83, al;".repeat(8)
            + "out 0x82, al; out 0x84, al; sti; idle: out 0x82, al; jmp idle;"
            // the handler counts by CS
            + "pushad; mov bx, cs; mov si, bx; shl si, 2; inc dword [si+0x2000];"
            + GuestAssembler.EOI
            + "out 0x83, al; mov ax, bx; out 0x80, al; popad; iret;"
            + "out 0x81, al; iret"); // NMI
    private static final int HANDLER = 0x1061;
    private static final int NMI_HANDLER = 0x1086;

    private static final int START = 0x1000;
    private static final int COUNTS = 0x2000;
    private static final int STACK = 0x8000;
    private static final int SIZE = 0x10000;
    private static final int SLOT = 100;
    private static final int VECTORS = 256;
    private static final int NMI_VECTOR = 2;

    /** Interrupts after which a run is over, as a line that stays high never is. */
    static final int MOST = 8;

    /** The handler may still be on its way when the first two are seen. */
    private static final int IDLE_FOR_GOOD = 3;

    private static final int APIC_BASE_ENABLED = 1 << 11;
    private static final int SEGMENT = 24;
    private static final int SELECTOR = 12;
    private static final int SEGMENTS = 6;

    /** Leaf 1: features in ECX and EDX. */
    private static final int X2APIC = 1 << 21;

    static final int LAPIC = 1 << 9;
    private static final int SIGNATURE = 0x600;

    private final Libc libc;
    private final long memory;
    private final ByteBuffer guest;
    /** CPUID of every vCPU that runs, so that no other one is refused to it. */
    private final ByteBuffer cpuid = Structs.cpuid(Structs.leaf(1, SIGNATURE, 0, X2APIC, LAPIC));

    private final ByteBuffer structure = Buffers.allocate(1024);
    private final long address;
    private final int runSize;

    GuestRun(Libc libc) {
        this.libc = libc;
        memory = libc.mmap(SIZE, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        guest = libc.view(memory, SIZE).order(ByteOrder.nativeOrder());
        address = libc.addressOf(structure);
        int kvm = libc.open(Buffers.cString("/dev/kvm"), Uapi.O_RDWR | Uapi.O_CLOEXEC);
        runSize = libc.ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        libc.close(kvm);
        guest.put(START, CODE);
        for (int vector = 0; vector < VECTORS; vector++) {
            guest.putInt(vector * Integer.BYTES, vector << 16 | HANDLER - vector * 16);
        }
        guest.putInt(NMI_VECTOR * Integer.BYTES, NMI_HANDLER);
    }

    ByteBuffer cpuid() {
        return cpuid;
    }

    int runSize() {
        return runSize;
    }

    /** Nothing has been counted. */
    void reset() {
        for (int vector = 0; vector < VECTORS; vector++) {
            guest.putInt(COUNTS + vector * Integer.BYTES, 0);
        }
    }

    void close() {
        libc.munmap(memory, SIZE);
    }

    /**
     * Runs a vCPU that has a LAPIC until nothing is left to take.
     *
     * @return the errno of what could not be prepared, or how many exits there were, then each of them, then the counts
     */
    Answer run(int vcpu, int vm) {
        int result = prepare(vcpu, vm);
        if (result < 0) {
            return Answer.of(result);
        }
        long shared = libc.mmap(runSize, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, vcpu, 0);
        ByteBuffer exits = ByteBuffer.allocate(2 * MOST + VECTORS * Integer.BYTES);
        try {
            result = run(vcpu, libc.view(shared, runSize).order(ByteOrder.nativeOrder()), exits);
        } finally {
            libc.munmap(shared, runSize);
        }
        exits.put(2 * MOST, guest, COUNTS, VECTORS * Integer.BYTES);
        return Answer.of(result, exits, exits.capacity());
    }

    private int run(int vcpu, ByteBuffer shared, ByteBuffer exits) {
        int idle = 0;
        while (idle < IDLE_FOR_GOOD && exits.position() < 2 * MOST) {
            int result = libc.ioctl(vcpu, Uapi.KVM_RUN, 0);
            if (result == -Errno.EINTR.number()) {
                continue;
            }
            if (result < 0) {
                return result;
            }
            int reason = shared.getInt(Uapi.KvmRun.EXIT_REASON);
            int port = shared.getShort(Uapi.KvmRun.IO_PORT) & 0xff;
            if (reason == Uapi.KVM_EXIT_IOAPIC_EOI) {
                exits.put((byte) reason).put(shared.get(Uapi.KvmRun.EOI_VECTOR));
                idle = 0;
                continue;
            }
            if (reason != Uapi.KVM_EXIT_IO) {
                exits.put((byte) reason).put((byte) 0);
                return exits.position() / 2;
            }
            idle = port == IDLE ? idle + 1 : 0;
            if (port != IDLE && port != ENDED) {
                byte value = shared.get((int) shared.getLong(Uapi.KvmRun.IO_DATA_OFFSET));
                exits.put((byte) port).put(port == NMI ? 0 : value);
            }
        }
        return exits.position() / 2;
    }

    private int prepare(int vcpu, int vm) {
        int result = libc.ioctl(vcpu, Uapi.KVM_GET_LAPIC, address);
        if (result < 0) {
            return result;
        }
        structure
                .putInt(Uapi.KvmUserspaceMemoryRegion.SLOT, SLOT)
                .putInt(Uapi.KvmUserspaceMemoryRegion.FLAGS, 0)
                .putLong(Uapi.KvmUserspaceMemoryRegion.GUEST_PHYS_ADDR, 0)
                .putLong(Uapi.KvmUserspaceMemoryRegion.MEMORY_SIZE, SIZE)
                .putLong(Uapi.KvmUserspaceMemoryRegion.USERSPACE_ADDR, memory);
        result = libc.ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, address);
        return result < 0 ? result : start(vcpu);
    }

    /** Real mode at the start of the code; an INIT that waits comes first, so that it does not come in between. */
    private int start(int vcpu) {
        libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, libc.addressOf(cpuid));
        libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, address);
        libc.ioctl(vcpu, Uapi.KVM_SET_MP_STATE, libc.addressOf(structure.putInt(0, 0)));
        ProgramRun.clearEvents(libc, vcpu, structure, false);
        libc.ioctl(vcpu, Uapi.KVM_GET_SREGS, address);
        for (int at = 0; at < SEGMENTS * SEGMENT; at += SEGMENT) {
            structure.putLong(at, 0).putShort(at + SELECTOR, (short) 0);
        }
        structure.putLong(Uapi.KvmSregs.IDT_BASE, 0).putShort(Uapi.KvmSregs.IDT_LIMIT, (short) 0xffff);
        structure.putLong(Uapi.KvmSregs.APIC_BASE, structure.getLong(Uapi.KvmSregs.APIC_BASE) | APIC_BASE_ENABLED);
        int result = libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, address);
        for (int i = 0; i < Uapi.KvmRegs.SIZE; i += Long.BYTES) {
            structure.putLong(i, 0);
        }
        structure
                .putLong(Uapi.KvmRegs.RIP, START)
                .putLong(Uapi.KvmRegs.RSP, STACK)
                .putLong(Uapi.KvmRegs.RFLAGS, 2);
        return result < 0 ? result : libc.ioctl(vcpu, Uapi.KVM_SET_REGS, address);
    }

    static String outcome(Answer answer) {
        int handled = 0;
        for (int i = 0; i < answer.result(); i++) {
            int port = answer.output().get(2 * i) & 0xff;
            handled += port == HANDLED || port == NMI ? 1 : 0;
        }
        return handled >= MOST - 2 ? "endless" : handled > 0 ? "taken" : "idle";
    }
}
