/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.GuestAssembler.asm;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * A VM whose vCPUs run on threads of their own, in real mode. Each counts in its memory how often it took its
 * vector. For one thread.
 */
final class CountingGuest {
    /** The answer of the vCPUs to an interrupt. */
    enum Conduct {
        TAKES,
        /** The handler writes no EOI. */
        NO_EOI,
        /** Interrupts are off. */
        DEAF,
        /** The LAPIC is off by software. */
        LAPIC_OFF,
        /** The vCPUs are not run. */
        NOT_RUN
    }

    private static final int MEMORY = 0xf000;
    private static final int START = 0x1000;
    private static final int HANDLER = 0x1100;
    private static final int NMI_HANDLER = 0x1200;
    private static final int NMI = 2;
    private static final int COUNT = 0x7000;
    private static final int READY = 0x7002;
    private static final int STACK = 0x8000;
    private static final int STACK_SIZE = 0x400;
    /** Distance between the data segments of two vCPUs. */
    private static final int DATA = 0x100;

    private static final int DS_BASE = 24;
    private static final int DS_SELECTOR = 36;
    private static final int CPUID_ENTRIES = 256;
    private static final int NMI_MESSAGE = 0x400;

    /** LAPIC in x2APIC mode, and off by software. */
    private static final String X2APIC = asm("mov ecx, 0x1b; rdmsr; or eax, 0xc00; wrmsr");
    /** {@code incw READY}, and {@code hlt} for ever. */
    private static final String WAIT = asm("inc word [0x7002]; idle: hlt; jmp idle");

    private static final String STI = asm("sti");
    /** {@code incw COUNT}. */
    private static final String TAKE = asm("inc word [0x7000]");

    private static final String EOI = asm(GuestAssembler.EOI);
    private static final String IRET = asm("iret");
    /** {@code out %al, $0x84}. */
    private static final String LEAVE = asm("out 0x84, al");

    final int vm;
    private final World world;
    private final KernelBackend kernel;
    private final ByteBuffer memory;
    private final List<Thread> threads = new ArrayList<>();
    private final List<Integer> files = new ArrayList<>();
    private final Map<Long, Long> mapped = new HashMap<>();

    CountingGuest(World world, boolean isSplit, int vcpus, int vector, Conduct conduct) {
        this.world = world;
        this.kernel = world.kernel();
        int kvm = own(world.kvm());
        this.vm = own(world.own(world.createVm(kvm)));
        assertOk(isSplit ? kernel.irqchipCreateSplit(vm, 24) : kernel.irqchipCreate(vm));
        long address = map(MEMORY, -1);
        assertOk(kernel.libc()
                .ioctl(
                        vm,
                        Uapi.KVM_SET_USER_MEMORY_REGION,
                        Structs.of("kvm_userspace_memory_region", 0, 0, 0, MEMORY, address)));
        this.memory = kernel.libc().view(address, MEMORY);
        put(
                START,
                (conduct == Conduct.LAPIC_OFF ? X2APIC : RealModeGuest.LAPIC_ON)
                        + (conduct == Conduct.DEAF ? "" : STI)
                        + WAIT);
        put(HANDLER, (conduct == Conduct.NO_EOI ? "" : EOI) + TAKE + IRET);
        put(NMI_HANDLER, LEAVE + IRET);
        memory.putInt(vector * Integer.BYTES, HANDLER).putInt(NMI * Integer.BYTES, NMI_HANDLER);
        for (int id = 0; id < vcpus; id++) {
            if (conduct == Conduct.NOT_RUN) {
                files.add(world.vcpuWithLapic(vm, id));
            } else {
                run(kvm, id);
            }
        }
        for (int id = 0; id < threads.size(); id++) {
            int ready = READY + id * DATA;
            World.eventually("vCPU " + id + " is ready", () -> memory.getShort(ready) != 0);
        }
    }

    /** Unmapped at the end, because the page of a vCPU keeps its VM. */
    private long map(long length, int fd) {
        int flags = fd < 0 ? Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS : Uapi.MAP_SHARED;
        long address = kernel.libc().mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, flags, fd, 0);
        assertOk(address);
        mapped.put(address, length);
        return address;
    }

    private int own(int fd) {
        files.add(fd);
        return fd;
    }

    private void put(int at, String code) {
        memory.put(at, HexFormat.of().parseHex(code));
    }

    private void run(int kvm, int id) {
        int vcpu = own(world.vcpu(vm, id));
        ByteBuffer cpuid = Buffers.allocate(Uapi.KvmCpuid2.SIZE + CPUID_ENTRIES * Uapi.KvmCpuidEntry2.SIZE)
                .putInt(Uapi.KvmCpuid2.NENT, CPUID_ENTRIES);
        assertOk(kernel.libc().ioctl(kvm, Uapi.KVM_GET_SUPPORTED_CPUID, cpuid));
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_CPUID2, cpuid));
        ByteBuffer state = Buffers.allocate(Integer.BYTES);
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_MP_STATE, state));
        ByteBuffer segments = world.segments(vcpu);
        segments.putLong(Uapi.KvmSregs.CS_BASE, 0)
                .putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0)
                .putLong(DS_BASE, (long) id * DATA)
                .putShort(DS_SELECTOR, (short) (id * DATA >> 4));
        assertOk(kernel.libc().ioctl(vcpu, Uapi.KVM_SET_SREGS, segments));
        assertOk(kernel.libc()
                .ioctl(
                        vcpu,
                        Uapi.KVM_SET_REGS,
                        Buffers.allocate(Uapi.KvmRegs.SIZE)
                                .putLong(Uapi.KvmRegs.RIP, START)
                                .putLong(Uapi.KvmRegs.RSP, STACK + (long) id * STACK_SIZE)
                                .putLong(Uapi.KvmRegs.RFLAGS, 2)));
        int size = kernel.libc().ioctl(kvm, Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        ByteBuffer run = kernel.libc().view(map(size, vcpu), size);
        Thread thread = new Thread(
                () -> {
                    int result;
                    do {
                        result = kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 0);
                    } while (result == -Errno.EINTR.number());
                    assertOk(result);
                    assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IO);
                },
                "vCPU " + id);
        threads.add(thread);
        thread.start();
    }

    /** The number of times that a vCPU took the vector. */
    int taken(int vcpu) {
        return memory.getShort(COUNT + vcpu * DATA) & 0xffff;
    }

    /** Stops the vCPUs, and closes the VM. */
    void close() {
        for (int id = 0; id < threads.size(); id++) {
            assertOk(kernel.msiSignal(vm, World.MSI_ADDRESS | (long) id << 12, NMI_MESSAGE, 0, 0));
            try {
                threads.get(id).join();
            } catch (InterruptedException e) {
                throw new IllegalStateException("nobody interrupts a test", e);
            }
        }
        for (int i = files.size() - 1; i >= 0; i--) {
            world.close(files.get(i));
        }
        files.clear();
        mapped.forEach(kernel.libc()::munmap);
        mapped.clear();
    }
}
