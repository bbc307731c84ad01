/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.PIN;
import static io.kvmirq.forward.ForwardWorld.message;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.vfio.FileHolder;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.logging.Logger;

/**
 * {@code main}: a VMM that ends in one of its callbacks. Its shutdown hooks each close one object, and print its name
 * when it is closed.
 */
final class ExitingUser {
    /** How the program ends. */
    enum End {
        /** The callback calls System.exit. */
        EXIT,
        /** The callback never returns, and SIGTERM comes. */
        SIGNAL,
        /** Other threads close the objects, and then the callback calls System.exit: the hooks wait for these threads. */
        EXIT_DURING_CLOSE
    }

    static final String CALLED = "called";

    /** Calls each callback, in a handler of the loop. After {@code #}: the callback among several of one type. */
    static final Map<String, Consumer<ExitingUser>> CALLBACKS = new TreeMap<>(Map.ofEntries(
            Map.entry(
                    "forward.Forwarding.forwardAll IntFunction",
                    user -> user.forwarding.forwardAll(user.world.device.msix(1, 1), user::messageOf)),
            Map.entry(
                    "forward.Forwarding.forwardMasked IntFunction",
                    user -> user.forwarding.forwardMasked(user.world.device.msix(1, 1), user::messageOf)),
            Map.entry(
                    "forward.Forwarding.takeOver IntFunction",
                    user -> user.forwarding.takeOver(user.world.device.msix(1, 1), user::messageOf)),
            Map.entry(
                    "forward.Forwarding.reroute IntFunction",
                    user -> user.forwarding.reroute(List.of(user.relayed), user::messageOf)),
            Map.entry("forward.Userspace$Injector#message", user -> user.world.hardware.sendMessage(0)),
            Map.entry("forward.Userspace$Injector#line", ExitingUser::sendLine),
            Map.entry(
                    "irqchip.GuestIoapic.addEndListener Runnable",
                    user -> user.endInterrupt(ioapic -> ioapic.addEndListener(PIN, user::called))),
            Map.entry(
                    "irqchip.GuestIoapic.raiseUntilEoi Runnable",
                    user -> user.endInterrupt(ioapic -> ioapic.raiseUntilEoi(PIN, user::called))),
            Map.entry("kernel.EventLoop$FailureHandler", user -> {
                throw new IllegalStateException("of the handler");
            }),
            Map.entry("java.util.logging.Filter", ExitingUser::warn),
            Map.entry("kernel.EventLoop$Handler", ExitingUser::called),
            Map.entry("kernel.EventLoop.registerDoorbell Runnable", user -> user.bell.signal()),
            Map.entry(
                    "kvm.RouteTable.change Function",
                    user -> user.world.vm.routes().change(edit -> user.called())),
            Map.entry(
                    "kvm.RouteTable.edit Consumer",
                    user -> user.world.vm.routes().edit(edit -> user.called())),
            Map.entry("kvm.VmListener", ExitingUser::addVcpu),
            Map.entry("pci.EmulatedFunction$Builder.warned Consumer", user -> user.guest(FakeExit.ioIn(0xc000, 1))),
            Map.entry("pci.EmulatedFunction$Registers", user -> user.guest(FakeExit.ioOut(0xc000, 1, 1))),
            Map.entry("pci.PassedThroughDevice$Notices", user -> user.world.hardware.reportError()),
            Map.entry("run.VcpuThreads.reboot Runnable", user -> {
                user.threads.resume();
                user.threads.reboot(user::called);
            }),
            Map.entry("run.VcpuThreads$Owner#exited", user -> user.guest(FakeExit.ioOut(0x80, 1, 1))),
            Map.entry("run.VcpuThreads$Owner#failed", user -> user.guest(FakeExit.ioOut(0x81, 1, 1))),
            Map.entry(
                    "vfio.FileHolder",
                    user -> user.openOther(file -> {
                        user.called();
                        return () -> {};
                    })),
            Map.entry("vfio.FileHolder$Hold", user -> user.openOther(file -> user::called)
                    .close()),
            Map.entry(
                    "vfio.HostIrqs",
                    user -> user.relayed.path(irq -> {
                        user.called();
                        return Optional.empty();
                    })),
            Map.entry("vfio.VfioDevice.addCloseListener Runnable", user -> {
                VfioDevice other = user.openOther(file -> () -> {});
                other.addCloseListener(user::called);
                other.close();
            })));

    private static final String OTHER = "0000:3c:00.0";

    private final End end;
    /** The objects that the hooks close, by the names of their types. */
    final Map<String, AutoCloseable> closed = new LinkedHashMap<>();

    private final AtomicBoolean ending = new AtomicBoolean();
    private final List<Thread> closing = new ArrayList<>();
    private final ForwardWorld world = new ForwardWorld("6.12");
    private final EventLoop loop = EventLoop.create(world.kernel);
    private final EventFd start = EventFd.create(world.kernel);
    private final EventFd bell = EventFd.create(world.kernel);
    private final PciHostBridge bus = new PciHostBridge(0xc0000000L, 0x1000000);
    private final Forwarding forwarding;
    private final ForwardedIrq relayed;
    final VcpuThreads threads;

    ExitingUser(End end) {
        this.end = end;
        world.fake.pciDevice(OTHER, 16).msix(1).add();
        Userspace.Injector injector = new Userspace.Injector() {
            @Override
            public void message(MsiMessage message) {
                called();
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                called();
            }
        };
        forwarding = add(Forwarding.builder(world.vm, world.device)
                .userspace(Userspace.of(loop, injector))
                .build());
        relayed = add(forwarding.forward(world.device.msix().get(0), message(0x30)));
        relayed.moveTo(Mechanism.USERSPACE);
        add(loop.registerDoorbell(bell, this::called));
        loop.onFailure((registration, failure) -> called());
        add(loop);
        threads = add(VcpuThreads.startPaused(List.of(world.first, world.second), owner()));
        addFunctions();
        addHandles();
    }

    private <T extends AutoCloseable> T add(T closeable) {
        closed.put(closeable.getClass().getName(), closeable);
        return closeable;
    }

    private void addFunctions() {
        add(PassedThroughDevice.builder(bus, 2, world.vm, world.device, forwarding)
                .notices(loop, new PassedThroughDevice.Notices() {
                    @Override
                    public void failed() {
                        called();
                    }
                })
                .build());
        EmulatedVectors vectors = add(EmulatedVectors.create(world.vm, 1));
        EmulatedFunction.Registers registers = new EmulatedFunction.Registers() {
            @Override
            public long read(int bar, long at, int size) {
                throw new IllegalStateException("a warning");
            }

            @Override
            public void write(int bar, long at, int size, long value) {
                called();
            }
        };
        add(EmulatedFunction.builder(bus, 1, world.vm, registers)
                .ids(1, 2)
                .ports(0, 16)
                .bar(1, 0x1000)
                .msix(vectors, 1, 0, 0x800)
                .warned(sentence -> called())
                .build());
    }

    private void addHandles() {
        EventFd event = add(EventFd.create(world.kernel));
        add(world.vm.assignIrqfd(event, new Gsi(4)));
        add(MaskableVector.create(world.vm, message(0x40)));
        add(world.vm.assignIoEventFd(IoAddress.port(0x90, 1), event));
        GuestMemory memory = add(world.vm.addMemory(0, 0x10000));
        add(memory.logDirtyPages());
        add(memory.mapping().lease());
        add(event.fd().lease());
        add(MemoryFile.create(world.kernel, "ram", 0x1000));
        add(Mapping.anonymous(world.kernel, 0x1000));
        add(KvmVfio.create(Vm.create(world.kernel)));
        add(world.first);
        add(world.vm);
        add(world.device);
        add(world.kernel);
    }

    private VcpuThreads.Owner owner() {
        return new VcpuThreads.Owner() {
            @Override
            public boolean exited(Vcpu vcpu, VcpuExit exit) {
                if (!bus.handle(exit) && exit.port() == 0x80) {
                    called();
                }
                if (exit.port() == 0x81) {
                    throw new IllegalStateException("of the owner");
                }
                return true;
            }

            @Override
            public void failed(Vcpu vcpu, Throwable failure) {
                called();
            }
        };
    }

    private MsiMessage messageOf(int position) {
        called();
        return message(0x31 + position);
    }

    private void sendLine() {
        relayed.close();
        add(forwarding.forward(world.device.intx(), PIN)).moveTo(Mechanism.USERSPACE);
        world.hardware.requestService();
    }

    private void endInterrupt(Consumer<GuestIoapic> step) {
        Vm vm = Vm.create(world.kernel);
        vm.x86().createSplitIrqchip(24);
        GuestIoapic ioapic = new GuestIoapic(vm, 24);
        ioapic.write(0, 4, 0x10 + 2 * PIN.number());
        ioapic.write(0x10, 4, 1 << 15 | 0x35); // a level
        step.accept(ioapic);
        ioapic.endOfInterrupt(ForwardWorld.vector(0x35));
    }

    /** Logs a warning, in a thread of the library. */
    private void warn() {
        Logger.getLogger("io.kvmirq").setFilter(message -> {
            called();
            return true;
        });
        world.vm.assignIrqfd(EventFd.create(world.kernel), new Gsi(30)); // it has no route
    }

    private void addVcpu() {
        Vm vm = Vm.create(world.kernel);
        vm.listeners().add(new VmListener() {
            @Override
            public void vcpuAdded(VcpuId vcpu) {
                called();
            }

            @Override
            public void apicIdsWidened() {}
        });
        vm.createVcpu(new VcpuId(0));
    }

    private VfioDevice openOther(FileHolder holder) {
        return VfioDevice.open(world.kernel, PciAddress.parse(OTHER), holder);
    }

    /** Lets the guest enable its ports, and make this access. */
    private void guest(FakeExit access) {
        world.fake
                .vcpu(0)
                .exits(FakeExit.ioOut(0xcf8, 4, 0x80000000L | 1 << 11 | 4), FakeExit.ioOut(0xcfc, 2, 1), access);
        threads.resume();
    }

    /** A second callback, such as a warning of what a hook closes, must not exit: in a hook System.exit never returns. */
    private Route called() {
        if (!ending.compareAndSet(false, true)) {
            return new Route.Msi(new Gsi(0), message(0x30));
        }
        switch (end) {
            case EXIT -> System.exit(0);
            case SIGNAL -> {
                System.out.println(CALLED);
                while (true) {
                    LockSupport.park();
                }
            }
            case EXIT_DURING_CLOSE -> {
                closing.forEach(Thread::start);
                while (closing.stream().anyMatch(thread -> thread.getState() == Thread.State.RUNNABLE)) {
                    Thread.onSpinWait();
                }
                System.exit(0);
            }
        }
        throw new AssertionError("unreachable");
    }

    private static void close(String name, AutoCloseable resource) {
        try {
            resource.close();
            System.out.println(name);
        } catch (Exception e) {
            throw new AssertionError(name + " is not closed", e);
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            throw new AssertionError("nobody interrupts it", e);
        }
    }

    /** @param arguments a key of {@link #CALLBACKS}, and an {@link End} */
    public static void main(String[] arguments) {
        ExitingUser user = new ExitingUser(End.valueOf(arguments[1]));
        user.loop.register(user.start, count -> CALLBACKS.get(arguments[0]).accept(user));
        user.closed.forEach((name, closeable) -> {
            Thread thread = new Thread(() -> close(name, closeable));
            Thread hook = thread;
            if (user.end == End.EXIT_DURING_CLOSE) {
                user.closing.add(thread);
                hook = new Thread(() -> join(thread));
            }
            Runtime.getRuntime().addShutdownHook(hook);
        });
        user.start.signal();
        user.loop.run();
    }
}
