/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * A guest with two vCPUs, run in turn in the test's thread, that writes to its IOAPIC what it is told and answers all
 * vectors from 0x20 on. The IOAPIC is KVM's own, or a {@link GuestIoapic} beside a split irqchip.
 */
final class IoapicGuest {
    private static final int VCPUS = 2;
    private static final int FIRST_VECTOR = 0x20;
    private static final int PROBE = 0xf0;
    /** What the guest does at its next stop: register, value, 1 to write it and 2 to read it; then what it read. */
    private static final int REGISTER = 0x500;

    private static final int VALUE = 0x504;
    private static final int DO = 0x508;
    private static final int RESULT = 0x50c;
    private static final int WRITE = 1;
    private static final int READ = 2;

    private static final int ENDED = 0x80;
    /** Interrupts are on: they are taken at the latest when it runs on. */
    private static final int OPEN = 0x81;

    private static final int IDLE = 0x82;
    private static final int IN_SERVICE = 0x83;

    private static final int ENTRIES = 0x10;
    /** Selects, writes and reads the register, in the page at FS. */
    private static final String COMMAND = "cmp byte [0x508], 0; je returns; mov eax, [0x500]; mov fs:[0], eax;"
            + "cmp byte [0x508], 1; jne reads; mov eax, [0x504]; mov fs:[0x10], eax;"
            + "reads: mov eax, fs:[0x10]; mov [0x50c], eax; mov byte [0x508], 0; returns: nop;";

    private static final String CODE = GuestAssembler.LAPIC_ON
            + "mov al, 0xff; out 0x21, al; out 0xa1, al;" // the PICs
            + "idle: out 0x82, al;" + COMMAND + "sti; out 0x81, al; nop; cli; jmp idle";
    private static final String HANDLER =
            "mov al, %d; out 0x83, al;" + COMMAND + GuestAssembler.EOI + "out 0x80, al; iret";

    private final World world;
    private final Vm vm;
    private final List<Vcpu> vcpus;
    private final Mapping memory;
    private final @Nullable GuestIoapic ioapic;
    private final GuestPic pic = new GuestPic();
    private final boolean inKernel;
    private final List<String> served = new ArrayList<>();
    private IntConsumer handler = vector -> {};
    private int running;
    private int taken;
    private boolean keepsInService;

    IoapicGuest(World world, Kernel kernel, Undo made, boolean inKernel) {
        this.world = world;
        this.inKernel = inKernel;
        vm = made.add(Vm.create(kernel));
        if (inKernel) {
            vm.x86().createIrqchip();
        } else {
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
        }
        ioapic = inKernel ? null : new GuestIoapic(vm, GuestIoapic.PINS);
        AssembledGuest guest = made.add(new AssembledGuest(vm, VCPUS, CODE));
        for (int vector = FIRST_VECTOR; vector < 256; vector++) {
            guest.handle(vector, HANDLER.formatted(vector));
        }
        memory = guest.memory;
        vcpus = guest.vcpus;
        vcpus.forEach(IoapicGuest::prepare);
        for (int i = 0; i < VCPUS; i++) {
            pass(i);
        }
        vm.signal(MsiMessage.to(new VcpuId(0), new InterruptVector(PROBE)));
        pass(0);
    }

    /** The host module kvm_pvm ends an interrupt when it injects it into a real-mode guest. */
    boolean keepsInService() {
        return keepsInService;
    }

    /** The data segment FS is the IOAPIC, and also the second vCPU runs. */
    private static void prepare(Vcpu vcpu) {
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        X86Segment before = system.segment(Segment.FS);
        X86Segment fs = new X86Segment(GuestIoapic.ADDRESS, before.limit(), before.selector(), before.access());
        vcpu.x86().setSystemRegisters(system.setSegment(Segment.FS, fs));
        vcpu.setState(VcpuState.RUNNABLE);
        vcpu.x86().useHostCpuid();
    }

    /** A source of the IOAPIC beside a split irqchip. */
    Userspace.Injector source() {
        return Objects.requireNonNull(ioapic).source();
    }

    int vm() {
        return Numbers.of(vm.fd());
    }

    int vcpu(int which) {
        return Numbers.of(vcpus.get(which).fd());
    }

    /** What the handler of a vector does, before it does what it is told and ends the interrupt. */
    void onService(IntConsumer does) {
        handler = does;
    }

    /** {@code vCPU:vector} of the handlers that were entered since the last call, in their order. */
    List<String> served() {
        List<String> before = List.copyOf(served);
        served.clear();
        return before;
    }

    /** Lets a vCPU do what it is told and take all interrupts that it can. */
    void pass(int which) {
        running = which;
        int before;
        do {
            before = taken;
            round(vcpus.get(which));
        } while (taken != before);
    }

    /** A KVM that emulates real mode may leave an interrupt to the next time that interrupts are on. */
    private void round(Vcpu vcpu) {
        boolean idle = false;
        while (!idle) {
            VcpuExit exit = vcpu.run();
            switch (exit.reason()) {
                case MMIO -> access(exit);
                case IOAPIC_EOI -> ioapic().endOfInterrupt(exit.vector());
                case IO -> {
                    if (GuestPic.isPort(exit.port())) {
                        pic.write(exit.port(), (int) exit.data());
                    } else {
                        idle = port(exit.port(), (int) exit.data());
                    }
                }
                default ->
                    throw new AssertionError(exit + " at 0x"
                            + Long.toHexString(vcpu.x86().registers().get(X86Registers.Name.RIP)));
            }
        }
    }

    private boolean port(int port, int vector) {
        if (port == IN_SERVICE) {
            if (vector == PROBE) {
                keepsInService = world.inService(vcpu(running), vector);
                return false;
            }
            taken++;
            served.add(running + ":0x" + Integer.toHexString(vector));
            handler.accept(vector);
        } else if (port != IDLE && port != ENDED && port != OPEN) {
            throw new AssertionError("port " + port);
        }
        return port == IDLE;
    }

    private void access(VcpuExit exit) {
        long at = exit.address() - GuestIoapic.ADDRESS;
        if (exit.isWrite()) {
            ioapic().write(at, exit.size(), (int) exit.data());
        } else {
            exit.answer(ioapic().read(at, exit.size()));
        }
    }

    private void tell(int what, int register, int value) {
        memory.putInt(REGISTER, register);
        memory.putInt(VALUE, value);
        memory.putInt(DO, what);
    }

    /** Tells a handler what to write before it ends the interrupt. */
    void writeInService(int register, int value) {
        tell(WRITE, register, value);
    }

    void write(int register, int value) {
        tell(WRITE, register, value);
        pass(0);
    }

    int read(int register) {
        tell(READ, register, 0);
        pass(0);
        return memory.getInt(RESULT);
    }

    static int lowHalf(int pin) {
        return ENTRIES + 2 * pin;
    }

    static int highHalf(int pin) {
        return lowHalf(pin) + 1;
    }

    /** Writes an entry, masked until it is whole. */
    void redirect(int pin, int low, int high) {
        write(lowHalf(pin), 1 << 16);
        write(highHalf(pin), high);
        write(lowHalf(pin), low);
    }

    void line(int pin, boolean high) {
        if (inKernel) {
            vm.x86().setLine(new Gsi(pin), high);
        } else {
            ioapic().line(new Gsi(pin), high);
        }
    }

    /** A function whose pin is this one of the IOAPIC. */
    EmulatedFunction.Builder function(PciHostBridge bus, int slot, int pin) {
        EmulatedFunction.Builder builder = EmulatedFunction.builder(bus, slot, vm, new EmulatedFunction.Registers() {
                    @Override
                    public long read(int bar, long at, int size) {
                        return 0;
                    }

                    @Override
                    public void write(int bar, long at, int size, long value) {}
                })
                .ids(0x1af4, 0x1040 + slot);
        return inKernel ? builder.intx(new Gsi(pin)) : builder.intx(new Gsi(pin), ioapic().source());
    }

    Vm machine() {
        return vm;
    }

    GuestIoapic ioapic() {
        return Objects.requireNonNull(ioapic, "the IOAPIC is in the kernel");
    }
}
