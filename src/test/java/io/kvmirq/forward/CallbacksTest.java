/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaModifier;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Registration;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.CpuTime;
import io.kvmirq.testing.Latches;
import io.kvmirq.testing.MainClasses;
import io.kvmirq.testing.Warnings;
import io.kvmirq.vfio.FileHolder;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.VfioDevice;
import java.lang.management.LockInfo;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.lang.reflect.Constructor;
import java.lang.reflect.Modifier;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Code of the user runs while no lock of the library is held: neither by its thread, nor by another one that waits for it.
 */
class CallbacksTest {
    private static final String LOCKLESS = "bits and models, which have no lock of Java";
    private static final String KERNEL = "stands for the kernel, which is called under locks";
    private static final String VALUE = "a value, asked by whoever has it";
    private static final String OF_HANDLES =
            "passed by the library's own handles alone, which are no interface of users";

    /** Every type of the public API that users implement: the test here that calls it, or why none does. */
    private static final Map<String, String> CALLBACKS = Map.ofEntries(
            Map.entry("DeviceName", VALUE),
            Map.entry("arch.Description$Check", LOCKLESS),
            Map.entry("arch.Description.computed LongUnaryOperator", LOCKLESS),
            Map.entry("arch.Description.forbidding LongFunction", LOCKLESS),
            Map.entry("arch.Description.forbidding LongPredicate", LOCKLESS),
            Map.entry("arch.Description.new LongUnaryOperator", LOCKLESS),
            Map.entry("arch.FormatBuilder.looked Predicate", LOCKLESS),
            Map.entry("arch.FormatBuilder.remark Predicate", LOCKLESS),
            Map.entry("arch.Meaning", LOCKLESS),
            Map.entry("arch.Structure", LOCKLESS),
            Map.entry("arch.apic.IrteUpdate", LOCKLESS),
            Map.entry("arch.vcpu.HostCpus.forget Consumer", LOCKLESS),
            Map.entry("arch.vcpu.HostCpus.handle Consumer", LOCKLESS),
            Map.entry("arch.vcpu.VcpuHooks", LOCKLESS),
            Map.entry("arch.vcpu.VcpuThread.reenter Runnable", LOCKLESS),
            Map.entry("arch.vtd.posting.RemappingTable$Descriptors", LOCKLESS),
            Map.entry("arch.vtd.posting.RemappingTable$Observer", LOCKLESS),
            Map.entry("backend.BackendProvider", KERNEL),
            Map.entry("backend.HostFiles", KERNEL),
            Map.entry("backend.HostFiles$Kept", KERNEL),
            Map.entry("backend.KernelBackend", KERNEL),
            Map.entry("backend.Libc", KERNEL),
            Map.entry("backend.Libc.view Runnable", "runs in the thread of a Cleaner, which holds no lock"),
            Map.entry("backend.Pool.new Supplier", LOCKLESS),
            Map.entry(
                    "fake.FakeMessages.traceCallers Supplier",
                    "it reads the stack of its thread, and may do nothing else"),
            Map.entry(
                    "fake.FakeKernel.traceCalls Supplier", "it reads the stack of its thread, and may do nothing else"),
            Map.entry("forward.Forwarding.forwardAll IntFunction", "messages"),
            Map.entry("forward.Forwarding.forwardMasked IntFunction", "messages"),
            Map.entry("forward.Forwarding.reroute IntFunction", "messages"),
            Map.entry("forward.Forwarding.takeOver IntFunction", "messages"),
            Map.entry("forward.Userspace$Injector", "injectorOf…"),
            Map.entry("forward.Userspace$Injector.raiseUntilEoi Runnable", "called by injectors alone: endListeners"),
            Map.entry("irqchip.GuestIoapic.addEndListener Runnable", "endListeners"),
            Map.entry("irqchip.GuestIoapic.raiseUntilEoi Runnable", "endListeners"),
            Map.entry("irqchip.GuestIoapic.removeEndListener Runnable", "endListeners"),
            Map.entry("junit.Actors$Step", LOCKLESS),
            Map.entry("junit.Actors.when BooleanSupplier", LOCKLESS),
            Map.entry(
                    "kernel.Kernel.traceHandles Supplier", "it reads the stack of its thread, and may do nothing else"),
            Map.entry("kernel.Calls.adopted Function", OF_HANDLES),
            Map.entry("kernel.Calls.after IntSupplier", OF_HANDLES),
            Map.entry("kernel.Calls.check Supplier", OF_HANDLES),
            Map.entry("kernel.Calls.failure Supplier", OF_HANDLES),
            Map.entry("kernel.Calls.made Function", OF_HANDLES),
            Map.entry("kernel.Calls.made IntFunction", OF_HANDLES),
            Map.entry("kernel.Calls.made IntSupplier", OF_HANDLES),
            Map.entry("kernel.Calls.call IntUnaryOperator", OF_HANDLES),
            Map.entry("kernel.Calls.tell Runnable", OF_HANDLES),
            Map.entry("kernel.Calls.withAddress LongConsumer", OF_HANDLES),
            Map.entry("kernel.EventLoop$FailureHandler", "handlers"),
            Map.entry("kernel.EventLoop$Handler", "handlers"),
            Map.entry("kernel.EventLoop.registerDoorbell Runnable", "handlers"),
            Map.entry("kvm.RouteTable.change Function", "changesOfRoutes"),
            Map.entry("kvm.RouteTable.edit Consumer", "changesOfRoutes"),
            Map.entry("kvm.VmListener", "vmListeners"),
            Map.entry("mirror.VcpuPhase", "it reads a number, and may do nothing else"),
            Map.entry("path.Known.map Function", VALUE),
            Map.entry("path.Known.then Function", VALUE),
            Map.entry("pci.EmulatedFunction$Builder.warned Consumer", "registersOfAnEmulatedFunction"),
            Map.entry("pci.EmulatedFunction$Registers", "registersOfAnEmulatedFunction"),
            Map.entry("pci.PassedThroughDevice$Notices", "noticesOfAPassedThroughDevice"),
            Map.entry("run.VcpuThreads$Owner", "ownerOfVcpuThreads"),
            Map.entry("run.VcpuThreads.reboot Runnable", "ownerOfVcpuThreads"),
            Map.entry("fake.Faults.delay Runnable", KERNEL),
            Map.entry("fake.Faults.failIf Predicate", "it counts calls, and may not wait"),
            Map.entry("vfio.FileHolder", "fileHolders"),
            Map.entry("vfio.FileHolder$Hold", "fileHolders"),
            Map.entry("vfio.HostIrqs", "hostIrqsOfAPath"),
            Map.entry("vfio.VfioDevice.addCloseListener Runnable", "closeListeners"),
            Map.entry("vfio.VfioDevice.removeCloseListener Runnable", "closeListeners"));

    /** The callbacks that run any code of the user. */
    static Stream<String> usersCode() {
        return CALLBACKS.entrySet().stream()
                .filter(entry -> !entry.getValue().contains(" "))
                .map(Map.Entry::getKey);
    }

    private final ForwardWorld world = new ForwardWorld("6.12");
    private final EventLoop loop = EventLoop.create(world.kernel);
    private final AtomicInteger calls = new AtomicInteger();
    private final List<String> held = new CopyOnWriteArrayList<>();

    @AfterEach
    void close() {
        loop.close();
        world.close();
    }

    @Test
    void everyCallbackOfTheApiIsCalledHere() throws Exception {
        Set<String> exported = new HashSet<>();
        for (Artifacts artifact : Artifacts.values()) {
            artifact.descriptor().exports().stream()
                    .filter(export -> !export.isQualified())
                    .forEach(export -> exported.add(export.source()));
        }
        Set<String> callbacks = new TreeSet<>();
        for (JavaClass type : MainClasses.ALL) {
            if (!exported.contains(type.getPackageName())
                    || !type.getModifiers().contains(JavaModifier.PUBLIC)) {
                continue;
            }
            Class<?> real = type.reflect();
            // An interface of constants alone, as a structure of the kernel is, calls nobody.
            if (real.isInterface() && real.getMethods().length > 0 && !real.isAnnotation() && !real.isSealed()) {
                callbacks.add(name(real));
            }
            Stream.concat(Arrays.stream(real.getDeclaredMethods()), Arrays.stream(real.getDeclaredConstructors()))
                    .filter(method -> Modifier.isPublic(method.getModifiers()))
                    .forEach(method -> Arrays.stream(method.getParameterTypes())
                            .filter(callback -> callback == Runnable.class
                                    || callback.getPackageName().equals("java.util.function"))
                            .forEach(callback -> callbacks.add(
                                    name(real) + "." + (method instanceof Constructor ? "new" : method.getName()) + " "
                                            + callback.getSimpleName())));
        }
        assertThat(callbacks).isEqualTo(CALLBACKS.keySet());
    }

    private static String name(Class<?> type) {
        return type.getName().substring("io.kvmirq.".length());
    }

    /** To be called in a callback: notes the locks of the library that its thread holds, or one that waits. */
    private void called() {
        calls.incrementAndGet();
        for (ThreadInfo thread : ManagementFactory.getThreadMXBean().dumpAllThreads(true, true)) {
            if (thread.getThreadId() != Thread.currentThread().getId()
                    && thread.getThreadState() != Thread.State.WAITING
                    && thread.getThreadState() != Thread.State.TIMED_WAITING) {
                continue;
            }
            Stream.concat(Arrays.stream(thread.getLockedMonitors()), Arrays.stream(thread.getLockedSynchronizers()))
                    .map(LockInfo::getClassName)
                    .filter(lock -> isOurs(lock, thread))
                    .forEach(lock -> held.add(lock + " by " + thread.getThreadName()));
        }
    }

    /** Monitors by their class; other locks by who took them. The fake holds its own while it answers. */
    private static boolean isOurs(String lock, ThreadInfo thread) {
        boolean waits = Arrays.stream(thread.getStackTrace())
                .anyMatch(frame -> frame.getClassName().startsWith("io.kvmirq"));
        return lock.startsWith("io.kvmirq") && !lock.contains("Test")
                || lock.equals(ReentrantLock.class.getName() + "$NonfairSync") && waits;
    }

    private void assertFree(int atLeast) {
        assertThat(held).isEmpty();
        assertThat(calls.get()).as("callbacks").isGreaterThanOrEqualTo(atLeast);
    }

    @Test
    void handlers() {
        try (EventFd event = EventFd.create(world.kernel)) {
            Registration registration = loop.register(event, count -> called());
            event.signal();
            loop.pollNanos(0);
            registration.close();
            try (Registration doorbell = loop.registerDoorbell(event, this::called)) {
                doorbell.event().signal();
                loop.pollNanos(0);
            }
            loop.onFailure((failed, failure) -> called());
            try (Registration failing = loop.register(event, count -> Integer.parseInt("x"))) {
                failing.event().signal();
                loop.pollNanos(0);
            }
        }
        assertFree(3);
    }

    @Test
    void messages() {
        try (Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            forwarding.forwardAll(world.device.msix(0, 2), i -> {
                called();
                return message(0x30 + i);
            });
            forwarding.takeOver(world.device.msix(2, 2), i -> {
                called();
                return message(0x40 + i);
            });
            List<ForwardedIrq> masked = forwarding.forwardMasked(world.device.msix(4, 2), i -> {
                called();
                return message(0x50 + i);
            });
            forwarding.reroute(masked, i -> {
                called();
                return message(0x60 + i);
            });
        }
        assertFree(8);
    }

    @Test
    void changesOfRoutes() {
        world.vm.routes().change(edit -> {
            called();
            return edit.add(message(0x30));
        });
        world.vm.routes().edit(edit -> called());
        assertFree(1);
    }

    @Test
    void hostIrqsOfAPath() {
        try (Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), ForwardWorld.message(0x31));
            irq.path(known -> {
                called();
                return Optional.empty();
            });
        }
        assertFree(1);
    }

    @Test
    void vmListeners() {
        try (Vm vm = Vm.create(world.kernel)) {
            vm.x86().createIrqchip();
            VmListener listener = new VmListener() {
                @Override
                public void vcpuAdded(VcpuId vcpu) {
                    called();
                }

                @Override
                public void apicIdsWidened() {
                    called();
                }
            };
            vm.listeners().add(listener);
            vm.x86().use32BitApicIds();
            vm.createVcpu(new VcpuId(0)).close();
            vm.listeners().add(listener);
        }
        assertFree(3);
    }

    @Test
    void fileHoldersAndCloseListeners() {
        FileHolder holder = file -> {
            called();
            return this::called;
        };
        world.device.close();
        VfioDevice device = VfioDevice.open(world.kernel, ForwardWorld.NIC, holder);
        device.addCloseListener(this::called);
        device.close();
        assertFree(3);
    }

    @Test
    void registersOfAnEmulatedFunction() {
        EmulatedFunction.Registers registers = new EmulatedFunction.Registers() {
            @Override
            public long read(int bar, long at, int size) {
                called();
                throw new IllegalStateException("a warning");
            }

            @Override
            public void write(int bar, long at, int size, long value) {
                called();
            }

            @Override
            public void reset() {
                called();
            }

            @Override
            public byte[] state() {
                called();
                return new byte[0];
            }

            @Override
            public void restore(byte[] state) {
                called();
            }
        };
        PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
        try (EmulatedFunction function = EmulatedFunction.builder(bus, 1, world.vm, registers)
                .ids(1, 2)
                .ports(0, 16)
                .warned(sentence -> called())
                .build()) {
            world.fake
                    .vcpu(0)
                    .exits(
                            FakeExit.ioOut(0xcf8, 4, 0x80000000L | 1 << 11 | 4),
                            FakeExit.ioOut(0xcfc, 2, 1),
                            FakeExit.ioIn(0xc000, 1),
                            FakeExit.ioOut(0xc000, 1, 1));
            for (int i = 0; i < 4; i++) {
                assertThat(bus.handle(world.first.run())).isTrue();
            }
            function.restore(function.state());
        }
        assertFree(6);
    }

    @Test
    void ownerOfVcpuThreads() throws InterruptedException {
        world.fake.vcpu(0).exits(FakeExit.ioOut(0x80, 1, 1));
        try (VcpuThreads threads = VcpuThreads.startPaused(List.of(world.first), new VcpuThreads.Owner() {
            @Override
            public boolean exited(Vcpu vcpu, VcpuExit exit) {
                called();
                throw new IllegalStateException("told once");
            }

            @Override
            public void failed(Vcpu vcpu, Throwable failure) {
                called();
            }
        })) {
            threads.reboot(this::called);
            threads.resume();
            threads.join();
        }
        assertFree(3);
    }

    @Test
    void noticesOfAPassedThroughDevice() {
        PassedThroughDevice.Notices notices = new PassedThroughDevice.Notices() {
            @Override
            public void warned(String sentence) {
                called();
            }

            @Override
            public void failed() {
                called();
            }

            @Override
            public void askedBack() {
                called();
            }
        };
        PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
        try (Forwarding forwarding = Forwarding.create(world.vm, world.device);
                PassedThroughDevice passed = PassedThroughDevice.builder(bus, 1, world.vm, world.device, forwarding)
                        .notices(loop, notices)
                        .build()) {
            world.hardware.reportError();
            world.hardware.askBack();
            loop.pollNanos(0);
            world.device.close();
            passed.reset();
        }
        assertFree(3);
    }

    @Test
    void endListeners() {
        Gsi pin = new Gsi(5);
        InterruptVector vector = new InterruptVector(0x35);
        try (Vm vm = Vm.create(world.kernel)) {
            vm.x86().createSplitIrqchip(24);
            GuestIoapic ioapic = new GuestIoapic(vm, 24);
            ioapic.write(0, 4, 0x10 + 2 * pin.number());
            ioapic.write(0x10, 4, 1 << 15 | vector.number()); // a level
            Runnable step = this::called;
            ioapic.addEndListener(pin, step);
            ioapic.endOfInterrupt(vector);
            ioapic.removeEndListener(pin, step);
            ioapic.raiseUntilEoi(pin, step);
            ioapic.endOfInterrupt(vector);
            ioapic.source().raiseUntilEoi(pin, step);
            ioapic.endOfInterrupt(vector);
        }
        assertThat(calls).hasValue(3);
        assertFree(3);
    }

    /** The vCPU exists, whatever a listener throws: its creator gets it, and the others are told. */
    @Test
    void listenersThatThrowAreLogged() {
        List<String> told = new ArrayList<>();
        VmListener fails = new VmListener() {
            @Override
            public void vcpuAdded(VcpuId vcpu) {
                throw new IllegalStateException("no room for " + vcpu);
            }

            @Override
            public void apicIdsWidened() {
                throw new AssertionError("no");
            }
        };
        VmListener works = new VmListener() {
            @Override
            public void vcpuAdded(VcpuId vcpu) {
                told.add(vcpu.toString());
            }

            @Override
            public void apicIdsWidened() {
                told.add("widened");
            }
        };
        List<String> said = Warnings.of(this::called, () -> {
            world.vm.listeners().add(fails);
            world.vm.listeners().add(works);
            world.vm.x86().use32BitApicIds();
            try (Vcpu third = world.vm.createVcpu(new VcpuId(2))) {
                assertThat(third.x86().isRequested(ForwardWorld.vector(0x30))).isFalse();
            }
            world.vm.listeners().remove(fails);
            world.device.addCloseListener(() -> {
                throw new IllegalStateException("no");
            });
            world.device.addCloseListener(() -> told.add("closed"));
            world.device.close();
        });
        assertThat(told).containsExactly("vcpu 0", "vcpu 1", "widened", "vcpu 2", "closed");
        assertThat(said).hasSize(5).allMatch(text -> text.endsWith(" failed"));
    }

    // The injector

    /** Calls in which, or after which, a line is driven. */
    private enum Ending {
        MASK,
        MOVE,
        CLOSE,
        CLOSE_ALL,
        END;

        void of(Forwarding forwarding, ForwardedIrq irq) {
            switch (this) {
                case MASK -> irq.mask();
                case MOVE -> irq.moveTo(irq.irq() instanceof LineIrq ? Mechanism.RESAMPLE : Mechanism.IRQFD);
                case CLOSE -> irq.close();
                case CLOSE_ALL -> forwarding.close();
                case END -> irq.endOfInterrupt();
            }
        }
    }

    private Forwarding relaying(Vm vm, Userspace.Injector injector) {
        return Forwarding.builder(vm, world.device)
                .userspace(Userspace.of(loop, injector))
                .build();
    }

    /** @param each what the injector does, of messages and lines */
    private static Userspace.Injector injector(Runnable each) {
        return new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {
                each.run();
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                each.run();
            }
        };
    }

    @ParameterizedTest
    @EnumSource
    void injectorOfALine(Ending ending) {
        try (Forwarding forwarding = relaying(world.vm, injector(this::called))) {
            ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
            line.moveTo(Mechanism.USERSPACE);
            world.hardware.requestService();
            loop.pollNanos(0);
            ending.of(forwarding, line);
        }
        assertFree(2);
    }

    /** Another thread waits for the injection under way, which waits for nobody. */
    @ParameterizedTest
    @EnumSource(names = "END", mode = EnumSource.Mode.EXCLUDE)
    void injectorOfAMessageForWhichAnotherThreadWaits(Ending ending) throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        List<Runnable> work = new ArrayList<>();
        try (Forwarding forwarding = relaying(world.vm, injector(() -> {
            threads.add(waiting(work.get(0)));
            called();
        }))) {
            ForwardedIrq irq = forwarding.forward(world.device.msix().get(0), message(0x30));
            irq.moveTo(Mechanism.USERSPACE);
            work.add(() -> ending.of(forwarding, irq));
            world.hardware.sendMessage(0);
            loop.pollNanos(0);
            for (Thread thread : threads) {
                thread.join();
            }
        }
        assertFree(1);
    }

    @Test
    void injectorOfAMessageForWhoseFormerMessageAnotherThreadWaits() throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        List<ForwardedIrq> irqs = new ArrayList<>();
        try (Forwarding forwarding = relaying(world.vm, injector(() -> {
            threads.add(waiting(() -> irqs.get(0).reroute(message(0x31))));
            called();
        }))) {
            irqs.add(forwarding.forward(world.device.msix().get(0), message(0x30)));
            irqs.get(0).moveTo(Mechanism.USERSPACE);
            world.hardware.sendMessage(0);
            loop.pollNanos(0);
            for (Thread thread : threads) {
                thread.join();
            }
        }
        assertFree(1);
    }

    /** A thread that ends, or waits. */
    private static Thread waiting(Runnable work) {
        Thread other = new Thread(work);
        other.start();
        while (other.isAlive()
                && other.getState() != Thread.State.WAITING
                && other.getState() != Thread.State.TIMED_WAITING) {
            Thread.onSpinWait();
        }
        return other;
    }

    /** A VMM's lock is held by a thread that forwards, and is needed by the injector of one that closes. */
    @ParameterizedTest
    @EnumSource(names = {"CLOSE", "CLOSE_ALL", "MASK", "MOVE"})
    void injectorNeedsALockOfAThreadThatForwards(Ending ending) throws InterruptedException {
        ReentrantLock vmm = new ReentrantLock();
        AtomicBoolean waits = new AtomicBoolean();
        try (Forwarding forwarding = relaying(world.vm, injector(() -> {
            waits.set(vmm.isLocked());
            vmm.lock();
            vmm.unlock();
        }))) {
            ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
            line.moveTo(Mechanism.USERSPACE);
            world.hardware.requestService();
            loop.pollNanos(0);
            Thread closing = new Thread(() -> ending.of(forwarding, line));
            vmm.lock();
            try {
                closing.start();
                while (!waits.get() || closing.getState() != Thread.State.WAITING) {
                    Thread.onSpinWait();
                }
                assertThatThrownBy(() -> forwarding.forward(world.device.msix().get(0), message(0x30)))
                        .isInstanceOf(IllegalStateException.class);
                assertThat(forwarding.irqs()).containsExactly(line);
                assertThat(line.isMasked()).isEqualTo(ending == Ending.MASK);
            } finally {
                vmm.unlock();
            }
            closing.join();
        }
        assertThat(world.vm.x86().ioapic().isHigh(new Route.Pin(PIN, Route.Chip.IOAPIC, PIN.number())))
                .isFalse();
    }

    /** The end of one interrupt is not over when the next forwarding of it would begin. */
    @Test
    void interruptThatIsEndingIsNotForwardedAnew() throws InterruptedException {
        CountDownLatch ended = new CountDownLatch(1);
        CountDownLatch lowering = new CountDownLatch(1);
        try (Forwarding forwarding = relaying(world.vm, injector(() -> {
            if (calls.incrementAndGet() == 2) {
                lowering.countDown();
                Latches.await(ended);
            }
        }))) {
            ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
            line.moveTo(Mechanism.USERSPACE);
            world.hardware.requestService();
            loop.pollNanos(0);
            Thread closing = new Thread(line::close);
            closing.start();
            lowering.await();
            assertThatThrownBy(() -> forwarding.forward(world.device.intx(), PIN))
                    .hasMessageContaining("is forwarded already");
            ended.countDown();
            closing.join();
            forwarding.forward(world.device.intx(), PIN);
        }
    }

    /** In the injector, all of it: nothing waits for itself. */
    @ParameterizedTest
    @EnumSource
    void injectorMayChangeItsInterrupt(Ending ending) {
        List<Runnable> work = new ArrayList<>();
        try (Forwarding forwarding = relaying(world.vm, injector(() -> {
            if (calls.incrementAndGet() == 1) {
                work.get(0).run();
            }
        }))) {
            ForwardedIrq line = forwarding.forward(world.device.intx(), PIN);
            line.moveTo(Mechanism.USERSPACE);
            work.add(() -> ending.of(forwarding, line));
            world.hardware.requestService();
            loop.pollNanos(0);
        }
        assertThat(calls.get()).isGreaterThanOrEqualTo(2);
    }

    // The log

    /** A forgotten handle is reported while a batch makes its eventfds, with the lock of the forwarding held. */
    @Test
    void logHandlers() {
        List<String> said = Warnings.of(this::called, () -> {
            try (Forwarding forwarding = Forwarding.create(world.vm, world.device)) {
                Duration limit = CpuTime.ofThread().plusSeconds(20);
                while (calls.get() == 0 && CpuTime.ofThread().compareTo(limit) < 0) {
                    forget();
                    System.gc();
                    forwarding
                            .forwardAll(world.device.msix(), i -> message(0x30 + i))
                            .forEach(ForwardedIrq::close);
                }
            }
        });
        // A warning of an earlier test may come as late.
        assertThat(said).anyMatch(text -> text.contains("was never closed"));
        assertThat(held).noneMatch(lock -> lock.endsWith("by kvmirq-log"));
    }

    private void forget() {
        EventFd.create(world.kernel);
    }
}
