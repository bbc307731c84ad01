/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.differential.Descriptors.Event;
import io.kvmirq.differential.Descriptors.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/** A sequence of calls from a seed. */
final class Generator {
    private static final int MOST_VCPUS = 3;
    private static final int MOST_VMS = 2;

    private final SplittableRandom random;
    private final Values values;
    private final Descriptors fds;
    private final Draft draft;
    private final InterruptSteps interrupts;
    private final List<Choice> choices;
    private final int total;

    private record Choice(int weight, Runnable step) {}

    private Generator(long seed) {
        this.random = new SplittableRandom(seed);
        this.draft = new Draft(random);
        this.values = draft.values();
        this.fds = draft.fds();
        this.interrupts = new InterruptSteps(draft);
        this.choices = choices();
        this.total = choices.stream().mapToInt(Choice::weight).sum();
    }

    private List<Choice> choices() {
        return List.of(
                new Choice(3, this::open),
                new Choice(6, this::close),
                new Choice(7, this::dup),
                new Choice(6, this::epoll),
                new Choice(5, this::eventfd),
                new Choice(14, this::write),
                new Choice(5, this::read),
                new Choice(5, this::poll),
                new Choice(3, this::createVm),
                new Choice(8, this::checkExtension),
                new Choice(5, this::createIrqchip),
                new Choice(15, this::enable),
                new Choice(7, this::createVcpu),
                new Choice(14, interrupts::route),
                new Choice(15, interrupts::irqfd),
                new Choice(5, interrupts::heldLine),
                new Choice(14, interrupts::ioeventfd),
                new Choice(12, interrupts::signal),
                new Choice(22, interrupts::line),
                new Choice(12, interrupts::irqchip),
                new Choice(12, interrupts::lapic),
                new Choice(7, this::createDevice),
                new Choice(28, this::attribute),
                new Choice(9, this::memory),
                new Choice(10, this::anyIoctl));
    }

    /** At least {@code length} calls, and what can be observed after them. */
    static List<Draft.Step> sequence(long seed, int length) {
        Generator generator = new Generator(seed);
        generator.begin();
        while (generator.draft.calls() < length) {
            generator.any();
        }
        generator.observe();
        return generator.draft.steps();
    }

    /** Something to work on: a VM with an irqchip and a vCPU that listens, most of the time. */
    private void begin() {
        createVm();
        createIrqchip();
        if (values.rarely(2)) {
            createVm();
            enable();
        }
        createVcpu();
        interrupts.lapic();
        if (values.rarely(2)) {
            createDevice();
        }
        eventfd();
        eventfd();
    }

    private void any() {
        int drawn = random.nextInt(total);
        for (Choice choice : choices) {
            drawn -= choice.weight();
            if (drawn < 0) {
                choice.step().run();
                return;
            }
        }
    }

    /** Counters, readiness and chips at the end. */
    private void observe() {
        fds.open(Kind.EVENTFD).forEach(fd -> {
            draft.step(call(Operation.POLL, fd));
            draft.step(call(Operation.READ_NOWAIT, fd, 8));
        });
        fds.open(Kind.VCPU).forEach(fd -> draft.step(call(Operation.GET_LAPIC, fd)));
        fds.open(Kind.VM).forEach(fd -> {
            for (int chip = 0; chip < 3; chip++) {
                draft.step(call(Operation.GET_IRQCHIP, fd, chip));
            }
        });
    }

    // Descriptors

    private void open() {
        long path = values.below(2);
        long to = fds.fresh();
        draft.step(call(Operation.OPEN, to, path));
        if (path == 0) {
            fds.add(Kind.KVM, to);
        }
    }

    private void close() {
        long fd = values.rarely(5) ? fds.pick(Kind.EVENTFD) : fds.anyOpen();
        draft.close(fd);
    }

    private void dup() {
        long from = values.rarely(2) ? fds.pick(Kind.EVENTFD) : fds.pick(Kind.VM);
        long to = fds.fresh();
        draft.step(call(Operation.DUP, to, from));
        fds.addDuplicate(to, from);
    }

    private void epoll() {
        draft.step(call(Operation.EPOLL, fds.add(Kind.EPOLL, fds.fresh())));
    }

    private void eventfd() {
        boolean semaphore = values.rarely(4);
        long flags = values.rarely(12) ? 2 : semaphore ? Uapi.EFD_SEMAPHORE : 0;
        long to = fds.fresh();
        draft.step(call(Operation.EVENTFD, to, values.of(0, 0, 0, 1, 5, -1), flags));
        if (flags != 2) {
            fds.addEvent(to, new Event(semaphore));
        }
    }

    private void write() {
        long fd = fds.pick(Kind.EVENTFD);
        long length = values.rarely(12) ? values.of(0, 4, 16) : 8;
        List<Call> calls = new ArrayList<>();
        calls.add(call(Operation.WRITE, fd, values.of(1, 1, 1, 3, 0, -2, -1), length));
        draft.settle(fd, calls);
        draft.step(calls);
    }

    private void read() {
        long length = values.rarely(6) ? values.of(0, 4, 16) : 8;
        draft.step(call(values.rarely(2) ? Operation.READ : Operation.READ_NOWAIT, fds.pick(Kind.EVENTFD), length));
    }

    private void poll() {
        draft.step(call(Operation.POLL, fds.pick(Kind.EVENTFD)));
    }

    // System and VM

    private void createVm() {
        if (fds.count(Kind.VM) < MOST_VMS) {
            long type = values.rarely(8) ? values.of(1, 0xff, -1) : 0;
            long to = fds.fresh();
            draft.step(call(Operation.CREATE_VM, to, fds.pick(Kind.KVM), type));
            if (type == 0) {
                fds.add(Kind.VM, to);
            }
        } else {
            draft.step(call(Operation.CREATE_VM, fds.fresh(), fds.pick(Kind.KVM), values.of(1, 0xff)));
        }
    }

    private void checkExtension() {
        Kind kind = values.rarely(2) ? Kind.KVM : Kind.VM;
        draft.step(call(
                Operation.CHECK_EXTENSION,
                fds.pick(kind),
                values.of(
                        0, 3, 9, 10, 25, 26, 32, 33, 36, 54, 66, 77, 82, 89, 98, 105, 121, 122, 128, 129, 136, 9999)));
    }

    private void createIrqchip() {
        draft.step(
                values.rarely(3)
                        ? call(Operation.SPLIT_IRQCHIP, fds.pick(Kind.VM), pins(), 0)
                        : call(Operation.CREATE_IRQCHIP, fds.pick(Kind.VM)));
    }

    private long pins() {
        return values.rarely(3) ? values.of(4096, 4097, -1, 1L << 32) : values.of(0, 24);
    }

    private void enable() {
        long vm = fds.pick(Kind.VM);
        long flags = values.rarely(8) ? 1 : 0;
        draft.step(
                switch (random.nextInt(5)) {
                    case 0, 4 -> call(Operation.ENABLE_CAP, vm, values.of(9999, 32), flags);
                    case 1 -> call(Operation.SPLIT_IRQCHIP, vm, pins(), flags);
                    default -> call(Operation.X2APIC_API, vm, values.of(0, 1, 1, 2, 4, 8, 12, 16, 1L << 32), flags);
                });
    }

    private void createVcpu() {
        long vm = fds.pick(Kind.VM);
        long to = fds.fresh();
        boolean more = fds.anotherVcpu(vm) <= MOST_VCPUS;
        draft.step(call(Operation.CREATE_VCPU, to, vm, more ? values.vcpuId() : values.of(4096, -1, 1L << 32)));
        if (more) {
            fds.add(Kind.VCPU, to);
        }
    }

    private void memory() {
        draft.step(call(
                Operation.MEMORY,
                fds.pick(Kind.VM),
                values.rarely(12) ? values.of(32766, 32767, 0x10000, -1) : values.below(3),
                values.rarely(8) ? values.of(1, 2, 3, 4, 8) : 0,
                values.guestPage(),
                values.size(),
                values.user()));
    }

    // Devices

    private void createDevice() {
        long type = values.rarely(6) ? values.of(0, 5, 6, 7, 16, 17, 99) : Uapi.KVM_DEV_TYPE_VFIO;
        long flags = values.of(0, 0, 1, 0x80, 0x81);
        draft.step(call(Operation.CREATE_DEVICE, fds.add(Kind.DEVICE, fds.fresh()), fds.pick(Kind.VM), type, flags));
    }

    private void attribute() {
        Operation operation =
                switch (random.nextInt(4)) {
                    case 0 -> Operation.GET_ATTR;
                    case 1 -> Operation.HAS_ATTR;
                    default -> Operation.SET_ATTR;
                };
        long file = values.rarely(5) ? Side.NOWHERE : values.rarely(3) ? -1 : fds.anyOpen();
        long fd = fds.pick(Kind.DEVICE);
        // Group 1 of the system is kvm_amd's, and not every machine's.
        long usual = fds.open(Kind.KVM).contains(fd) ? 0 : 1;
        draft.step(call(
                operation,
                fd,
                values.rarely(5) ? values.of(0, 2, -1) : usual,
                values.rarely(5) ? values.of(0, 3, -1) : 1 + values.below(2),
                file));
    }

    private void anyIoctl() {
        draft.step(call(Operation.IOCTL, fds.anyOpen(), values.request(), Side.NOWHERE));
    }
}
