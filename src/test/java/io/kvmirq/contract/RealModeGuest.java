/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.HexFormat;

/** A vCPU in real mode, run on the test's own thread from one write to a port to the next. */
final class RealModeGuest {
    /** The handler was entered; its interrupt is in service. */
    static final int IN_SERVICE = 0x83;
    /** The handler has ended its interrupt. */
    static final int ENDED = 0x80;

    static final int READY = 0x82;

    /** An address of no memory. */
    static final int NO_MEMORY = 0xf800;

    /** The handler of NMI. */
    static final int INTERRUPTED = 0x84;

    private static final int MEMORY = 0xf000;
    private static final int START = 0x1000;
    static final int STACK = 0x8000;
    private static final int NMI_HANDLER = 0x2000;
    private static final int HANDLER_SIZE = 32;
    private static final int NMI = 2;
    private static final int CPUID_ENTRIES = 256;

    /** LAPIC in x2APIC mode and on. */
    static final String LAPIC_ON = asm(GuestAssembler.LAPIC_ON);

    private static final String MAIN = LAPIC_ON + asm("out 0x82, al; sti; idle: hlt; jmp idle");
    private static final String HANDLER = asm("out 0x83, al; " + GuestAssembler.EOI + "out 0x80, al; iret");

    private final Libc libc;
    private final int vcpu;
    private final ByteBuffer run;
    private final ByteBuffer guest;

    /** @param code for address 0x1000 */
    RealModeGuest(World world, int vm, String code) {
        world.assumeX86();
        libc = world.kernel().libc();
        long memory = world.map(MEMORY, -1);
        ByteBuffer region = Structs.of("kvm_userspace_memory_region", 0, 0, 0, MEMORY, memory);
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, region));
        guest = libc.view(memory, MEMORY);
        guest.put(START, HexFormat.of().parseHex(code));
        guest.putInt(World.VECTOR * Integer.BYTES, START + MAIN.length() / 2);
        guest.put(NMI_HANDLER, bytes("out 0x84, al; iret"));
        guest.putInt(NMI * Integer.BYTES, NMI_HANDLER);
        int kvm = world.kvm();
        vcpu = world.vcpu(vm, 0);
        useHostCpuid(kvm);
        startHere();
        int size = libc.ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        run = libc.view(world.map(size, vcpu), size);
    }

    /** One that answers {@link World#VECTOR}, up to where it lets interrupts in. */
    static RealModeGuest answering(World world, int vm) {
        RealModeGuest guest = unstarted(world, vm);
        guest.runTo(READY);
        return guest;
    }

    /** As {@link #answering}, but for running it. */
    static RealModeGuest unstarted(World world, int vm) {
        return new RealModeGuest(world, vm, MAIN + HANDLER);
    }

    /** Whether its last exit, which shared memory shows, was a write to that port. */
    boolean hasLeftBy(int port) {
        return run.getInt(Uapi.KvmRun.EXIT_REASON) == Uapi.KVM_EXIT_IO
                && (run.getShort(Uapi.KvmRun.IO_PORT) & 0xffff) == port;
    }

    private void useHostCpuid(int kvm) {
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + CPUID_ENTRIES * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, CPUID_ENTRIES);
        assertOk(libc.ioctl(kvm, Uapi.KVM_GET_SUPPORTED_CPUID, cpuid));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, cpuid));
    }

    private void startHere() {
        ByteBuffer segments = Buffers.allocate(Uapi.KvmSregs.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_SREGS, segments));
        segments.putLong(Uapi.KvmSregs.CS_BASE, 0).putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, segments));
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE)
                .putLong(Uapi.KvmRegs.RIP, START)
                .putLong(Uapi.KvmRegs.RSP, STACK)
                .putLong(Uapi.KvmRegs.RFLAGS, 2);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_REGS, registers));
    }

    int vcpu() {
        return vcpu;
    }

    /** A byte of its memory. */
    int at(int address) {
        return guest.get(address) & 0xff;
    }

    /** The handler of a vector below 64. */
    void handle(int vector, String code) {
        int at = NMI_HANDLER + HANDLER_SIZE * (1 + vector);
        guest.put(at, HexFormat.of().parseHex(code)).putInt(vector * Integer.BYTES, at);
    }

    /** Runs until a write reaches us. Blocks while the guest halts, so that an interrupt must be on its way. */
    void runTo(int port) {
        run(Uapi.KVM_EXIT_IO);
        assertThat(run.getShort(Uapi.KvmRun.IO_PORT) & 0xffff).as("port").isEqualTo(port);
    }

    /** Runs until the interrupt that is on its way was taken, and until the guest has ended it. */
    void answer() {
        runTo(IN_SERVICE);
        runTo(ENDED);
    }

    /** Runs until the guest writes {@code length} bytes where there is no memory. */
    void runToMmio(long address, int length, long data) {
        run(Uapi.KVM_EXIT_MMIO);
        assertThat(run.getLong(Uapi.KvmRun.MMIO_PHYS_ADDR)).as("address").isEqualTo(address);
        assertThat(run.getInt(Uapi.KvmRun.MMIO_LEN)).as("length").isEqualTo(length);
        assertThat(run.get(Uapi.KvmRun.MMIO_IS_WRITE)).as("write").isEqualTo((byte) 1);
        assertThat(run.getLong(Uapi.KvmRun.MMIO_DATA) & -1L >>> Long.SIZE - Byte.SIZE * length)
                .as("data")
                .isEqualTo(data);
    }

    /** Runs until the guest reads {@code length} bytes where there is no memory, and answers at its next run. */
    void runToRead(long address, int length, long answer) {
        run(Uapi.KVM_EXIT_MMIO);
        assertThat(run.getLong(Uapi.KvmRun.MMIO_PHYS_ADDR)).as("address").isEqualTo(address);
        assertThat(run.getInt(Uapi.KvmRun.MMIO_LEN)).as("length").isEqualTo(length);
        assertThat(run.get(Uapi.KvmRun.MMIO_IS_WRITE)).as("write").isZero();
        run.putLong(Uapi.KvmRun.MMIO_DATA, answer);
    }

    /** Runs until the guest accesses memory that this process may not access. */
    void runToUnusable(long address) {
        int result = libc.ioctl(vcpu, Uapi.KVM_RUN, 0);
        if (result != -Errno.EFAULT.number()) {
            assertOk(result);
            assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).as("exit reason").isEqualTo(Uapi.KVM_EXIT_MMIO);
            assertThat(run.getLong(Uapi.KvmRun.MMIO_PHYS_ADDR)).as("address").isEqualTo(address);
        }
    }

    void runToHalt() {
        run(Uapi.KVM_EXIT_HLT);
    }

    /** Runs to an exit of that kind. */
    void run(int exit) {
        int result;
        do {
            result = libc.ioctl(vcpu, Uapi.KVM_RUN, 0);
        } while (result == -Errno.EINTR.number());
        assertOk(result);
        assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).as("exit reason").isEqualTo(exit);
    }

    /** After a failed entry: the processor's reason. */
    long failure() {
        return run.getLong(Uapi.KvmRun.FAIL_ENTRY_REASON);
    }

    /** After {@link #runTo}: the byte written. */
    int written() {
        return run.get((int) run.getLong(Uapi.KvmRun.IO_DATA_OFFSET)) & 0xff;
    }
}
