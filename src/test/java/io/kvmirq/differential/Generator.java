/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static io.kvmirq.differential.Call.call;

import io.kvmirq.differential.Descriptors.Event;
import io.kvmirq.differential.Descriptors.Kind;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Machine;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Uapi;
import java.util.ArrayList;
import java.util.List;

/** A random sequence of calls. */
final class Generator {
    private static final int MOST_VCPUS = 3;
    private static final int MOST_VMS = 2;
    private static final int NO_EPOLL_CTL = 4;
    private static final int MORE_EPOLL_CTLS = 3;

    private final Choices random;
    private final Values values;
    private final Descriptors fds;
    private final Draft draft;
    private final InterruptSteps interrupts;
    private final DeviceSteps devices;
    private final ArmSteps arm;
    private final VgicSteps vgics;
    private final VcpuSteps vcpus;
    private final VfioSteps vfio;
    private final VfioBodySteps body;
    /** Whether it is about a vCPU: its registers, its guests, and the lines and PICs that interrupt them. */
    private final boolean ofProcessor;

    private final boolean withVfio;
    private final List<Choice> choices;
    private final int total;

    private record Choice(int weight, Runnable step) {}

    private Generator(Choices random, boolean withVfio) {
        this.random = random;
        this.draft = new Draft(random);
        this.values = draft.values();
        this.fds = draft.fds();
        this.interrupts = new InterruptSteps(draft);
        this.devices = new DeviceSteps(draft);
        this.arm = new ArmSteps(draft);
        this.vgics = new VgicSteps(draft, arm);
        this.vcpus = new VcpuSteps(draft);
        this.vfio = new VfioSteps(draft);
        this.body = new VfioBodySteps(draft);
        this.ofProcessor = Machine.isX86() && random.nextInt(2) == 0;
        this.withVfio = withVfio && (Machine.isX86() ? !ofProcessor : random.nextInt(2) == 0);
        List<Choice> others = !Machine.isX86() ? ofArm64() : ofProcessor ? ofProcessor() : choices();
        this.choices = this.withVfio ? withVfio(others) : others;
        this.total = choices.stream().mapToInt(Choice::weight).sum();
    }

    private List<Choice> choices() {
        return List.of(
                new Choice(3, this::open),
                new Choice(8, this::close),
                new Choice(10, this::dup),
                new Choice(14, this::epoll),
                new Choice(10, this::epollWait),
                new Choice(5, this::eventfd),
                new Choice(14, this::write),
                new Choice(18, this::read),
                new Choice(8, this::poll),
                new Choice(3, this::createVm),
                new Choice(10, this::checkExtension),
                new Choice(5, this::createIrqchip),
                new Choice(20, this::enable),
                new Choice(7, this::createVcpu),
                new Choice(14, interrupts::route),
                new Choice(15, interrupts::irqfd),
                new Choice(8, interrupts::heldLine),
                new Choice(14, interrupts::ioeventfd),
                new Choice(12, interrupts::signal),
                new Choice(22, interrupts::line),
                new Choice(12, interrupts::irqchip),
                new Choice(12, interrupts::observe),
                new Choice(12, interrupts::lapic),
                new Choice(7, interrupts::run),
                new Choice(12, interrupts::served),
                new Choice(19, interrupts::state),
                new Choice(7, devices::create),
                new Choice(38, devices::attribute),
                new Choice(9, this::memory),
                new Choice(11, this::anyIoctl));
    }

    private List<Choice> ofArm64() {
        return List.of(
                new Choice(3, this::open),
                new Choice(8, this::close),
                new Choice(8, this::dup),
                new Choice(10, this::epoll),
                new Choice(6, this::epollWait),
                new Choice(5, this::eventfd),
                new Choice(14, this::write),
                new Choice(12, this::read),
                new Choice(8, this::poll),
                new Choice(3, arm::createVm),
                new Choice(14, arm::checkExtension),
                new Choice(8, arm::enable),
                new Choice(4, arm::createIrqchip),
                new Choice(10, arm::createVcpu),
                new Choice(14, arm::initialize),
                new Choice(36, arm::register),
                new Choice(6, arm::listRegisters),
                new Choice(12, arm::state),
                new Choice(6, arm::signals),
                new Choice(14, arm::attribute),
                new Choice(12, arm::route),
                new Choice(15, interrupts::irqfd),
                new Choice(4, interrupts::heldLine),
                new Choice(12, interrupts::ioeventfd),
                new Choice(14, arm::signal),
                new Choice(20, arm::line),
                new Choice(8, devices::create),
                new Choice(20, devices::attribute),
                new Choice(10, vgics::create),
                new Choice(24, vgics::place),
                new Choice(12, vgics::control),
                new Choice(90, vgics::register),
                new Choice(16, vgics::any),
                new Choice(14, vgics::command),
                new Choice(9, this::memory),
                new Choice(10, this::anyIoctl));
    }

    private List<Choice> ofProcessor() {
        return List.of(
                new Choice(10, this::checkExtension),
                new Choice(4, this::enable),
                new Choice(4, this::createVcpu),
                new Choice(2, this::close),
                new Choice(6, interrupts::route),
                new Choice(8, interrupts::irqfd),
                new Choice(4, interrupts::heldLine),
                new Choice(10, interrupts::ioeventfd),
                new Choice(6, interrupts::signal),
                new Choice(10, interrupts::line),
                new Choice(8, interrupts::irqchip),
                new Choice(6, interrupts::observe),
                new Choice(8, vcpus::lapic),
                new Choice(6, interrupts::run),
                new Choice(10, interrupts::state),
                new Choice(24, vcpus::general),
                new Choice(36, vcpus::system),
                new Choice(26, vcpus::events),
                new Choice(22, vcpus::debug),
                new Choice(22, vcpus::extended),
                new Choice(26, vcpus::model),
                new Choice(22, vcpus::cpuid),
                new Choice(20, vcpus::interrupt),
                new Choice(14, vcpus::nmi),
                new Choice(24, vcpus::line),
                new Choice(20, vcpus::load),
                new Choice(36, vcpus::goOn));
    }

    private List<Choice> withVfio(List<Choice> others) {
        Choice read = new Choice(20, body::read);
        Choice write = new Choice(12, body::write);
        List<Choice> all = new ArrayList<>(List.of(
                new Choice(30, vfio::open),
                new Choice(14, vfio::close),
                new Choice(10, vfio::dup),
                new Choice(30, vfio::container),
                new Choice(20, vfio::mapping),
                new Choice(24, vfio::info),
                new Choice(4, vfio::reset),
                new Choice(10, vfio::ioctl),
                new Choice(90, vfio::set),
                new Choice(60, vfio::use),
                new Choice(80, body::config),
                new Choice(20, body::anyConfig),
                read,
                write,
                new Choice(14, body::map),
                new Choice(6, body::hotReset),
                new Choice(8, body::iommu),
                new Choice(10, body::poll),
                new Choice(25, devices::vfioFile)));
        all.addAll(others);
        if (!Machine.isX86()) {
            // Linux of arm64 dies of an access that the device does not answer: of another width, or to ports.
            all.removeAll(List.of(read, write));
        }
        return all;
    }

    /**
     * At least {@code length} calls, and what can be observed after them.
     *
     * @param withVfio whether there are the devices of {@link VfioSide}
     */
    static List<Call> calls(Choices random, int length, boolean withVfio) {
        Generator generator = new Generator(random, withVfio);
        List<Runnable> beginning = generator.beginning();
        List<Call> calls = generator.draft.calls();
        for (int at = 0; random.step(calls.size() < length ? Integer.MAX_VALUE : 0); at++) {
            long step = random.keep(Math.min(at, beginning.size()));
            (step < beginning.size() ? beginning.get((int) step) : (Runnable) generator::any).run();
        }
        generator.observe();
        return calls;
    }

    /** The steps that make something to work on: a VM with an irqchip and a vCPU that listens, most of the time. */
    private List<Runnable> beginning() {
        List<Runnable> steps = new ArrayList<>(List.of(() -> createVm(fds.first(Kind.KVM), 0)));
        if (ofProcessor) {
            steps.addAll(List.of(this::irqchipOrNone, this::bootVcpu, this::eventfd, this::eventfd, () -> {
                if (values.rarely(3)) {
                    vcpus.cpuid();
                }
            }));
            steps.add(() -> {
                if (values.rarely(3)) {
                    interrupts.listening(fds.first(Kind.VCPU));
                } else {
                    vcpus.load(fds.first(Kind.VCPU));
                }
            });
            return steps;
        }
        if (Machine.isX86()) {
            steps.add(() -> {
                if (values.rarely(2)) {
                    createIrqchip();
                } else {
                    draft.step(call(Operation.CREATE_IRQCHIP, fds.first(Kind.VM)));
                }
            });
            steps.add(() -> {
                if (values.rarely(2)) {
                    createVm();
                    enable();
                }
            });
            steps.addAll(List.of(this::bootVcpu, () -> interrupts.listening(fds.first(Kind.VCPU))));
        } else {
            steps.add(() -> vgics.begin(fds.first(Kind.VM)));
            steps.add(() -> {
                if (values.rarely(2)) {
                    arm.createVm();
                }
            });
        }
        steps.add(() -> {
            if (!values.rarely(3)) {
                devices.create(fds.first(Kind.VM), Uapi.KVM_DEV_TYPE_VFIO, 0);
            }
        });
        steps.addAll(List.of(this::eventfd, this::eventfd));
        if (withVfio) {
            steps.add(vfio::begin);
        }
        return steps;
    }

    /** PICs, LAPICs alone, or neither. */
    private void irqchipOrNone() {
        switch (random.nextInt(4)) {
            case 0 -> {}
            case 1 -> draft.step(call(Operation.SPLIT_IRQCHIP, fds.first(Kind.VM), 24, 0));
            default -> draft.step(call(Operation.CREATE_IRQCHIP, fds.first(Kind.VM)));
        }
    }

    private void bootVcpu() {
        createVcpu(fds.first(Kind.VM), 0);
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
            draft.step(call(Operation.POLL, fd, Uapi.POLLIN, 0));
            draft.step(call(Operation.READ_NOWAIT, fd, 8));
        });
        fds.open(Kind.EPOLL).forEach(fd -> draft.step(call(Operation.EPOLL_WAIT, fd, 4)));
        vgics.observe();
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
        draft.close(values.rarely(5) ? fds.pick(Kind.EVENTFD) : values.rarely(12) ? fds.stale() : fds.anyOpen());
    }

    private void dup() {
        long from = values.rarely(2) ? fds.pick(Kind.EVENTFD) : fds.pick(Kind.VM);
        long to = fds.fresh();
        draft.step(call(Operation.DUP, to, from));
        fds.addDuplicate(to, from);
    }

    private void epoll() {
        if (fds.open(Kind.EPOLL).isEmpty() || values.rarely(3)) {
            draft.step(call(Operation.EPOLL, fds.add(Kind.EPOLL, fds.fresh())));
            return;
        }
        long set = fds.pick(Kind.EPOLL);
        long picked = fds.pick(Kind.EVENTFD);
        // A set holds eventfds, never another set: how deep they may lie in one another differs between kernels.
        long file = fds.open(Kind.EPOLL).contains(picked) ? set : picked;
        List<Call> calls = new ArrayList<>(List.of(control(set, Epoll.EPOLL_CTL_ADD, file)));
        for (long more = values.below(MORE_EPOLL_CTLS + 1); more > 0; more--) {
            long operation = values.of(
                    Epoll.EPOLL_CTL_ADD, Epoll.EPOLL_CTL_MOD, Epoll.EPOLL_CTL_MOD, Epoll.EPOLL_CTL_DEL, NO_EPOLL_CTL);
            calls.add(control(set, operation, file));
        }
        draft.step(calls);
        for (long waits = values.below(3); waits > 0; waits--) {
            draft.step(call(Operation.EPOLL_WAIT, set, 1 + values.below(4)));
        }
    }

    private Call control(long set, long operation, long file) {
        return call(Operation.EPOLL_CTL, set, operation, file, values.epollEvents());
    }

    private void epollWait() {
        draft.step(call(
                Operation.EPOLL_WAIT,
                fds.pick(Kind.EPOLL),
                values.rarely(8) ? values.of(0, -1, Integer.MAX_VALUE) : 1 + values.below(4)));
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
        long length = values.rarely(4) ? values.of(0, 4, 16) : 8;
        long fd = values.rarely(12) ? fds.stale() : fds.pick(Kind.EVENTFD);
        draft.step(call(values.rarely(3) ? Operation.READ : Operation.READ_NOWAIT, fd, length));
    }

    private void poll() {
        long fd = values.rarely(4) ? fds.stale() : values.rarely(3) ? fds.anyOpen() : fds.pick(Kind.EVENTFD);
        draft.step(call(Operation.POLL, fd, values.pollEvents(), values.rarely(8) ? values.of(-1, 1_000_000_000) : 0));
    }

    // System and VM

    private void createVm() {
        boolean more = fds.count(Kind.VM) < MOST_VMS && !values.rarely(8);
        createVm(fds.pick(Kind.KVM), more ? 0 : values.of(1, 0xff, -1));
    }

    private void createVm(long kvm, long type) {
        long to = fds.fresh();
        draft.step(call(Operation.CREATE_VM, to, kvm, type));
        if (type == 0) {
            fds.addFrom(Kind.KVM, kvm, Kind.VM, to);
        }
    }

    private void checkExtension() {
        Kind kind = values.rarely(2) ? Kind.KVM : Kind.VM;
        draft.step(call(
                Operation.CHECK_EXTENSION,
                fds.pick(kind),
                values.of(0, 3, 10, 25, 26, 32, 33, 36, 54, 66, 77, 82, 89, 98, 105, 121, 122, 128, 129, 136, 9999)));
    }

    private void createIrqchip() {
        long vm = values.rarely(10) ? fds.another(Kind.VM) : fds.pick(Kind.VM);
        draft.step(
                values.rarely(3) ? call(Operation.SPLIT_IRQCHIP, vm, pins(), 0) : call(Operation.CREATE_IRQCHIP, vm));
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
        long vm = values.rarely(10) ? fds.another(Kind.VM) : fds.pick(Kind.VM);
        boolean more = fds.anotherVcpu(vm) <= MOST_VCPUS;
        createVcpu(vm, more ? values.vcpuId() : values.of(4096, -1, 1L << 32));
    }

    private void createVcpu(long vm, long id) {
        long to = fds.fresh();
        draft.step(call(Operation.CREATE_VCPU, to, vm, id));
        if (id >= 0 && id < 4096) {
            fds.addFrom(Kind.VM, vm, Kind.VCPU, to);
        }
    }

    private void memory() {
        long vm = fds.pick(Kind.VM);
        long slot = values.rarely(12) ? values.of(32766, 32767, 0x10000, -1) : values.below(3);
        long page = values.guestPage();
        draft.step(call(
                Operation.MEMORY,
                vm,
                slot,
                values.rarely(8) ? values.of(1, 2, 3, 4, 8) : 0,
                page,
                values.size(),
                values.user()));
        if (values.rarely(6)) {
            draft.step(call(Operation.MEMORY, vm, slot + 1, 0, page, 0x1000, 0));
        }
    }

    private void anyIoctl() {
        draft.step(
                values.rarely(12)
                        ? call(Operation.IOCTL, fds.pick(Kind.DEVICE), Uapi.KVM_GET_DEVICE_ATTR, Side.NOWHERE)
                        : call(
                                Operation.IOCTL,
                                values.rarely(25) ? fds.stale() : fds.anyOpen(),
                                values.request(),
                                Side.NOWHERE));
    }
}
