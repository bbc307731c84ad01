/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.testing.Machine;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * {@code main}: a process that takes down what it made when its direct memory is used up, on a thread that never called
 * the kernel before. It prints what went wrong, and nothing else.
 */
final class NoMemoryUser {
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final PciAddress DEVICE = PciAddress.parse("0000:3b:00.0");

    private NoMemoryUser() {}

    /** In the order in which it is taken down. */
    private static final Map<String, AutoCloseable> MADE = new LinkedHashMap<>();

    /** @param arguments a binding, or a profile of the fake */
    public static void main(String[] arguments) throws Exception {
        long before = Machine.openFds();
        boolean real = List.of("jni", "jna", "jnr", "ffm").contains(arguments[0]);
        KernelBackend backend = real ? Backends.ofThisMachine().open(arguments[0]) : fake(arguments[0]);
        Kernel kernel = Kernel.over(backend);
        Vm vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        if (!real) {
            makeDevice(kernel, vm);
        }
        make(kernel, vm);
        EventFd drained = EventFd.create(kernel);
        Thread thread = new Thread(() -> {
            List<ByteBuffer> all = useUp();
            try {
                drained.drain();
            } catch (OutOfMemoryError e) {
                // It says so. The eventfd can be closed all the same.
            }
            drained.close();
            MADE.forEach(NoMemoryUser::close);
            vm.close();
            kernel.close();
            all.clear();
        });
        thread.start();
        thread.join();
        kernel.openHandles().forEach(handle -> System.out.println(handle + " is still open"));
        if (Machine.openFds() != before) {
            System.out.println(Machine.openFds() - before + " descriptors are left");
        }
    }

    private static KernelBackend fake(String profile) {
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        fake.pciDevice(DEVICE.toString(), 5).msix(2).add();
        return fake.backend();
    }

    private static void makeDevice(Kernel kernel, Vm vm) {
        KvmVfio kvmVfio = KvmVfio.create(vm);
        VfioDevice device = VfioDevice.open(kernel, DEVICE, kvmVfio);
        Mapping.Owner memory = Mapping.anonymous(kernel, 0x1000);
        Forwarding forwarding = Forwarding.create(vm, device);
        forwarding.forwardAll(device.msix(0, 2), i -> MESSAGE);
        MADE.put("Forwarding.close", forwarding);
        MADE.put("DmaMapping.close", device.dma().map(0, memory.mapping()));
        MADE.put("Mapping.Owner.close", memory);
        MADE.put("VfioDevice.close", device);
        MADE.put("KvmVfio.close", kvmVfio);
    }

    private static void make(Kernel kernel, Vm vm) {
        EventFd edge = EventFd.create(kernel);
        EventFd level = EventFd.create(kernel);
        EventFd resample = EventFd.create(kernel);
        EventFd watched = EventFd.create(kernel);
        EventLoop loop = EventLoop.create(kernel);
        MADE.put("Irqfd.close", vm.assignIrqfd(edge, new Gsi(5)));
        MADE.put("Irqfd.close of a level", vm.assignLevelIrqfd(level, resample, new Gsi(6)));
        MADE.put("IoEventFd.close", vm.assignIoEventFd(IoAddress.port(0x80, 1), watched));
        MADE.put("GuestMemory.close", vm.addMemory(0, 0x10000));
        MADE.put("Registration.close", loop.register(watched, count -> {}));
        MADE.put("EventLoop.close", loop);
        MADE.put("MaskableVector.close", MaskableVector.create(vm, MESSAGE));
        for (EventFd event : List.of(edge, level, resample, watched)) {
            MADE.put("EventFd.close of " + event, event);
        }
    }

    private static List<ByteBuffer> useUp() {
        List<ByteBuffer> all = new ArrayList<>();
        for (int size : new int[] {1 << 20, 1 << 6, 1}) {
            try {
                while (true) {
                    all.add(ByteBuffer.allocateDirect(size));
                }
            } catch (OutOfMemoryError e) {
                // On to what is smaller.
            }
        }
        return all;
    }

    private static void close(String name, AutoCloseable made) {
        try {
            made.close();
        } catch (Throwable e) {
            System.out.println(name + " throws " + e);
        }
    }
}
