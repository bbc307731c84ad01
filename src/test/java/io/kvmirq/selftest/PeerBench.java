/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.bench.Bench;
import io.kvmirq.bench.Goal;
import io.kvmirq.bench.Rounds;
import io.kvmirq.guest.GuestCode;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.IntToLongFunction;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;

/**
 * The objects that users of this library open, beside what VMM authors use elsewhere, in one process: rust-vmm's
 * kvm-ioctls on the same files and the same guest ({@code src/test/rust/peer.rs}), and the order in which QEMU attaches
 * vectors ({@code src/test/native/qemu.c}). {@code make bench T=peer} runs it.
 */
final class PeerBench {
    private static final InterruptVector VECTOR = new InterruptVector(0x31);
    /** The same for the guest of the self-test. */
    private static final int INTERRUPT = 1;

    private static final VcpuId VCPU = new VcpuId(0);
    private static final MsiMessage MESSAGE = MsiMessage.to(VCPU, VECTOR);
    private static final Gsi LINE = new Gsi(4);
    private static final int FIRST_GSI = 24;
    private static final long PLENTY = 1L << 62;

    private static final int ROUNDS = 101;
    private static final int TRIP_ROUNDS = 61;
    private static final int ATTACH_ROUNDS = 31;
    private static final int WARM_UP_ROUNDS = 100;
    /** Until what a batch does once is compiled, too. */
    private static final int FEW_ROUNDS = 1500;

    private static final int TRIPS = 200;
    private static final int CALLS = 2000;

    private final Bench bench = new Bench("peer");
    private final KernelBackend binding;
    private final Kernel kernel;

    private PeerBench(KernelBackend binding, Kernel kernel) {
        this.binding = binding;
        this.kernel = kernel;
    }

    private static native long signalInRust(int fd, int calls);

    private static native long drainInRust(int fd, int calls);

    private static native long lineInRust(int vm, int gsi, int calls);

    private static native long messageInRust(int vm, int calls);

    private static native long attributeInRust(int device, int group, long attribute, int calls);

    private static native long tripsInRust(int interrupt, int answer, int trips);

    private static native long attachInRust(int vm, int first, int count, boolean singly);

    private static native long detachInRust(int vm, int first, int count);

    private static native long attachAsQemu(int vm, int first, int count);

    /** @param arguments the absolute path of the half in C, and of the half in Rust if that is there */
    public static void main(String[] arguments) {
        Bench.endWithAnyThread();
        Stream.of(arguments).forEach(System::load);
        KernelBackend binding = Backends.ofThisMachine().open("jni");
        try (Kernel kernel = Kernel.over(binding)) {
            PeerBench peer = new PeerBench(binding, kernel);
            boolean rust = arguments.length > 1;
            if (rust) {
                peer.calls();
                peer.trips();
            }
            peer.attach(Stream.of(Attach.values())
                    .filter(op -> rust || op.order == Order.QEMU)
                    .toArray(Attach[]::new));
        }
    }

    private static double nanos(long result, int operations) {
        if (result < 0) {
            throw new IllegalStateException("failed, " + result + ": peer.rs has the line, qemu.c the error number");
        }
        return (double) result / operations;
    }

    // Calls

    private enum Call {
        SIGNAL("eventfd write"),
        DRAIN("eventfd read"),
        LINE("KVM_IRQ_LINE"),
        MESSAGE("KVM_SIGNAL_MSI"),
        ATTRIBUTE("KVM_HAS_DEVICE_ATTR");

        private final String title;

        Call(String title) {
            this.title = title;
        }

        /** As of the same calls in C. */
        private Goal goal() {
            boolean ioctl = this != SIGNAL && this != DRAIN;
            return Goal.atMost(!ioctl ? 1.05 : Runtime.version().feature() < 25 ? 1.10 : 1.08);
        }
    }

    /** The files that all sides call. */
    private static final class Files implements AutoCloseable {
        private final KernelBackend binding;
        private final Undo undo = new Undo();
        private final EventFd signalled;
        private final EventFd full;
        private final Vm vm;
        private final KvmDevice device;
        private final ByteBuffer count = Buffers.allocate(Long.BYTES);
        private final int signalledFd;
        private final int fullFd;
        private final int vmFd;
        private final int deviceFd;

        Files(Kernel kernel, KernelBackend binding) {
            this.binding = binding;
            signalled = undo.add(EventFd.create(kernel));
            full = undo.add(EventFd.createSemaphore(kernel));
            full.signal(PLENTY);
            vm = undo.add(Vm.create(kernel));
            vm.createIrqchip();
            undo.add(vm.createVcpu(VCPU)).enableLapic();
            device = undo.add(vm.createDevice(KvmDevice.Type.VFIO));
            signalledFd = number(signalled.fd());
            fullFd = number(full.fd());
            vmFd = number(vm.fd());
            deviceFd = number(device.fd());
        }

        private int number(Fd fd) {
            return undo.add(fd.lease()).number();
        }

        @Override
        public void close() {
            undo.close();
        }

        double byObjects(Call call) {
            long start = System.nanoTime();
            switch (call) {
                case SIGNAL -> signal();
                case DRAIN -> drain();
                case LINE -> line();
                case MESSAGE -> message();
                case ATTRIBUTE -> attribute();
            }
            return nanos(System.nanoTime() - start, CALLS);
        }

        double byBinding(Call call) {
            long start = System.nanoTime();
            switch (call) {
                case SIGNAL -> signalByBinding();
                case DRAIN -> drainByBinding();
                case LINE -> lineByBinding();
                case MESSAGE -> messageByBinding();
                case ATTRIBUTE -> attributeByBinding();
            }
            return nanos(System.nanoTime() - start, CALLS);
        }

        double inRust(Call call) {
            return nanos(
                    switch (call) {
                        case SIGNAL -> signalInRust(signalledFd, CALLS);
                        case DRAIN -> drainInRust(fullFd, CALLS);
                        case LINE -> lineInRust(vmFd, LINE.number(), CALLS);
                        case MESSAGE -> messageInRust(vmFd, CALLS);
                        case ATTRIBUTE ->
                            attributeInRust(deviceFd, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD, CALLS);
                    },
                    CALLS);
        }

        // A loop for each: shared, they would be compiled for what the others do too.

        private void signal() {
            for (int i = 0; i < CALLS; i++) {
                signalled.signal();
            }
        }

        private void drain() {
            for (int i = 0; i < CALLS; i++) {
                full.drain();
            }
        }

        private void line() {
            for (int i = 0; i < CALLS; i++) {
                vm.setLine(LINE, (i & 1) != 0);
            }
        }

        private void message() {
            for (int i = 0; i < CALLS; i++) {
                vm.signal(MESSAGE);
            }
        }

        private void attribute() {
            for (int i = 0; i < CALLS; i++) {
                device.hasAttribute(Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD);
            }
        }

        private void signalByBinding() {
            for (int i = 0; i < CALLS; i++) {
                require(binding.eventfdSignal(signalledFd, 1), 0);
            }
        }

        private void drainByBinding() {
            for (int i = 0; i < CALLS; i++) {
                require(binding.eventfdDrain(fullFd, count), 0);
            }
        }

        private void lineByBinding() {
            for (int i = 0; i < CALLS; i++) {
                require(binding.lineSet(vmFd, LINE.number(), i & 1), 0);
            }
        }

        private void messageByBinding() {
            for (int i = 0; i < CALLS; i++) {
                require(binding.msiSignal(vmFd, MESSAGE.address(), MESSAGE.data(), 0, 0), 1);
            }
        }

        private void attributeByBinding() {
            for (int i = 0; i < CALLS; i++) {
                require(binding.deviceAttrHas(deviceFd, Uapi.KVM_DEV_VFIO_FILE, Uapi.KVM_DEV_VFIO_FILE_ADD), 0);
            }
        }

        private static void require(int result, int expected) {
            if (result != expected) {
                throw new IllegalStateException("the kernel answers " + result + ", expected " + expected);
            }
        }
    }

    private static long with(Fd fd, IntToLongFunction work) {
        try (Fd.Lease lease = fd.lease()) {
            return work.applyAsLong(lease.number());
        }
    }

    private void calls() {
        try (Files files = new Files(kernel, binding)) {
            measure(
                    Call.values(),
                    ROUNDS,
                    files::byBinding,
                    files::inRust,
                    call -> new Bench.Title("jni / kvm-ioctls: " + call.title, call.goal()));
            measure(
                    Call.values(),
                    ROUNDS,
                    files::byObjects,
                    files::inRust,
                    call -> new Bench.Title("objects / kvm-ioctls: " + call.title, Goal.none()));
        }
    }

    private <O extends Enum<O>> void measure(
            O[] operations,
            int rounds,
            ToDoubleFunction<O> ours,
            ToDoubleFunction<O> theirs,
            Function<O, Bench.Title> titles) {
        Rounds.of(operations, bench.warmUp(WARM_UP_ROUNDS), ours, theirs);
        bench.measure(operations, rounds, ours, theirs, titles);
    }

    // Round trips

    private enum Trip {
        EDGE
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
                long[] sentInRust = {0};
                measure(
                        Trip.values(),
                        TRIP_ROUNDS,
                        trip -> inJava(device),
                        trip -> {
                            sentInRust[0] += TRIPS;
                            return inRust(interrupt, answer);
                        },
                        trip -> new Bench.Title(
                                "objects / kvm-ioctls: irqfd to guest to ioeventfd and back", Goal.atMost(1.03)));
                requireNothingLost(guest, device.sent() + sentInRust[0], irqfd + " to " + ioEventFd);
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

    private static double inRust(EventFd interrupt, EventFd answer) {
        return nanos(with(interrupt.fd(), from -> with(answer.fd(), to -> tripsInRust(from, to, TRIPS))), TRIPS);
    }

    private static void requireNothingLost(Guest guest, long sent, String way) {
        guest.requireAlive();
        int handled = guest.handled(INTERRUPT);
        if (handled != sent) {
            throw new SelftestFailedException(
                    way + ": sent " + sent + ", the guest's handler ran " + handled + " times");
        }
    }

    // Attaching

    private enum Order {
        RUST("objects, one commit / kvm-ioctls, one commit"),
        SINGLY("objects, one commit / kvm-ioctls, a commit each"),
        DETACH("objects, closeAll / kvm-ioctls, one by one"),
        QEMU("objects, one commit / QEMU's order in C");

        private final String title;

        Order(String title) {
            this.title = title;
        }
    }

    private enum Attach {
        RUST_64(Order.RUST, 64, Goal.atMost(1.4)),
        RUST_1024(Order.RUST, 1024, Goal.atMost(1.1)),
        RUST_4000(Order.RUST, 4000, Goal.atMost(1.1)),
        SINGLY_64(Order.SINGLY, 64, Goal.none()),
        SINGLY_1024(Order.SINGLY, 1024, Goal.none()),
        DETACH_1024(Order.DETACH, 1024, Goal.none()),
        QEMU_64(Order.QEMU, 64, Goal.atMost(1.4)),
        QEMU_1024(Order.QEMU, 1024, Goal.atMost(1.1)),
        QEMU_4000(Order.QEMU, 4000, Goal.atMost(1.1));

        private final Order order;
        private final int vectors;
        private final Goal goal;

        Attach(Order order, int vectors, Goal goal) {
            this.order = order;
            this.vectors = vectors;
            this.goal = goal;
        }
    }

    private void attach(Attach[] operations) {
        for (int i = 0; i < bench.warmUp(FEW_ROUNDS); i++) {
            inJava(Attach.QEMU_64);
        }
        for (int i = 0; i < bench.warmUp(WARM_UP_ROUNDS); i++) {
            inJava(Attach.QEMU_1024);
        }
        bench.measure(
                operations,
                ATTACH_ROUNDS,
                this::inJava,
                this::inPeer,
                op -> new Bench.Title(
                        (op.order == Order.DETACH ? "detach " : "attach ") + op.vectors + ": " + op.order.title,
                        op.goal));
    }

    private double inJava(Attach op) {
        try (Vm vm = Vm.create(kernel)) {
            vm.createSplitIrqchip(FIRST_GSI);
            long start = System.nanoTime();
            List<EventFd> events = EventFd.createAll(kernel, op.vectors);
            List<Gsi> gsis = vm.routes().change(edit -> {
                List<Gsi> added = new ArrayList<>(op.vectors);
                for (int i = 0; i < op.vectors; i++) {
                    added.add(edit.add(MESSAGE));
                }
                return added;
            });
            List<Irqfd> irqfds = vm.assignIrqfds(events, gsis);
            long attached = System.nanoTime();
            events.forEach(EventFd::close);
            Irqfd.closeAll(irqfds);
            return op.order == Order.DETACH ? System.nanoTime() - attached : attached - start;
        }
    }

    private double inPeer(Attach op) {
        try (Vm vm = Vm.create(kernel)) {
            vm.createSplitIrqchip(FIRST_GSI);
            return nanos(with(vm.fd(), fd -> inPeer(fd, op.order, op.vectors)), 1);
        }
    }

    private static long inPeer(int vm, Order order, int vectors) {
        return switch (order) {
            case RUST -> attachInRust(vm, FIRST_GSI, vectors, false);
            case SINGLY -> attachInRust(vm, FIRST_GSI, vectors, true);
            case DETACH -> detachInRust(vm, FIRST_GSI, vectors);
            case QEMU -> attachAsQemu(vm, FIRST_GSI, vectors);
        };
    }
}
