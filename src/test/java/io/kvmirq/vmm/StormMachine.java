/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vmm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Registration;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Segment;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A whole VMM: three vCPUs, emulated functions with MSI-X, doorbells and a pin, a passed one on the fake, and a timer. It
 * moves, reboots and unplugs under load.
 */
final class StormMachine implements AutoCloseable, VcpuThreads.Owner, EmulatedFunction.Registers {
    static final int VCPUS = 3, EMULATED = 4, SOURCES = 9;
    static final int TIMER = 4, LINE = 5, PASSED_LINE = 6, PASSED = 7, RESET = 9;
    static final long HOLE = 0xd0000, TABLE = HOLE + 0x200, PASSED_BAR = 0xd4000;
    /** How long a wait lasts at most. */
    static final long LIMIT = Long.getLong("limit", 30) * 1_000_000_000L;

    private static final int RAM = 0x80000, COUNT = 0x600, READY = 0x590;
    private static final Gsi PIN = new Gsi(20), PASSED_PIN = new Gsi(21);
    static final PciAddress HOST_DEVICE = PciAddress.parse("0000:3b:00.0");

    /** How to build a machine: {@code hardware} is null without a passed device; {@code adopted} without a foreign VM. */
    record Kind(
            Kernel kernel,
            boolean split,
            @Nullable FakePciDevice hardware,
            @Nullable Vm adopted) {}

    private final Deque<AutoCloseable> opened = new ArrayDeque<>();
    private final Deque<AutoCloseable> ofPassed = new ArrayDeque<>();
    private final Kind kind;
    private final Vm vm;
    private final GuestMemory memory;
    private final List<Vcpu> vcpus = new ArrayList<>();
    private final PciHostBridge bus = new PciHostBridge(HOLE, 0x8000);
    private final EventLoop loop;
    private final EmulatedVectors vectors;
    private EmulatedFunction function;
    private final EmulatedFunction withLine;
    private PassedThroughDevice passed;
    private final MaskableVector timer;
    /** Held by a signal and by an unmask, because KVM may raise two interrupts for a signal during KVM_IRQFD. */
    private final Object unmasking = new Object();

    private final List<EventFd> acks;
    private final List<Registration> heard = new ArrayList<>();
    private final GuestIoapic ioapic;
    private VcpuThreads threads;
    private Thread devices;
    private final AtomicBoolean lineHigh = new AtomicBoolean(), passedHigh = new AtomicBoolean();
    volatile int reboots;
    private volatile Throwable failure;
    final AtomicLongArray sent = new AtomicLongArray(SOURCES), acked = new AtomicLongArray(SOURCES);
    final AtomicLongArray target = new AtomicLongArray(SOURCES);
    private final AtomicLongArray beforeReset = new AtomicLongArray(SOURCES);

    StormMachine(Kind kind, byte[] ram) {
        this.kind = kind;
        try {
            Kernel kernel = kind.kernel;
            vm = open(kind.adopted != null ? kind.adopted : Vm.create(kernel));
            if (kind.split) {
                vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            } else if (kind.adopted == null) {
                vm.x86().createIrqchip();
            }
            memory = open(vm.addMemory(0, RAM));
            loop = open(EventLoop.create(kernel));
            acks = EventFd.createAll(kernel, SOURCES);
            acks.forEach(opened::push);
            for (int i = 0; i < VCPUS; i++) {
                Vcpu vcpu = open(vm.createVcpu(new VcpuId(i)));
                vcpu.x86().setCpuid(Cpuid.ofHost(kernel).forVcpu(i, VCPUS));
                vcpus.add(vcpu);
            }
            ioapic = kind.split ? new GuestIoapic(vm, GuestIoapic.PINS) : null;
            vectors = open(EmulatedVectors.create(vm, EMULATED));
            EmulatedFunction.Builder builder = EmulatedFunction.builder(bus, 1, vm, this)
                    .ids(0x1234, 0x11e8)
                    .type(0xff0000)
                    .bar(0, 0x1000)
                    .ports(1, 32)
                    .msix(vectors, 0, 0x200, 0x800);
            for (int i = 0; i < EMULATED; i++) {
                builder.doorbell(1, 4 * i, 4, acks.get(i));
            }
            function = open(builder.build());
            EmulatedFunction.Builder withPin = EmulatedFunction.builder(bus, 3, vm, this)
                    .ids(0x1234, 0x11e9)
                    .type(0xff0000);
            withLine = open((kind.split ? withPin.intx(PIN, ioapic.source()) : withPin.intx(PIN)).build());
            timer = open(MaskableVector.create(vm, MsiMessage.to(new VcpuId(2), vector(TIMER))));
            for (int i : new int[] {TIMER, PASSED, PASSED + 1}) {
                open(vm.assignIoEventFd(IoAddress.port(0x100 + i, 1), acks.get(i)));
            }
            if (kind.hardware != null) {
                plugPassed();
            }
            if (ram == null) {
                firmware();
            } else {
                memory.mapping().put(0, ram);
            }
            for (int i = 0; i < SOURCES; i++) {
                int source = i;
                heard.add(loop.register(acks.get(i), count -> acknowledged(source, count)));
            }
            loop.onFailure((registration, thrown) -> failure = thrown);
        } catch (RuntimeException | Error e) {
            closeAll();
            throw e;
        }
    }

    static InterruptVector vector(int source) {
        return new InterruptVector(0x60 + source);
    }

    private <T extends AutoCloseable> T open(T handle) {
        opened.push(handle);
        return handle;
    }

    private void plugPassed() {
        KvmVfio kvmVfio = passed(KvmVfio.create(vm));
        VfioDevice device = passed(VfioDevice.open(kind.kernel, HOST_DEVICE, kvmVfio));
        Forwarding.Builder forwarding = Forwarding.builder(vm, device);
        if (kind.split) {
            forwarding.userspace(Userspace.of(loop, ioapic.source()));
        }
        passed = passed(PassedThroughDevice.builder(bus, 2, vm, device, passed(forwarding.build()))
                .memory(memory)
                .intx(PASSED_PIN)
                .build());
    }

    private <T extends AutoCloseable> T passed(T handle) {
        ofPassed.push(handle);
        return handle;
    }

    /** What firmware writes: the code, the IVT, the IOAPIC that this real-mode guest cannot reach. */
    private void firmware() {
        vcpus.forEach(vcpu -> vcpu.x86().enableX2apic());
        StormGuest.load(memory.mapping());
        for (int i = 0; i <= RESET; i++) {
            memory.mapping().putInt(4L * vector(i).number(), 0x2000 + 0x80 * i);
        }
        if (kind.split) {
            ioapicEntry(PIN.number(), 1 << 15 | vector(LINE).number());
            ioapicEntry(PASSED_PIN.number(), 1 << 15 | vector(PASSED_LINE).number());
        } else {
            vm.x86()
                    .setIoapic(vm.x86()
                            .ioapic()
                            .levelPin(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()), vector(LINE))
                            .levelPin(
                                    new Route.Pin(PASSED_PIN, Route.Chip.IOAPIC, PASSED_PIN.number()),
                                    vector(PASSED_LINE)));
        }
        Vcpu boot = vcpus.get(0);
        boot.x86().startAt(0x1000, 0x7000);
        X86SystemRegisters system = boot.x86().systemRegisters();
        X86Segment es = system.segment(X86SystemRegisters.Segment.ES);
        boot.x86()
                .setSystemRegisters(system.setSegment(
                        X86SystemRegisters.Segment.ES, new X86Segment(HOLE, es.limit(), (int) HOLE >> 4, es.access())));
    }

    private void ioapicEntry(int pin, int low) {
        ioapic.write(0, 4, 0x11 + 2 * pin);
        ioapic.write(0x10, 4, 0);
        ioapic.write(0, 4, 0x10 + 2 * pin);
        ioapic.write(0x10, 4, low);
    }

    VmParts parts() {
        VmParts parts = new VmParts(vm).bus(bus).vector("timer", timer).device("line", withLine);
        for (int i = 0; i < VCPUS; i++) {
            parts.vcpu(new VcpuId(i), vcpus.get(i));
        }
        for (int i = 0; i < SOURCES; i++) {
            parts.event("ack " + i, acks.get(i));
        }
        if (kind.split) {
            parts.ioapic(ioapic);
        }
        if (function != null) {
            parts.device("emulated", function);
        }
        return passed != null ? parts.device("passed", passed) : parts;
    }

    void start() {
        threads = VcpuThreads.start(vcpus, this);
        devices = new Thread(loop::run, "devices");
        devices.setUncaughtExceptionHandler((thread, thrown) -> failure = thrown);
        devices.start();
    }

    @Override
    public boolean exited(Vcpu vcpu, VcpuExit exit) {
        if (bus.handle(exit)) {
            return true;
        }
        switch (exit.reason()) {
            case IO -> port(exit);
            case IOAPIC_EOI -> ioapic.endOfInterrupt(exit.vector());
            case SHUTDOWN -> threads.reboot(this::restart);
            default -> throw new IllegalStateException(vcpu + " left with " + exit);
        }
        return true;
    }

    private void port(VcpuExit exit) {
        int port = exit.port();
        if (port == 0x64 && exit.isWrite()) {
            threads.reboot(this::restart);
        } else if (port == 0x100 + LINE && !exit.isWrite()) {
            boolean asserted = lineHigh.getAndSet(false); // else a spurious interrupt
            if (asserted) {
                withLine.lowerLine();
            }
            answer(exit, LINE, asserted);
        } else if (port == 0x100 + PASSED_LINE && !exit.isWrite()) {
            boolean asserted = passedHigh.getAndSet(false);
            if (asserted) {
                kind.hardware.serve();
            }
            answer(exit, PASSED_LINE, asserted);
        } else if (port != 0x3f8) { // the console
            throw new IllegalStateException("nobody is at " + exit);
        }
    }

    /** What is asserted again interrupts again after the EOI: nothing merges. */
    private void answer(VcpuExit exit, int source, boolean asserted) {
        exit.answer(asserted ? 1 : 0);
        if (asserted) {
            acks.get(source).signal();
        }
    }

    private void acknowledged(int source, long count) {
        long done = acked.addAndGet(source, count);
        if (done > sent.get(source)) {
            throw new IllegalStateException("source " + source + ": " + done + " acknowledged of " + sent.get(source));
        }
        if (done < target.get(source)) {
            send(source);
        }
    }

    void send(int source) {
        sent.incrementAndGet(source);
        if (source <= TIMER) {
            synchronized (unmasking) {
                if (source == TIMER) {
                    timer.signal();
                } else {
                    vectors.signal(source);
                }
            }
        } else if (source == LINE) {
            lineHigh.set(true);
            withLine.raiseLine();
        } else if (source == PASSED_LINE) {
            passedHigh.set(true);
            kind.hardware.requestService();
        } else {
            kind.hardware.sendMessage(source - PASSED);
        }
    }

    /** Sends this many more interrupts of a source, each after the guest's acknowledgement of the last. */
    void load(int source, long count) {
        boolean idle = sent.get(source) == acked.get(source);
        target.set(source, Math.max(target.get(source), sent.get(source)) + count);
        if (idle && count > 0) {
            send(source);
        }
    }

    boolean isIdle(int source) {
        return acked.get(source) >= target.get(source) && acked.get(source) == sent.get(source);
    }

    /** How often the guest took a source's interrupts, without those whose acknowledgement a reset prevented. */
    long taken(int source) {
        long sum = -beforeReset.get(source);
        for (int cpu = 0; cpu < VCPUS; cpu++) {
            sum += memory.mapping().getInt(COUNT + 0x40L * cpu + 4L * source);
        }
        return sum;
    }

    boolean isBooted() {
        return (memory.mapping().getInt(READY) & 0x10101) == 0x10101;
    }

    Throwable failure() {
        return failure != null
                ? failure
                : threads == null ? null : threads.failure().orElse(null);
    }

    /** As the guest's driver: an entry of the emulated function's table. */
    void program(long table, int entry, int cpu, int vector) {
        maskEntry(table, entry, true);
        bus.write(false, table + 16L * entry, 4, 0xfee00000L | cpu << 12);
        bus.write(false, table + 16L * entry + 8, 4, vector);
        maskEntry(table, entry, false);
    }

    /** A signal during a mask is one of the tests. */
    private void unmasking(boolean unmasks, Runnable change) {
        if (unmasks) {
            synchronized (unmasking) {
                change.run();
            }
        } else {
            change.run();
        }
    }

    void maskEntry(long table, int entry, boolean on) {
        unmasking(!on, () -> bus.write(false, table + 16L * entry + 12, 4, on ? 1 : 0));
    }

    /** As the guest's driver: MSI-X of a slot on or off, function mask. */
    void msix(int slot, int capability, boolean on, boolean masked) {
        unmasking(on && !masked, () -> config(slot, capability, (on ? 0x8000 : 0) | (masked ? 0x4000 : 0), 2, 2));
    }

    void config(int slot, int register, long value, int at, int size) {
        bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | register);
        bus.write(true, 0xcfc + at, size, value);
    }

    long config(int slot, int register) {
        bus.write(true, 0xcf8, 4, 0x80000000L | slot << 11 | register & ~3);
        return bus.read(true, 0xcfc, 4);
    }

    int capability(int slot, int id) {
        int at = (int) config(slot, 0x34) & 0xff;
        while (at != 0 && (config(slot, at) & 0xff) != id) {
            at = (int) config(slot, at) >> 8 & 0xff;
        }
        return at;
    }

    /** The guest's driver of the passed device enables BAR 0, DMA and, unless MSI-X is on, INTx. */
    void openPassed() {
        config(2, 0x10, PASSED_BAR, 0, 4);
        config(2, 4, 6, 0, 2);
    }

    /** Moves the timer's vector while it is masked. */
    void moveTimer(int cpu) {
        timer.mask();
        timer.reroute(MsiMessage.to(new VcpuId(cpu), vector(TIMER)));
        unmasking(true, timer::unmask);
    }

    void pause() {
        threads.pause();
    }

    void resume() {
        threads.resume();
    }

    /** A machine that continues this one, with its memory. */
    StormMachine next() {
        byte[] ram = new byte[RAM];
        memory.mapping().get(0, ByteBuffer.wrap(ram));
        return new StormMachine(new Kind(kind.kernel, kind.split, kind.hardware, null), ram);
    }

    /** Begins the move of the paused machine, which does not run again. */
    VmMove moves() {
        stopDevices();
        vcpus.forEach(Vcpu::moveHere);
        return VmMove.from(parts());
    }

    private void stopDevices() {
        loop.close();
        join(devices);
    }

    /** Continues a machine that was paused. */
    void continues(VmMove move, StormMachine old) {
        for (int i = 0; i < SOURCES; i++) {
            sent.set(i, old.sent.get(i));
            acked.set(i, old.acked.get(i));
            target.set(i, old.target.get(i));
            beforeReset.set(i, old.beforeReset.get(i));
        }
        lineHigh.set(old.lineHigh.get());
        move.into(parts());
    }

    void askReset() {
        vm.signal(MsiMessage.to(new VcpuId(0), vector(RESET)));
    }

    /** The step of a reboot. What was in flight is gone, and is not counted. */
    private void restart() {
        heard.forEach(Registration::pause);
        parts().reset();
        lineHigh.set(false);
        passedHigh.set(false);
        for (int i = 0; i < SOURCES; i++) {
            acks.get(i).drain();
            sent.set(i, acked.get(i));
            target.set(i, 0);
            beforeReset.addAndGet(i, taken(i) - acked.get(i));
        }
        heard.forEach(Registration::resume);
        memory.mapping().put(READY, new byte[16]);
        firmware();
        reboots++;
    }

    /** Hot unplug of the emulated function, under load. */
    void unplug() {
        function.close();
        function = null;
    }

    void closePassed() {
        close(ofPassed);
        passed = null;
    }

    void check() {
        if (failure() != null) {
            throw new IllegalStateException("the machine failed", failure());
        }
    }

    void await(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + LIMIT;
        while (!condition.getAsBoolean()) {
            check();
            if (System.nanoTime() > end) {
                throw new IllegalStateException(
                        "timeout: " + what + "; sent " + sent + " acked " + acked + " target " + target);
            }
            Thread.yield();
        }
    }

    @Override
    public void failed(Vcpu vcpu, Throwable thrown) {
        failure = thrown;
    }

    @Override
    public long read(int bar, long at, int size) {
        return 0x10ec;
    }

    @Override
    public void write(int bar, long at, int size, long value) {}

    @Override
    public void close() {
        if (threads != null) {
            threads.close();
        }
        loop.close();
        join(devices);
        closeAll();
    }

    private static void join(Thread thread) {
        boolean interrupted = false;
        while (thread != null && thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void closeAll() {
        close(ofPassed);
        close(opened);
    }

    private static void close(Deque<AutoCloseable> handles) {
        while (!handles.isEmpty()) {
            try {
                handles.pop().close();
            } catch (Exception e) {
                throw new IllegalStateException("close never fails", e);
            }
        }
    }
}
