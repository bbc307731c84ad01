/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.run;

import static io.kvmirq.contract.World.eventually;
import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Events;
import io.kvmirq.kvm.X86Pic;
import io.kvmirq.kvm.X86Pit;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.GuestAssembler;
import io.kvmirq.testing.Kernels;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** {@code VmParts.reset} and {@code VcpuThreads.reboot}: the guest of before is gone, the next one gets its interrupts. */
class RebootTest implements VcpuThreads.Owner {
    private static final int BOOTED = 0xe0;
    private static final int RESET = 0x64;
    private static final int DOORBELL = 0x90;
    private static final InterruptVector OLD = new InterruptVector(0x41);
    private static final InterruptVector NEW = new InterruptVector(0x42);
    private static final Gsi PIN = new Gsi(20);

    /** Tells that it has booted, then takes interrupts. */
    private static final String BOOTS = "out 0xe0, al; sti; idle: hlt; jmp idle";

    private final Undo open = new Undo();
    private final LinkedBlockingQueue<String> exits = new LinkedBlockingQueue<>();
    private final Queue<Throwable> failures = new ConcurrentLinkedQueue<>();
    private final AtomicReference<VcpuThreads> threads = new AtomicReference<>();
    private final AtomicInteger reboots = new AtomicInteger();
    private Vm vm;
    private AssembledGuest guest;
    private List<Vcpu> vcpus;
    private GuestIoapic ioapic;
    private VmParts parts;
    private Runnable step = this::reboot;

    private static Stream<Arguments> machines() {
        return Stream.of(Kernels.values())
                .flatMap(kernels -> Stream.of(Arguments.of(kernels, false), Arguments.of(kernels, true)));
    }

    private void create(Kernels kernels, boolean split, int count, String code) {
        Kernel kernel = open.add(kernels.open());
        vm = open.add(Vm.create(kernel));
        parts = new VmParts(vm);
        if (split) {
            vm.x86().createSplitIrqchip(GuestIoapic.PINS);
            ioapic = new GuestIoapic(vm, GuestIoapic.PINS);
            parts.ioapic(ioapic);
        } else {
            vm.x86().createIrqchip();
        }
        guest = open.add(new AssembledGuest(vm, count, code));
        vcpus = guest.vcpus;
        for (Vcpu vcpu : vcpus) {
            vcpu.x86().useHostCpuid();
            parts.vcpu(vcpu.id(), vcpu);
        }
        firmware();
    }

    /** Starts all vCPUs at the guest's code. */
    private void firmware() {
        for (Vcpu vcpu : vcpus) {
            vcpu.setState(VcpuState.RUNNABLE);
            vcpu.x86().enableX2apic();
            vcpu.x86()
                    .startAt(
                            AssembledGuest.START,
                            AssembledGuest.STACK + 0x800 * vcpu.id().number());
        }
    }

    private void reboot() {
        parts.reset();
        firmware();
        reboots.incrementAndGet();
    }

    /** The handler writes the vector to port 0xe1, and ends the interrupt. */
    private void handle(InterruptVector vector) {
        guest.handle(
                vector.number(),
                "pushad; mov al, %d; out 0xe1, al;".formatted(vector.number()) + GuestAssembler.EOI + "popad; iret");
    }

    private VcpuThreads start() {
        VcpuThreads made = VcpuThreads.startPaused(vcpus, this);
        open.add(made);
        threads.set(made);
        made.resume();
        return made;
    }

    @Override
    public boolean exited(Vcpu vcpu, VcpuExit exit) {
        if (exit.reason() == VcpuExit.Reason.IOAPIC_EOI) {
            ioapic.endOfInterrupt(exit.vector());
        } else if (exit.reason() == VcpuExit.Reason.IO && exit.port() != RESET) {
            exits.add(vcpu.id().number() + ":" + (exit.port() == BOOTED ? "boot " : "vector ")
                    + Long.toHexString(exit.data()));
        } else {
            exits.add(vcpu.id().number() + ":" + exit.reason());
            if (exit.reason() == VcpuExit.Reason.IO && !exit.isWrite()) {
                exit.answer(0x55);
            }
            threads.get().reboot(step);
        }
        return true;
    }

    @Override
    public void failed(Vcpu vcpu, Throwable failure) {
        failures.add(failure);
    }

    private void expect(String... wanted) throws InterruptedException {
        List<String> seen = new ArrayList<>();
        while (seen.size() < wanted.length) {
            String exit = exits.take();
            assertThat(exit).as("after %s; failures %s", seen, failures).isNotNull();
            seen.add(exit);
        }
        assertThat(seen).containsExactlyInAnyOrder(wanted);
    }

    private void assertQuiet() {
        assertThat(exits).isEmpty();
        assertThat(failures).isEmpty();
    }

    @AfterEach
    void close() {
        open.close();
    }

    private static MsiMessage to(int vcpu, InterruptVector vector) {
        return MsiMessage.to(new VcpuId(vcpu), vector);
    }

    // Who asks

    @ParameterizedTest
    @MethodSource("machines")
    void tripleFaultReboots(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 1, BOOTS);
        handle(OLD);
        handle(NEW);
        vm.x86().reportWaitingFaults();
        vm.signal(to(0, OLD));
        assertThat(vcpus.get(0).x86().isRequested(OLD)).isTrue();
        vcpus.get(0).x86().setEvents(vcpus.get(0).x86().events().set(X86Events.Name.TRIPLE_FAULT_PENDING, 1));
        start();
        expect("0:SHUTDOWN", "0:boot 0");
        vm.signal(to(0, NEW));
        expect("0:vector 42");
        assertQuiet();
    }

    /** The answer to the read stays in the guest of before. */
    @ParameterizedTest
    @MethodSource("machines")
    void resetPortReboots(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 2, "in al, 0x64; out 0xe1, al");
        step = () -> {
            guest.memory.put(AssembledGuest.START, bytes(BOOTS));
            reboot();
        };
        start();
        List<String> seen = new ArrayList<>();
        while (reboots.get() == 0
                || seen.stream().filter(exit -> exit.contains("boot")).count() < 2) {
            seen.add(exits.take());
        }
        assertThat(seen).contains("0:boot 0", "1:boot 0");
        assertThat(seen).noneMatch(exit -> exit.contains("vector"));
        assertThat(reboots).hasValue(1);
        assertQuiet();
    }

    @ParameterizedTest
    @MethodSource("machines")
    void otherThreadReboots(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 3, BOOTS);
        handle(NEW);
        VcpuThreads running = start();
        for (int i = 0; i < 3; i++) {
            expect("0:boot 0", "1:boot 0", "2:boot 0");
            running.reboot(step);
            assertThat(reboots).hasValue(i + 1);
        }
        expect("0:boot 0", "1:boot 0", "2:boot 0");
        for (int i = 0; i < 3; i++) {
            vm.signal(to(i, NEW));
        }
        expect("0:vector 42", "1:vector 42", "2:vector 42");
        assertQuiet();
    }

    /** Application processors wait for INIT, as after power-up. */
    @ParameterizedTest
    @MethodSource("machines")
    void guestStartsItsProcessorsAgain(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 2, BOOTS);
        VcpuThreads running = start();
        expect("0:boot 0", "1:boot 0");
        running.reboot(() -> {
            parts.reset();
            vcpus.get(0).x86().enableX2apic();
            vcpus.get(0).x86().startAt(AssembledGuest.START, AssembledGuest.STACK);
        });
        expect("0:boot 0");
        vm.x86().startProcessor(new VcpuId(1), AssembledGuest.START >> 12);
        expect("1:boot 0");
        assertQuiet();
    }

    // Requests beside each other

    @ParameterizedTest
    @MethodSource("machines")
    void twoRequestsAreOneReboot(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 2, BOOTS);
        CountDownLatch stepping = new CountDownLatch(1);
        CountDownLatch goesOn = new CountDownLatch(1);
        VcpuThreads running = start();
        expect("0:boot 0", "1:boot 0");
        Thread first = new Thread(() -> running.reboot(() -> {
            stepping.countDown();
            await(goesOn);
            running.reboot(() -> failures.add(new AssertionError("a step within the step")));
            reboot();
        }));
        first.start();
        stepping.await();
        Thread second = new Thread(() -> running.reboot(() -> failures.add(new AssertionError("a second step"))));
        Thread pauser = new Thread(running::pause);
        second.start();
        pauser.start();
        awaitWaiting(second);
        awaitWaiting(pauser);
        assertThatThrownBy(() -> running.pause(Duration.ofMillis(5)))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("the step of a reboot has not returned");
        goesOn.countDown();
        first.join();
        second.join();
        pauser.join();
        assertThat(reboots).hasValue(1);
        assertQuiet(); // it is paused
        running.reboot(this::reboot);
        assertThat(reboots).hasValue(2);
        vcpus.forEach(Vcpu::moveHere);
        assertQuiet();
        running.resume();
        expect("0:boot 0", "1:boot 0");
        assertQuiet();
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void awaitWaiting(Thread thread) {
        long end = System.nanoTime() + 20_000_000_000L;
        while (thread.getState() != Thread.State.WAITING && thread.getState() != Thread.State.TIMED_WAITING) {
            assertThat(System.nanoTime() - end).as("the thread waits").isNegative();
            Thread.onSpinWait();
        }
    }

    @ParameterizedTest
    @MethodSource("machines")
    void failureOfTheStepEndsTheGuest(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 2, BOOTS);
        VcpuThreads running = start();
        expect("0:boot 0", "1:boot 0");
        assertThatThrownBy(() -> running.reboot(() -> {
                    throw new IllegalStateException("no firmware");
                }))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage(
                        "the guest has ended: java.lang.IllegalStateException: no firmware: its vCPUs cannot be rebooted")
                .hasRootCauseMessage("no firmware");
        running.join();
        assertThat(failures).singleElement().satisfies(failure -> assertThat(failure)
                .hasMessage("no firmware"));
        assertThatThrownBy(() -> running.reboot(step)).hasMessageContaining("cannot be rebooted");
        assertThat(reboots).hasValue(0);
    }

    /** Whoever waits for the reboot of a guest that ends is told so. */
    @ParameterizedTest
    @MethodSource("machines")
    void guestMayEndDuringTheStep(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 2, BOOTS);
        VcpuThreads running = start();
        expect("0:boot 0", "1:boot 0");
        assertThatThrownBy(() -> running.reboot(() -> {
                    running.close();
                    reboot();
                }))
                .hasMessage("the guest has ended: its vCPUs cannot be rebooted");
        running.close();
        assertThat(reboots).hasValue(1);
        assertQuiet();
    }

    // What is reset

    @ParameterizedTest
    @MethodSource("machines")
    void assertedLineInterruptsTheNextGuest(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 1, "cli; out 0xe0, al; idle: hlt; jmp idle");
        handle(OLD);
        handle(NEW);
        EventFd event = open.add(EventFd.create(vm.kernel()));
        EventFd resample = open.add(EventFd.create(vm.kernel()));
        Optional<Irqfd> irqfd =
                split ? Optional.empty() : Optional.of(open.add(vm.assignLevelIrqfd(event, resample, PIN)));
        irqfd.ifPresent(line -> parts.irqfd("line", line));
        Userspace.Injector source = split ? ioapic.source() : null;
        programPin(OLD);
        irqfd.ifPresentOrElse(line -> event.signal(), () -> source.line(PIN, true));
        VcpuThreads running = start();
        expect("0:boot 0");
        running.reboot(() -> {
            // A worker of KVM injects what an irqfd with a resampler signals.
            eventually("the line", () -> vcpus.get(0).x86().isRequested(OLD));
            parts.reset();
            assertThat(vcpus.get(0).x86().isRequested(OLD)).isFalse();
            irqfd.ifPresent(line -> {
                assertThat(resample.drain())
                        .as("the device hears that its line is low")
                        .isPositive();
                event.signal();
            });
            guest.memory.put(AssembledGuest.START, bytes(BOOTS));
            firmware();
        });
        expect("0:boot 0");
        assertQuiet();
        running.pause();
        vcpus.get(0).moveHere();
        programPin(NEW);
        running.resume();
        expect("0:vector 42");
    }

    private void programPin(InterruptVector vector) {
        if (ioapic == null) {
            vm.x86().setIoapic(vm.x86().ioapic().levelPin(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number()), vector));
            return;
        }
        ioapic.write(0, 4, 0x11 + 2 * PIN.number());
        ioapic.write(0x10, 4, 0);
        ioapic.write(0, 4, 0x10 + 2 * PIN.number());
        ioapic.write(0x10, 4, 1 << 15 | vector.number());
    }

    /** All but the times at which a channel began to count. */
    private static Stream<X86Pit.Name> timerFields() {
        return Stream.of(X86Pit.Name.values()).filter(name -> !name.name().startsWith("LOADED"));
    }

    @ParameterizedTest
    @MethodSource("machines")
    void chipsAreAsNewOnes(Kernels kernels, boolean split) {
        create(kernels, split, 1, BOOTS);
        if (split) {
            GuestPic pic = new GuestPic();
            byte[] fresh = pic.state();
            pic.write(0x21, 0xff);
            pic.write(0x4d0, 0x20);
            programPin(OLD);
            parts.pic(pic).reset();
            assertThat(pic.state()).isEqualTo(fresh);
            assertThat(ioapic.entry(PIN.number())).isEqualTo(1 << 16);
            return;
        }
        vm.x86().createPit();
        byte[] master = vm.x86().pic(Route.Chip.PIC_MASTER).bytes();
        byte[] slave = vm.x86().pic(Route.Chip.PIC_SLAVE).bytes();
        byte[] chip = vm.x86().ioapic().bytes();
        X86Pit fresh = vm.x86().pit();
        programPin(OLD);
        for (Route.Chip which : List.of(Route.Chip.PIC_MASTER, Route.Chip.PIC_SLAVE)) {
            X86Pic pic = vm.x86().pic(which);
            Stream.of(X86Pic.Name.values())
                    .filter(name -> name != X86Pic.Name.LAST_IRR)
                    .forEach(name -> pic.set(name, pic.get(name) ^ 1));
            vm.x86().setPic(pic);
        }
        X86Pit timer = vm.x86().pit();
        timerFields().forEach(name -> timer.set(name, timer.get(name) ^ 1));
        vm.x86().setPit(timer);
        vm.x86().setLine(new Gsi(9), true);
        vm.x86().setLine(new Gsi(9), false);
        parts.reset();
        assertThat(vm.x86().pic(Route.Chip.PIC_MASTER).bytes()).isEqualTo(master);
        assertThat(vm.x86().pic(Route.Chip.PIC_SLAVE).bytes()).isEqualTo(slave);
        assertThat(vm.x86().ioapic().bytes()).isEqualTo(chip);
        X86Pit now = vm.x86().pit();
        timerFields().forEach(name -> assertThat(now.get(name)).as("%s", name).isEqualTo(fresh.get(name)));
        vm.x86().setLine(new Gsi(5), true);
        vm.x86().setLine(new Gsi(20), true);
        parts.reset();
        assertThat(vm.x86().pic(Route.Chip.PIC_MASTER).get(X86Pic.Name.IRR))
                .as("a high line is an edge for the next guest")
                .isEqualTo(1 << 5);
        assertThat(vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, 20)))
                .isTrue();
        firmware();
        programPin(NEW);
        assertThat(vcpus.get(0).x86().isRequested(NEW))
                .as("of a line that is still high")
                .isTrue();
    }

    /** A signal that waits behind a mask is one of the guest before; but a line's device waits for an EOI. */
    @ParameterizedTest
    @MethodSource("machines")
    void maskedSignalsAndBusAreReset(Kernels kernels, boolean split) {
        create(kernels, split, 1, BOOTS);
        MaskableVector vector = open.add(MaskableVector.create(vm, to(0, OLD)));
        PciHostBridge bus = new PciHostBridge(0xd0000, 0x8000);
        AtomicInteger resets = new AtomicInteger();
        EmulatedVectors vectors = open.add(EmulatedVectors.create(vm, 2));
        EmulatedFunction function = open.add(EmulatedFunction.builder(bus, 1, vm, registers(resets))
                .ids(0x1234, 0x11e8)
                .type(0xff0000)
                .bar(0, 0x1000)
                .msix(vectors, 0, 0x200, 0x800)
                .build());
        Optional<Irqfd> line = split
                ? Optional.empty()
                : Optional.of(open.add(vm.assignLevelIrqfd(
                        open.add(EventFd.create(vm.kernel())), open.add(EventFd.create(vm.kernel())), PIN)));
        line.ifPresent(irqfd -> parts.irqfd("line", irqfd));
        line.ifPresent(irqfd -> {
            irqfd.mask();
            irqfd.event().signal();
        });
        Irqfd edge = open.add(vm.assignIrqfd(
                open.add(EventFd.create(vm.kernel())), vm.routes().add(to(0, OLD))));
        parts.irqfd("edge", edge);
        edge.mask();
        edge.event().signal();
        vector.mask();
        vector.signal();
        vectors.signal(0);
        bus.write(true, 0xcf8, 4, 0x8000_0800L);
        parts.vector("timer", vector).device("function", function).bus(bus).reset();
        line.ifPresent(irqfd -> {
            assertThat(irqfd.isMasked()).isTrue();
            assertThat(irqfd.event().drain()).as("the device waits for its EOI").isOne();
        });
        assertThat(edge.event().drain()).isZero();
        assertThat(vector.event().drain()).isZero();
        assertThat(vectors.event(0).drain()).isZero();
        assertThat(bus.read(true, 0xcf8, 4)).isZero();
        assertThat(resets).as("a device on the bus is reset once").hasValue(1);
        assertThat(vector.isMasked()).isTrue();
        line.ifPresent(Irqfd::close);
        edge.close();
        VmParts withoutBus = new VmParts(vm).vcpu(new VcpuId(0), vcpus.get(0)).device("function", function);
        (ioapic == null ? withoutBus : withoutBus.ioapic(ioapic)).reset();
        assertThat(resets).as("a device without a bus, too").hasValue(2);
    }

    private static EmulatedFunction.Registers registers(AtomicInteger resets) {
        return new EmulatedFunction.Registers() {
            @Override
            public long read(int bar, long at, int size) {
                return 0;
            }

            @Override
            public void write(int bar, long at, int size, long value) {}

            @Override
            public void reset() {
                resets.incrementAndGet();
            }
        };
    }

    @ParameterizedTest
    @MethodSource("machines")
    void runningMachineIsNotReset(Kernels kernels, boolean split) throws InterruptedException {
        create(kernels, split, 2, "out 0xe0, al; again: inc word [0x600]; jmp again");
        AtomicInteger resets = new AtomicInteger();
        PciHostBridge bus = new PciHostBridge(0xd0000, 0x8000);
        open.add(EmulatedFunction.builder(bus, 1, vm, registers(resets))
                .ids(0x1234, 0x11e8)
                .type(0xff0000)
                .bar(0, 0x1000)
                .build());
        parts.bus(bus);
        VmParts fewer = new VmParts(vm).vcpu(new VcpuId(0), vcpus.get(0)).bus(bus);
        assertThatThrownBy(fewer::reset)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("vcpu 1 of " + vm + " is not among the parts");
        VcpuThreads running = start();
        expect("0:boot 0", "1:boot 0");
        short counted = guest.memory.getShort(0x600);
        while (guest.memory.getShort(0x600) == counted) {
            Thread.onSpinWait(); // until a vCPU is in its run
        }
        assertThatThrownBy(parts::reset).isInstanceOf(IllegalStateException.class);
        running.close();
        vcpus.get(1).close();
        assertThatThrownBy(parts::reset).isInstanceOf(ClosedHandleException.class);
        assertThat(resets).hasValue(0);
        assertThatThrownBy(() -> parts.vcpu(new VcpuId(0), vcpus.get(0))).hasMessageContaining("is named 0 already");
    }

    // Load

    @ParameterizedTest
    @MethodSource("machines")
    void interruptsArriveThroughReboots(Kernels kernels, boolean split) throws InterruptedException {
        rebootUnderLoad(kernels, split, 3);
    }

    @ParameterizedTest
    @MethodSource("machines")
    @Tag("long")
    void interruptsArriveThroughManyReboots(Kernels kernels, boolean split) throws InterruptedException {
        rebootUnderLoad(kernels, split, 20);
    }

    /** Each vCPU answers through a doorbell; the old guest may lose what is in flight, the next one nothing. */
    private void rebootUnderLoad(Kernels kernels, boolean split, int count) throws InterruptedException {
        create(kernels, split, 3, BOOTS);
        guest.handle(NEW.number(), "pushad; out 0x90, al; " + GuestAssembler.EOI + "popad; iret");
        guest.handle(OLD.number(), "out 0x64, al; jmp $");
        EventFd rung = open.add(EventFd.create(vm.kernel()));
        open.add(vm.assignIoEventFd(IoAddress.port(DOORBELL, 1), rung));
        List<MaskableVector> vectors = MaskableVector.createAll(
                vm, Stream.of(0, 1, 2).map(i -> to(i, NEW)).toList());
        open.add(() -> MaskableVector.closeAll(vectors));
        for (int i = 0; i < 3; i++) {
            parts.vector("vector " + i, vectors.get(i));
        }
        VcpuThreads running = start();
        long answered = 0;
        for (int i = 1; i <= count; i++) {
            expect("0:boot 0", "1:boot 0", "2:boot 0");
            rung.drain(); // of the guest before
            for (int sent = 0; sent < 200; sent++) {
                vectors.forEach(MaskableVector::signal);
                for (int came = 0; came < 3; ) {
                    rung.await();
                    came += (int) rung.drain();
                }
                answered += 3;
            }
            vectors.forEach(MaskableVector::signal);
            if (i % 2 == 0) {
                running.reboot(step);
            } else {
                vm.signal(to(i % 3, OLD));
                expect(i % 3 + ":IO");
            }
        }
        expect("0:boot 0", "1:boot 0", "2:boot 0");
        assertThat(reboots).hasValue(count);
        assertQuiet();
        System.out.println(kernels + (split ? ", split" : ", full") + ": " + count + " reboots of 3 vCPUs, " + answered
                + " interrupts, 0 lost");
    }
}
