/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Bench.Row;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/**
 * The objects of this library beside what VMM authors use elsewhere: rust-vmm's kvm-ioctls on the same files and the same
 * guest. {@code make bench T=peer} runs it.
 *
 * <p>The other half is {@code src/test/rust/peer.rs}.
 */
final class PeerBench {
    /** The same for the guest of the self-test. */
    private static final int INTERRUPT = 1;

    private static final VcpuId VCPU = new VcpuId(0);
    private static final MsiMessage MESSAGE = MsiMessage.to(VCPU, new InterruptVector(0x31));
    private static final Gsi LINE = new Gsi(4);
    private static final int FIRST_GSI = 24;
    private static final long PLENTY = 1L << 62;
    private static final int WARM_UP_ROUNDS = 100;
    private static final int TRIPS = 200;
    private static final int CALLS = 2000;

    private final Bench bench = new Bench("peer");
    private final Kernel kernel;

    private PeerBench(Kernel kernel) {
        this.kernel = kernel;
    }

    private static native long signalInRust(int fd, int calls);

    private static native long drainInRust(int fd, int calls);

    private static native long lineInRust(int vm, int gsi, int calls);

    private static native long messageInRust(int vm, int calls);

    private static native long attributeInRust(int device, int group, long attribute, int calls);

    private static native long tripsInRust(int interrupt, int answer, int trips);

    private static native long attachInRust(int vm, int first, int count, boolean singly);

    /** @param arguments the absolute path of the other half */
    public static void main(String[] arguments) {
        Bench.endWithAnyThread();
        System.load(arguments[0]);
        try (Kernel kernel = Kernel.open("jni")) {
            PeerBench peer = new PeerBench(kernel);
            peer.calls();
            peer.trips();
            peer.attach();
        }
    }

    private static double nanos(long result, int operations) {
        if (result < 0) {
            throw new IllegalStateException("failed, " + result + ": peer.rs has the line");
        }
        return (double) result / operations;
    }

    private static Row call(String title, Runnable ours, LongSupplier theirs) {
        DoubleSupplier timed = () -> {
            long start = System.nanoTime();
            ours.run();
            return nanos(System.nanoTime() - start, CALLS);
        };
        return new Row("objects / kvm-ioctls: " + title, Double.NaN, timed, () -> nanos(theirs.getAsLong(), CALLS));
    }

    /** A loop for each: shared, they would be compiled for what the others do too. */
    private void calls() {
        try (EventFd signalled = EventFd.create(kernel);
                EventFd full = EventFd.createSemaphore(kernel);
                Vm vm = Vm.create(kernel);
                KvmDevice device = vm.createDevice(KvmDevice.Type.VFIO)) {
            full.signal(PLENTY);
            vm.x86().createIrqchip();
            Vcpu vcpu = vm.createVcpu(VCPU);
            vcpu.x86().enableLapic();
            int signalledFd = Numbers.of(signalled.fd());
            int fullFd = Numbers.of(full.fd());
            int vmFd = Numbers.of(vm.fd());
            int deviceFd = Numbers.of(device.fd());
            int group = Uapi.KVM_DEV_VFIO_FILE;
            long attribute = Uapi.KVM_DEV_VFIO_FILE_ADD;
            bench.measure(
                    WARM_UP_ROUNDS,
                    101,
                    List.of(
                            call(
                                    "eventfd write",
                                    () -> {
                                        for (int i = 0; i < CALLS; i++) {
                                            signalled.signal();
                                        }
                                    },
                                    () -> signalInRust(signalledFd, CALLS)),
                            call(
                                    "eventfd read",
                                    () -> {
                                        for (int i = 0; i < CALLS; i++) {
                                            full.drain();
                                        }
                                    },
                                    () -> drainInRust(fullFd, CALLS)),
                            call(
                                    "KVM_IRQ_LINE",
                                    () -> {
                                        for (int i = 0; i < CALLS; i++) {
                                            vm.x86().setLine(LINE, (i & 1) != 0);
                                        }
                                    },
                                    () -> lineInRust(vmFd, LINE.number(), CALLS)),
                            call(
                                    "KVM_SIGNAL_MSI",
                                    () -> {
                                        for (int i = 0; i < CALLS; i++) {
                                            vm.signal(MESSAGE);
                                        }
                                    },
                                    () -> messageInRust(vmFd, CALLS)),
                            call(
                                    "KVM_HAS_DEVICE_ATTR",
                                    () -> {
                                        for (int i = 0; i < CALLS; i++) {
                                            device.hasAttribute(group, attribute);
                                        }
                                    },
                                    () -> attributeInRust(deviceFd, group, attribute, CALLS))));
            vcpu.close();
        }
    }

    private void trips() {
        try (Guest guest = new Guest(kernel, Irqchip.FULL)) {
            Gsi gsi = guest.route(INTERRUPT);
            try (EventFd interrupt = EventFd.create(kernel);
                    EventFd answer = EventFd.create(kernel);
                    Irqfd irqfd = guest.vm().assignIrqfd(interrupt, gsi);
                    IoEventFd ioEventFd =
                            guest.vm().assignIoEventFd(IoAddress.port(GuestCode.PORT_ANSWER, 1), answer)) {
                guest.boot();
                guest.release();
                Device device = new Device(interrupt, answer, Patience.USUAL);
                int from = Numbers.of(interrupt.fd());
                int to = Numbers.of(answer.fd());
                long[] sentInRust = {0};
                Row row = new Row(
                        "objects / kvm-ioctls: irqfd to guest to ioeventfd and back",
                        1.03,
                        () -> inJava(device),
                        () -> {
                            sentInRust[0] += TRIPS;
                            return nanos(tripsInRust(from, to, TRIPS), TRIPS);
                        });
                bench.measure(WARM_UP_ROUNDS, 61, List.of(row));
                guest.requireAlive();
                long sent = device.sent() + sentInRust[0];
                if (guest.handled(INTERRUPT) != sent) {
                    throw new SelftestFailedException(irqfd + " to " + ioEventFd + ": sent " + sent
                            + ", the guest's handler ran " + guest.handled(INTERRUPT) + " times");
                }
            }
        }
    }

    private static double inJava(Device device) {
        long start = System.nanoTime();
        for (int i = 0; i < TRIPS; i++) {
            if (!device.roundTrip()) {
                throw new SelftestFailedException("the guest does not answer");
            }
        }
        return nanos(System.nanoTime() - start, TRIPS);
    }

    private void attach() {
        for (int i = 0; i < Bench.warmUp(1500); i++) {
            attach(64);
        }
        List<Row> rows = new ArrayList<>();
        for (int vectors : new int[] {64, 1024, 4000}) {
            rows.add(new Row(
                    "attach " + vectors + ": objects, one commit / kvm-ioctls, one commit",
                    vectors == 64 ? 1.4 : 1.1,
                    () -> attach(vectors),
                    () -> inRust(vm -> attachInRust(vm, FIRST_GSI, vectors, false))));
        }
        rows.add(new Row(
                "attach 1024: objects, one commit / kvm-ioctls, a commit each",
                Double.NaN,
                () -> attach(1024),
                () -> inRust(vm -> attachInRust(vm, FIRST_GSI, 1024, true))));
        bench.measure(20, 31, rows);
    }

    private double attach(int vectors) {
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            List<EventFd> events = EventFd.createAll(kernel, vectors);
            List<Gsi> gsis = vm.routes().change(edit -> {
                List<Gsi> added = new ArrayList<>(vectors);
                for (int i = 0; i < vectors; i++) {
                    added.add(edit.add(MESSAGE));
                }
                return added;
            });
            List<Irqfd> irqfds = vm.assignIrqfds(events, gsis);
            long attached = System.nanoTime();
            events.forEach(EventFd::close);
            Irqfd.closeAll(irqfds);
            return attached - start;
        }
    }

    private interface InRust {
        long nanos(int vm);
    }

    private double inRust(InRust work) {
        try (Vm vm = Vm.create(kernel)) {
            vm.x86().createSplitIrqchip(FIRST_GSI);
            return nanos(work.nanos(Numbers.of(vm.fd())), 1);
        }
    }
}
