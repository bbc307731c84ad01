/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.Faults;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every call of every operation fails in turn, up and down: an operation that fails leaves what was there before and
 * succeeds when it is tried again; taking down never throws, and at the end nothing is open or armed. A call fails with
 * an errno, alone or with all that follow, or with a StackOverflowError or OutOfMemoryError: then taking down is tried
 * again and finishes.
 */
class VfioFaultWalkTest {
    /** A kernel with a device; growing by consent needs an old one. */
    private static final class World {
        final TestDevice.Fake hardware;
        final Faults faults = new Faults();
        final Kernel kernel;
        final int free;

        World(String profile) {
            hardware = TestDevice.fake(profile);
            kernel = Kernel.over(faults.over(hardware.fake.backend()));
            free = lowestFreeDescriptor();
        }

        int lowestFreeDescriptor() {
            int number = hardware.fake.backend().libc().eventfd(0, 0);
            hardware.fake.backend().libc().close(number);
            return number;
        }

        VfioDevice open(Undo undo) {
            return undo.add(VfioDevice.open(kernel, TestDevice.FAKE));
        }

        VfioDevice open(Vm vm, Undo undo) {
            return undo.add(VfioDevice.open(kernel, TestDevice.FAKE, undo.add(KvmVfio.create(vm))));
        }

        EventFd event(Undo undo) {
            return undo.add(EventFd.create(kernel));
        }
    }

    /** @param prepare gives what to do, and that gives what there is to close */
    private record Operation(String name, String profile, Prepare prepare) {
        Operation(String name, Prepare prepare) {
            this(name, "6.1", prepare);
        }

        @Override
        public String toString() {
            return name;
        }
    }

    private interface Prepare {
        Supplier<AutoCloseable> apply(World world, Undo undo);
    }

    private static Operation onDevice(String name, Function<VfioDevice, Function<List<EventFd>, AutoCloseable>> step) {
        return new Operation(name, (world, undo) -> {
            VfioDevice device = world.open(undo);
            List<EventFd> events = List.of(world.event(undo), world.event(undo), world.event(undo));
            return () -> step.apply(device).apply(events);
        });
    }

    private static Operation forwarding(String name, Function<Forwarding, Function<VfioDevice, AutoCloseable>> step) {
        return new Operation(name, "6.12", (world, undo) -> {
            Vm vm = undo.add(Vm.create(world.kernel));
            vm.x86().createIrqchip();
            VfioDevice device = world.open(vm, undo);
            Forwarding forwarding = undo.add(Forwarding.create(vm, device));
            return () -> step.apply(forwarding).apply(device);
        });
    }

    private static MsiMessage message(int i) {
        return MsiMessage.to(new VcpuId(0), new InterruptVector(0x30 + i));
    }

    /** Calls whose errno changes nothing. */
    private static final Set<String> NEVER_FAIL = Set.of("fdClose", "fdWait");

    private static void nothing() {}

    static Stream<Operation> operations() {
        return Stream.of(
                new Operation("VfioDevice.open", (world, undo) -> () -> VfioDevice.open(world.kernel, TestDevice.FAKE)),
                new Operation("VfioDevice.open with KvmVfio", (world, undo) -> {
                    KvmVfio kvmVfio = undo.add(KvmVfio.create(undo.add(Vm.create(world.kernel))));
                    return () -> VfioDevice.open(world.kernel, TestDevice.FAKE, kvmVfio);
                }),
                new Operation("VfioDevice.open by cdev", "7.1,cdev", (world, undo) -> {
                    KvmVfio kvmVfio = undo.add(KvmVfio.create(undo.add(Vm.create(world.kernel))));
                    return () -> VfioDevice.open(world.kernel, TestDevice.FAKE, kvmVfio);
                }),
                new Operation("Ioas.map", "7.1,cdev", (world, undo) -> {
                    DmaSpace space = world.open(undo).dma();
                    Mapping memory =
                            undo.add(Mapping.anonymous(world.kernel, 0x1000)).mapping();
                    return () -> space.map(0, memory);
                }),
                new Operation("KvmVfio.create", (world, undo) -> {
                    Vm vm = undo.add(Vm.create(world.kernel));
                    return () -> KvmVfio.create(vm);
                }),
                new Operation("the steps", (world, undo) -> () -> {
                    try (Undo steps = new Undo()) {
                        VfioGroup group = steps.add(VfioGroup.open(world.kernel, TestDevice.FAKE));
                        VfioContainer container = steps.add(group.createSpace());
                        steps.add(group.openDevice(TestDevice.FAKE, container));
                        steps.add(group.openDevice(TestDevice.FAKE, container));
                        Undo kept = new Undo();
                        steps.moveTo(kept);
                        return kept;
                    }
                }),
                onDevice(
                        "MessageIrqs.arm", device -> events -> device.msix(0, 3).arm(events)),
                onDevice("LineIrq.arm", device -> events -> device.intx().arm(events.get(0))),
                onDevice("NoticeIrq.arm", device -> events -> device.req().arm(events.get(0))),
                new Operation("ArmedVectors.set", (world, undo) -> {
                    ArmedVectors armed =
                            undo.add(world.open(undo).msix(0, 2).arm(List.of(world.event(undo), world.event(undo))));
                    List<EventFd> next = List.of(world.event(undo), world.event(undo));
                    return () -> {
                        armed.set(0, next);
                        return VfioFaultWalkTest::nothing;
                    };
                }),
                new Operation("ArmedVectors.growLosingInterrupts", (world, undo) -> {
                    VfioDevice device = world.open(undo);
                    List<EventFd> first = List.of(world.event(undo));
                    List<EventFd> next = List.of(world.event(undo), world.event(undo));
                    return () -> {
                        try (Undo steps = new Undo()) {
                            ArmedVectors armed = steps.add(device.msix(0, 1).arm(first));
                            armed.growLosingInterrupts(1, next);
                            steps.keep();
                            return armed;
                        }
                    };
                }),
                new Operation("ArmedLine.unmaskBy", (world, undo) -> {
                    ArmedLine line = undo.add(world.open(undo).intx().arm(world.event(undo)));
                    EventFd first = world.event(undo);
                    line.unmaskBy(first);
                    EventFd next = world.event(undo);
                    return () -> {
                        line.unmaskBy(next);
                        return VfioFaultWalkTest::nothing;
                    };
                }),
                new Operation("DmaSpace.map", (world, undo) -> {
                    DmaSpace space = world.open(undo).dma();
                    Mapping memory =
                            undo.add(Mapping.anonymous(world.kernel, 0x1000)).mapping();
                    return () -> space.map(0, memory);
                }),
                forwarding("Forwarding.forwardAll", forwarding -> device -> {
                    forwarding.forwardAll(device.msix(0, 3), VfioFaultWalkTest::message);
                    return () -> List.copyOf(forwarding.irqs()).forEach(ForwardedIrq::close);
                }),
                forwarding(
                        "Forwarding.forward to a chosen GSI",
                        forwarding -> device -> forwarding.forward(device.msix().get(1), new Gsi(60), message(0))),
                forwarding(
                        "Forwarding.forward of a line",
                        forwarding -> device -> forwarding.forward(device.intx(), new Gsi(11))),
                new Operation("Forwarding.takeOver", "6.12", (world, undo) -> {
                    Vm vm = undo.add(Vm.create(world.kernel));
                    vm.x86().createIrqchip();
                    VfioDevice device = world.open(vm, undo);
                    undo.add(device.msix(0, 2).arm(List.of(world.event(undo), world.event(undo))));
                    Forwarding forwarding = undo.add(Forwarding.create(vm, device));
                    return () -> forwarding
                            .takeOver(device.msix(0, 1), VfioFaultWalkTest::message)
                            .get(0);
                }),
                new Operation("Region.getInt", (world, undo) -> {
                    PciConfig config = world.open(undo).config();
                    return () -> {
                        config.enableBusMaster();
                        return VfioFaultWalkTest::nothing;
                    };
                }));
    }

    @ParameterizedTest
    @MethodSource("operations")
    void everyStepUpAndDownMayFail(Operation operation) {
        List<String> up = up(operation, 0, How.ERRNO);
        List<String> down = down(operation, 0, How.ERRNO);
        for (How how : How.values()) {
            for (int i = 1; i <= up.size(); i++) {
                if (how.canFail(up.get(i - 1))) {
                    up(operation, i, how);
                }
            }
            for (int i = 1; i <= down.size(); i++) {
                if (how.canFail(down.get(i - 1))) {
                    down(operation, i, how);
                }
            }
        }
        System.out.println("walked " + operation + ": " + String.join(", ", up) + "; back: " + String.join(", ", down));
    }

    private enum How {
        ERRNO,
        ERRNO_AND_ALL_AFTER,
        STACK_OVERFLOW,
        OUT_OF_MEMORY;

        private static final int MANY = 60;

        boolean isError() {
            return this == STACK_OVERFLOW || this == OUT_OF_MEMORY;
        }

        /** Closing a descriptor or a mapping needs no memory, and takes place whatever the kernel answers. */
        boolean canFail(String call) {
            return !isError() || !Set.of("close", "fdClose", "munmap").contains(call);
        }

        void in(Faults faults, int nth, Errno errno) {
            switch (this) {
                case ERRNO -> faults.fail(Faults.ANY, nth, errno);
                case ERRNO_AND_ALL_AFTER -> {
                    faults.fail(Faults.ANY, nth, errno);
                    for (int later = nth + 1; later < nth + MANY; later++) {
                        faults.fail(Faults.ANY, later, Errno.EIO);
                    }
                }
                case STACK_OVERFLOW ->
                    faults.delay(Faults.ANY, nth, () -> {
                        throw new StackOverflowError();
                    });
                case OUT_OF_MEMORY ->
                    faults.delay(Faults.ANY, nth, () -> {
                        throw new OutOfMemoryError();
                    });
            }
        }
    }

    /** @param failing the number of a call, or 0 */
    private static List<String> up(Operation operation, int failing, How how) {
        World world = new World(operation.profile);
        List<String> calls;
        try (Undo undo = new Undo()) {
            Supplier<AutoCloseable> prepared = operation.prepare.apply(world, undo);
            int before = world.lowestFreeDescriptor();
            world.faults.listen();
            if (failing > 0) {
                how.in(world.faults, failing, Errno.EMFILE);
            }
            Throwable failed = catchThrowable(() -> undo.add(prepared.get()));
            calls = world.faults.calls();
            world.faults.clear();
            String step = "with step " + failing + " of " + calls + " failing by " + how;
            if (how == How.ERRNO_AND_ALL_AFTER) {
                // What the kernel did not take back is there until its file is closed.
                assertThat(Stream.ofNullable(failed))
                        .as(step)
                        .allMatch(e -> e instanceof KernelException || e instanceof IllegalStateException);
            } else if (how.isError()) {
                assertThat(failed).as(step).isInstanceOf(VirtualMachineError.class);
                assertThat(world.lowestFreeDescriptor()).as(step).isEqualTo(before);
            } else if (failing == 0 || NEVER_FAIL.contains(calls.get(failing - 1))) {
                assertThat(failed).as(step).isNull();
            } else {
                assertThat(failed).as(step).isInstanceOfAny(KernelException.class, VectorsDisturbedException.class);
                assertThat(world.lowestFreeDescriptor()).as(step).isEqualTo(before);
                assertThatCode(() -> prepared.get().close())
                        .as("again, " + step)
                        .doesNotThrowAnyException();
            }
        }
        requireNothingLeft(world);
        return calls;
    }

    private static List<String> down(Operation operation, int failing, How how) {
        World world = new World(operation.profile);
        List<String> calls;
        try (Undo undo = new Undo()) {
            AutoCloseable made = operation.prepare.apply(world, undo).get();
            world.faults.listen();
            if (failing > 0) {
                how.in(world.faults, failing, Errno.EIO);
            }
            if (failing > 0 && how.isError()) {
                assertThat(Stream.ofNullable(catchThrowable(made::close)))
                        .as("step " + failing + " fails on the way down by " + how)
                        .allMatch(VirtualMachineError.class::isInstance);
            }
            assertThatCode(made::close)
                    .as("step " + failing + " fails on the way down by " + how)
                    .doesNotThrowAnyException();
            calls = world.faults.calls();
            world.faults.clear();
        }
        requireNothingLeft(world);
        return calls;
    }

    private static void requireNothingLeft(World world) {
        world.kernel.close();
        assertThat(world.kernel.openHandles()).isEmpty();
        assertThat(world.lowestFreeDescriptor()).isEqualTo(world.free);
        world.hardware.device.serve();
        assertThat(world.hardware.device.sendMessage(0)).isFalse();
        assertThat(world.hardware.device.askBack()).isFalse();
    }
}
