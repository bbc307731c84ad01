/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static net.bytebuddy.matcher.ElementMatchers.isConstructor;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.kvmirq.Gsi;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.Ioas;
import io.kvmirq.vfio.VfioCdev;
import io.kvmirq.vfio.VfioContainer;
import io.kvmirq.vfio.VfioDevice;
import io.kvmirq.vfio.VfioGroup;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Stream;
import net.bytebuddy.ByteBuddy;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.dynamic.loading.ClassReloadingStrategy;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** There may be memory for a descriptor and none for the object that owns it: then the descriptor is not left. */
class OwnersTest {
    private static final PciAddress DEVICE = PciAddress.parse("0000:3b:00.0");
    private static final String CDEV = "7.1,cdev";
    private static final String ARM64 = "6.12,arm64";
    private static final String GICV2 = ARM64 + ",gicv2";

    private static final String NO_MEMORY = "no memory for the owner";

    private record Place(FakeKernel fake, Kernel kernel, Undo undo) {
        Vm vm() {
            return undo.add(Vm.create(kernel));
        }

        int eventfd() {
            int number = fake.backend().libc().eventfd(0, 0);
            undo.add(() -> fake.backend().libc().close(number));
            return number;
        }

        int open(String path) {
            int number = fake.backend().libc().open(Buffers.cString(path), Uapi.O_RDWR);
            undo.add(() -> fake.backend().libc().close(number));
            return number;
        }

        List<Integer> free() {
            List<Integer> numbers = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                numbers.add(fake.backend().libc().eventfd(0, 0));
            }
            numbers.forEach(fake.backend().libc()::close);
            return numbers;
        }
    }

    /** @param prepared gives what makes one */
    private record Operation(String name, String profile, Class<?> owner, Prepare prepared) {
        @Override
        public String toString() {
            return name;
        }
    }

    private interface Prepare {
        Runnable in(Place place);
    }

    /** Goes into constructors, whose packages do not see this class. */
    private static final class Refusal {
        @Advice.OnMethodEnter
        static void refuse() {
            if (Thread.currentThread().getName().equals(NO_MEMORY)) {
                throw new OutOfMemoryError(NO_MEMORY);
            }
        }
    }

    /** @return what {@code make} throws in a thread that has no memory for an object of that class */
    private static @Nullable Throwable withoutMemoryFor(Class<?> owner, Runnable make) throws Exception {
        Class.forName("net.bytebuddy.agent.ByteBuddyAgent").getMethod("install").invoke(null);
        ClassReloadingStrategy strategy = ClassReloadingStrategy.fromInstalledAgent();
        new ByteBuddy()
                .redefine(owner)
                .visit(Advice.to(Refusal.class).on(isConstructor()))
                .make()
                .load(owner.getClassLoader(), strategy);
        AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
        try {
            Thread thread = new Thread(() -> failed.set(catchThrowable(make::run)), NO_MEMORY);
            thread.start();
            thread.join();
        } finally {
            strategy.reset(owner);
        }
        return failed.get();
    }

    private static Operation made(Class<?> owner, Consumer<Kernel> make) {
        return new Operation(owner.getSimpleName(), "6.12", owner, place -> () -> make.accept(place.kernel));
    }

    private static Operation onVm(String name, String profile, Class<?> owner, Consumer<Vm> make) {
        return new Operation(name, profile, owner, place -> {
            Vm vm = place.vm();
            return () -> make.accept(vm);
        });
    }

    private static Operation adopted(Class<?> owner, String profile, Prepare prepared) {
        return new Operation("adopted " + owner.getSimpleName(), profile, owner, prepared);
    }

    static Stream<Operation> operations() {
        return Stream.of(
                made(EventFd.class, EventFd::create),
                new Operation("semaphore", "6.12", EventFd.class, place -> () -> EventFd.createSemaphore(place.kernel)),
                new Operation("batch", "6.12", EventFd.class, place -> () -> EventFd.createAll(place.kernel, 3)),
                made(Vm.class, Vm::create),
                made(VfioGroup.class, kernel -> VfioGroup.open(kernel, DEVICE)),
                made(VfioContainer.class, VfioContainer::create),
                made(VfioDevice.class, kernel -> VfioDevice.open(kernel, DEVICE)),
                new Operation("VfioCdev", CDEV, VfioCdev.class, place -> () -> VfioCdev.open(place.kernel, DEVICE)),
                new Operation("Ioas", CDEV, Ioas.class, place -> () -> Ioas.create(place.kernel)),
                new Operation("bound", CDEV, VfioDevice.class, place -> () -> VfioDevice.open(place.kernel, DEVICE)),
                onVm("Vcpu", "6.12", Vcpu.class, vm -> vm.createVcpu(new VcpuId(0))),
                onVm("exit of a Vcpu", "6.12", VcpuExit.class, vm -> vm.createVcpu(new VcpuId(0))),
                onVm("KvmDevice", "6.12", KvmDevice.class, vm -> vm.createDevice(KvmDevice.Type.VFIO)),
                onVm("KvmVfio", "6.12", KvmVfio.class, KvmVfio::create),
                onVm("VgicV2", GICV2, VgicV2.class, vm -> vm.arm64().createVgicV2()),
                onVm("VgicV3", ARM64, VgicV3.class, vm -> vm.arm64().createVgicV3()),
                onVm("Its", ARM64, Its.class, vm -> vm.arm64().createIts()),
                adopted(EventFd.class, "6.12", place -> {
                    int number = place.eventfd();
                    return () -> EventFd.adopt(place.kernel, number, Ownership.OWNED);
                }),
                adopted(Vm.class, "6.12", place -> {
                    try (Fd.Lease lease = place.vm().fd().lease()) {
                        int number = lease.number();
                        return () -> Vm.adopt(place.kernel, number, Ownership.OWNED, List.of(), new Gsi(0));
                    }
                }),
                adopted(VgicV3.class, ARM64, place -> {
                    Vm vm = place.vm();
                    try (Fd.Lease lease =
                            place.undo.add(vm.arm64().createVgicV3()).fd().lease()) {
                        int number = lease.number();
                        return () -> vm.arm64().adoptVgicV3(number, Ownership.OWNED);
                    }
                }),
                adopted(KvmVfio.class, "6.12", place -> {
                    try (Fd.Lease lease =
                            place.undo.add(KvmVfio.create(place.vm())).fd().lease()) {
                        int number = lease.number();
                        return () -> KvmVfio.adopt(place.kernel, number, Ownership.OWNED);
                    }
                }),
                adopted(VfioGroup.class, "6.12", place -> {
                    int number = place.open("/dev/vfio/5");
                    return () -> VfioGroup.adopt(place.kernel, number, Ownership.OWNED);
                }),
                adopted(VfioContainer.class, "6.12", place -> {
                    int number = place.open("/dev/vfio/vfio");
                    return () -> VfioContainer.adopt(place.kernel, number, Ownership.OWNED);
                }),
                adopted(Ioas.class, CDEV, place -> {
                    int number = place.open("/dev/iommu");
                    return () -> Ioas.createIn(place.kernel, number, Ownership.OWNED);
                }),
                adopted(VfioDevice.class, "6.12", place -> {
                    VfioDevice device = place.undo.add(VfioDevice.open(place.kernel, DEVICE));
                    try (Fd.Lease lease = device.fd().lease()) {
                        int number = lease.number();
                        return () -> VfioDevice.adopt(place.kernel, DEVICE, number, Ownership.OWNED);
                    }
                }));
    }

    @ParameterizedTest
    @MethodSource("operations")
    void noDescriptorIsLeftWithoutItsOwner(Operation operation) throws Exception {
        FakeKernel fake = new FakeKernel(Profile.parse(operation.profile));
        if (!operation.profile.equals(ARM64)) {
            fake.pciDevice(DEVICE.toString(), 5).msix(2).add();
        }
        try (Kernel kernel = fake.open();
                Undo undo = new Undo()) {
            kernel.device();
            Place place = new Place(fake, kernel, undo);
            Runnable make = operation.prepared.in(place);
            List<String> handles = kernel.openHandles();
            List<Integer> free = place.free();
            @Nullable Throwable failed = withoutMemoryFor(operation.owner, make);
            assertThat(failed).hasMessage(NO_MEMORY);
            assertThat(kernel.openHandles()).isEqualTo(handles);
            assertThat(place.free()).isEqualTo(free);
        }
    }
}
