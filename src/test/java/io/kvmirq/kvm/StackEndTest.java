/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Where the stack ends in the middle of a set-up, no descriptor is left: what is made is a handle, or nothing. */
@RealKvm(fullIrqchip = true)
class StackEndTest {
    /** Attempts, each some frames further from the end of the stack. The last ones succeed. */
    private static final int ATTEMPTS = 100;

    private static final int FRAMES_EACH = 7;

    private static final long STACK = 512 << 10;

    private record Place(Kernel kernel, Vm vm, EventFd event) {}

    private record Operation(String name, Function<Place, AutoCloseable> make) {
        @Override
        public String toString() {
            return name;
        }
    }

    static Stream<Operation> operations() {
        return Stream.of(
                new Operation("EventFd.create", place -> EventFd.create(place.kernel)),
                new Operation("EventLoop.create", place -> EventLoop.create(place.kernel)),
                new Operation("Kernel.device", place -> {
                    place.kernel.device();
                    return place.kernel;
                }),
                new Operation("Vm.create", place -> Vm.create(place.kernel)),
                new Operation("Vm.createVcpu", place -> place.vm.createVcpu(new VcpuId(0))),
                new Operation("Vm.createDevice", place -> place.vm.createDevice(KvmDevice.Type.VFIO)),
                new Operation("Vm.addMemory", place -> place.vm.addMemory(0, 0x1000)),
                new Operation("Vm.assignIrqfd", place -> place.vm.assignIrqfd(place.event, new Gsi(5))),
                new Operation(
                        "Vm.assignIoEventFd", place -> place.vm.assignIoEventFd(IoAddress.port(0x80, 1), place.event)));
    }

    /** Goes to the end of its stack; on the way back it makes attempts. */
    private static final class Diver implements Runnable {
        private final Operation operation;
        private final List<Place> places;
        private final @Nullable AutoCloseable[] made = new AutoCloseable[ATTEMPTS];
        private int next;

        Diver(Operation operation, List<Place> places) {
            this.operation = operation;
            this.places = places;
        }

        @Override
        public void run() {
            try {
                run();
            } catch (StackOverflowError e) {
                // The end.
            }
            int attempt = next++ / FRAMES_EACH;
            if (next % FRAMES_EACH == 0 && attempt < ATTEMPTS) {
                try {
                    made[attempt] = operation.make.apply(places.get(attempt));
                } catch (StackOverflowError e) {
                    // Nothing was made.
                }
            }
        }
    }

    private static Place place(Kernel device, Undo undo) {
        Kernel kernel = undo.add(Kernel.over(Backends.ofThisMachine().open("jni")));
        Vm vm = undo.add(Vm.create(device));
        vm.x86().createIrqchip();
        return new Place(kernel, vm, undo.add(EventFd.create(device)));
    }

    @ParameterizedTest
    @MethodSource("operations")
    void noDescriptorIsLeftWhereTheStackEnds(Operation operation) throws Exception {
        try (Kernel device = Kernel.open("jni")) {
            try (Undo undo = new Undo()) {
                operation.make.apply(place(device, undo)).close(); // loads the classes
            }
            long before = Machine.openFds();
            int succeeded = dive(device, operation);
            assertThat(device.openHandles()).as("of " + succeeded + " made").hasSize(1);
            assertThat(Machine.openFds()).as("of " + succeeded + " made").isEqualTo(before);
            assertThat(succeeded).as("attempts that succeed").isBetween(1, ATTEMPTS - 1);
        }
    }

    private static int dive(Kernel device, Operation operation) throws Exception {
        int succeeded = 0;
        try (Undo undo = new Undo()) {
            List<Place> places = IntStream.range(0, ATTEMPTS)
                    .mapToObj(i -> place(device, undo))
                    .toList();
            Diver diver = new Diver(operation, places);
            Thread thread = new Thread(null, diver, "diver", STACK);
            thread.start();
            thread.join();
            for (@Nullable AutoCloseable made : diver.made) {
                if (made != null) {
                    made.close();
                    succeeded++;
                }
            }
        }
        return succeeded;
    }
}
