/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Walks of the operations on VMs that make more than one call. */
class FaultWalkTest {
    private static final Gsi GSI = new Gsi(5);
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));

    /** The start of an operation. */
    private record Start(KernelBackend backend, Kernel kernel, Vm vm, EventFd event, EventFd other) {
        static Start of(World world, Undo undo) {
            Kernel kernel = world.kernel;
            Vm vm = undo.add(Vm.create(kernel));
            EventFd event = undo.add(EventFd.create(kernel));
            return new Start(world.backend, kernel, vm, event, undo.add(EventFd.create(kernel)));
        }

        Vm withIrqchip() {
            vm.x86().createIrqchip();
            return vm;
        }

        /** With a table that the kernel was told of. */
        Vm withRoutes() {
            Vm made = withIrqchip();
            made.routes().remove(made.routes().add(MESSAGE));
            return made;
        }
    }

    private record Operation(String name, Function<Start, Supplier<AutoCloseable>> prepare) {
        /** KVM never forgets a vCPU while its VM lives. */
        boolean canBeTriedAgain() {
            return !name.contains("vCPU") && !name.contains("Vcpu");
        }

        @Override
        public String toString() {
            return name;
        }
    }

    private static void nothing() {}

    static Stream<Operation> operations() {
        return Stream.of(
                new Operation("EventFd.create", start -> () -> EventFd.create(start.kernel)),
                new Operation("EventFd.createSemaphore", start -> () -> EventFd.createSemaphore(start.kernel)),
                new Operation("Kernel.device", start -> () -> {
                    Kernel kernel = Kernel.over(start.backend);
                    kernel.device();
                    return kernel;
                }),
                new Operation("EventFd.create and await", start -> () -> {
                    try (Undo undo = new Undo()) {
                        EventFd event = undo.add(EventFd.create(start.kernel));
                        event.await(Duration.ofNanos(1));
                        undo.keep();
                        return event;
                    }
                }),
                new Operation("EventLoop.create and register", start -> () -> {
                    try (Undo undo = new Undo()) {
                        EventLoop loop = undo.add(EventLoop.create(start.kernel));
                        loop.register(start.event, count -> {});
                        loop.registerPaused(start.other, count -> {}).resume();
                        undo.keep();
                        return loop;
                    }
                }),
                new Operation("Vm.create", start -> () -> Vm.create(start.kernel)),
                new Operation("Vm.adopt", start -> {
                    Fd.Lease lease = start.vm.fd().lease();
                    int number = lease.number();
                    lease.close();
                    return () -> Vm.adopt(start.kernel, number, Ownership.BORROWED, List.of(), new Gsi(0));
                }),
                new Operation("X86Vm.createIrqchip", start -> () -> {
                    start.vm.x86().createIrqchip();
                    return FaultWalkTest::nothing;
                }),
                new Operation("X86Vm.createSplitIrqchip", start -> () -> {
                    start.vm.x86().createSplitIrqchip(24);
                    return FaultWalkTest::nothing;
                }),
                new Operation("RouteTable.change", start -> {
                    Vm vm = start.withRoutes();
                    return () -> {
                        Gsi added = vm.routes().change(edit -> {
                            edit.remove(GSI);
                            edit.add(MESSAGE);
                            return edit.add(MESSAGE);
                        });
                        return nothingThrown(() -> vm.routes().remove(added));
                    };
                }),
                new Operation("Vm.assignIrqfd", start -> {
                    Vm vm = start.withIrqchip();
                    return () -> vm.assignIrqfd(start.event, GSI);
                }),
                new Operation("Vm.assignLevelIrqfd", start -> {
                    Vm vm = start.withIrqchip();
                    return () -> vm.assignLevelIrqfd(start.event, start.other, GSI);
                }),
                new Operation(
                        "Vm.assignIoEventFd",
                        start -> () -> start.vm.assignIoEventFd(IoAddress.port(0x80, 1), start.event)),
                new Operation("Vm.addMemory", start -> () -> start.vm.addMemory(0, 0x10000)),
                new Operation("Vm.createDevice", start -> () -> start.vm.createDevice(KvmDevice.Type.VFIO)),
                new Operation("Vm.createVcpu", start -> {
                    Vm vm = start.withIrqchip();
                    return () -> vm.createVcpu(new VcpuId(0));
                }),
                new Operation("a vCPU made ready to run", start -> {
                    Vm vm = start.withIrqchip();
                    return () -> {
                        try (Undo undo = new Undo()) {
                            Vcpu vcpu = undo.add(vm.createVcpu(new VcpuId(0)));
                            vcpu.x86().useHostCpuid();
                            vcpu.x86().startAt(0x1000, 0x8000);
                            vcpu.x86().enableLapic();
                            undo.keep();
                            return vcpu;
                        }
                    };
                }),
                new Operation("four interrupts there and back", start -> {
                    Vm vm = start.withRoutes();
                    return () -> wired(start.kernel, vm);
                }));
    }

    /** Routes are changed, not torn down: a change that fails says so. */
    private static AutoCloseable nothingThrown(Runnable change) {
        return () -> {
            try {
                change.run();
            } catch (KernelException e) {
                assertThat(e).hasMessageContaining("EIO");
            }
        };
    }

    private static Undo wired(Kernel kernel, Vm vm) {
        Undo made = new Undo();
        try (Undo undo = new Undo()) {
            for (int i = 0; i < 4; i++) {
                Gsi gsi = vm.routes().add(MESSAGE);
                undo.add(nothingThrown(() -> vm.routes().remove(gsi)));
                EventFd event = undo.add(EventFd.create(kernel));
                undo.add(vm.assignIrqfd(event, gsi));
                undo.add(vm.assignIoEventFd(IoAddress.port(0x80, 1, i), event));
            }
            undo.moveTo(made);
            return made;
        }
    }

    /** Where operations run: a kernel with faults, and what it has. */
    private record World(Faults faults, KernelBackend backend, Kernel kernel, Supplier<String> has)
            implements FaultWalk.World {
        @Override
        public String state() {
            return has.get();
        }

        /** Calls that the library replaces when the kernel refuses them. */
        @Override
        public boolean ignores(String call) {
            return call.equals("membarrier");
        }

        @Override
        public boolean explains(Throwable failure, boolean allFail) {
            return failure instanceof KernelException;
        }

        /** Memory that the kernel does not let go of stays mapped, as {@code GuestMemory.close} says. */
        @Override
        public void requireNothingLeft(Object atFirst, List<String> refused) {
            String left = String.valueOf(atFirst);
            assertThat(state())
                    .isEqualTo(
                            refused.contains("KVM_SET_USER_MEMORY_REGION")
                                    ? left.replace("kvm#1=1", "kvm#1=1, memory#1=1")
                                    : left);
            kernel.close();
        }
    }

    @ParameterizedTest
    @MethodSource("operations")
    void everyStepOnTheFakeIsUndone(Operation operation) {
        walk(operation, () -> counted(new FakeKernel(Profile.V6_18).backend()));
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @MethodSource("operations")
    void everyStepOnRealKvmIsUndone(Operation operation) {
        walk(operation, () -> counted(Backends.ofThisMachine().open("jni")));
    }

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @MethodSource("operations")
    void everyStepOfATypedBindingLeaksNoDescriptor(Operation operation) {
        walk(operation, () -> typed(Backends.ofThisMachine().open("jni")));
    }

    private static void walk(Operation operation, Supplier<World> worlds) {
        FaultWalk.walk(
                operation.name,
                worlds,
                (world, undo) -> operation.prepare.apply(Start.of(world, undo)),
                operation.canBeTriedAgain());
    }

    /** Faults above, the ledger below: it has what the kernel was asked. */
    private static World counted(KernelBackend backend) {
        KernelLedger ledger = new KernelLedger(backend.libc());
        return world(ledger.backend(), ledger::toString);
    }

    private static World typed(KernelBackend backend) {
        return world(backend, () -> "descriptors " + Machine.openFds());
    }

    private static World world(KernelBackend backend, Supplier<String> state) {
        Faults faults = new Faults();
        KernelBackend faulty = faults.over(backend);
        Kernel kernel = Kernel.over(faulty);
        kernel.device();
        return new World(faults, faulty, kernel, state);
    }
}
