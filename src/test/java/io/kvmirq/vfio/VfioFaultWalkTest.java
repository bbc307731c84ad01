/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FaultWalk;
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
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Walks of the operations on VFIO devices. */
class VfioFaultWalkTest {
    /** A kernel with a device; growing by consent needs an old one. */
    private static final class World implements FaultWalk.World {
        final TestDevice.Fake hardware;
        final Faults faults = new Faults();
        final Kernel kernel;
        final int free;

        World(String profile) {
            hardware = TestDevice.fake(profile);
            kernel = Kernel.over(faults.over(hardware.fake.backend()));
            free = lowestFreeDescriptor();
        }

        @Override
        public Faults faults() {
            return faults;
        }

        @Override
        public Object state() {
            return lowestFreeDescriptor();
        }

        @Override
        public boolean ignores(String call) {
            return call.equals("fdClose") || call.equals("fdWait");
        }

        @Override
        public boolean explains(Throwable failure, boolean allFail) {
            return failure instanceof KernelException
                    || failure instanceof VectorsDisturbedException && !allFail
                    || failure instanceof IllegalStateException && allFail;
        }

        @Override
        public boolean survivesErrors() {
            return true;
        }

        @Override
        public void requireNothingLeft(Object atFirst, List<String> refused) {
            kernel.close();
            assertThat(kernel.openHandles()).isEmpty();
            assertThat(lowestFreeDescriptor()).isEqualTo(free);
            hardware.device.serve();
            assertThat(hardware.device.sendMessage(0)).isFalse();
            assertThat(hardware.device.askBack()).isFalse();
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
        FaultWalk.walk(operation.name, () -> new World(operation.profile), operation.prepare::apply, true);
    }
}
