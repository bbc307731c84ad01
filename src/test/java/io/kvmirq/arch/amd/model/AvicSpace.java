/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.Actor;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Explorer.Access;
import io.kvmirq.explorer.Memory;
import io.kvmirq.explorer.Operation;
import io.kvmirq.explorer.Space;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Two vCPUs, each on a processor of its own, a device's entry, and what changes the entry, in every order. Both begin
 * loaded. Each ends in guest mode or asleep.
 */
final class AvicSpace implements Space, Explorer.Model {
    static final int VCPUS = 2;
    static final int ENTRY = 0;
    static final int VECTOR = 0x31;
    private static final int SECOND = 0x32;
    /** The pending words of a processor are one: the interrupt of the log is beside the doorbell. */
    private static final int LOG_VECTOR = 1;
    /** The state of the search itself: which updates are done, and whether a list was found corrupt. */
    private static final int MARKS = 2;

    private static final String[] STEPS = {"", "enter", "preempt", "block"};

    private final AvicVariant variant;
    private final ExploredWords words;
    private final AvicHost avic;
    private final AvicVm vm;
    private final GaUnit unit;
    private final AvicIrqfd irqfd;
    private final int ofVm;
    private final int ofUnit;
    private final int marks;
    private final GaUnit.Setup setup;
    private final long[] start;
    private final List<Actor> actors = new ArrayList<>();
    private final int[] operations = new int[VCPUS];
    private int updates;
    private final List<Operation> requests = new ArrayList<>();
    private boolean inhibits;
    private boolean secondVector;

    AvicSpace(AvicVariant variant, boolean caches) {
        this.variant = variant;
        this.setup = new GaUnit.Setup(1, 3, LOG_VECTOR, true, caches);
        this.ofVm = HostCpus.words(VCPUS);
        this.ofUnit = ofVm + AvicVm.words(VCPUS, 1);
        this.marks = ofUnit + GaUnit.words(setup);
        this.words = new ExploredWords(marks + MARKS + Links.words(VCPUS, 1));
        this.start = new long[words.size()];
        words.at(start);
        this.avic = new AvicHost(new HostCpus(words, 0, 0, 1), variant.kernel(), true);
        Links links = new Links(words, marks + MARKS, VCPUS, marks + 1);
        this.vm = new AvicVm(avic, words, ofVm, VCPUS, 1, 1 << 12, variant.lists(links));
        this.unit = new GaUnit(avic, words, ofUnit, setup);
        unit.set(ENTRY, 0x901, 0x77, 0x4100, true);
        this.irqfd = vm.add(variant.irqfd(vm, unit));
        vm.vcpu(0).thread().load(0);
        vm.vcpu(1).thread().load(1);
    }

    private AvicVcpu vcpu(int index) {
        return vm.vcpu(index);
    }

    /** The irqfd is posted to a vCPU already. */
    AvicSpace postedTo(int index) {
        words.at(start);
        irqfd.post(vcpu(index), new InterruptVector(VECTOR));
        return this;
    }

    /** The unit has used the entry before. */
    AvicSpace cached() {
        words.at(start);
        unit.request(ENTRY);
        vcpu(0).takeInterrupts();
        words.set(vcpu(0).at(AvicVcpu.ISR), 0);
        words.and(avic.host().cpu(0).at(HostCpu.PENDING), 0);
        return this;
    }

    /** vCPU 1 sleeps, and a request of it is in the GA log. */
    AvicSpace logged() {
        words.at(start);
        vcpu(1).thread().block(true);
        unit.request(ENTRY);
        return this;
    }

    /** How many things each vCPU does before it runs on. If vCPU 1 does none, it sleeps from the start. */
    AvicSpace operations(int first, int second) {
        operations[0] = first;
        operations[1] = second;
        if (second == 0) {
            words.at(start);
            vcpu(1).thread().block(true);
        }
        return this;
    }

    /** KVM posts the irqfd to a vCPU, as the guest changed its affinity. */
    AvicSpace update(int to) {
        long done = 1L << updates++;
        actors.add(Actor.of("guest " + updates, words.operation("move to vcpu " + to, () -> {
            irqfd.post(vcpu(to), new InterruptVector(VECTOR));
            words.or(marks, done);
        })));
        return this;
    }

    /** KVM posts the irqfd to no vCPU. */
    AvicSpace unset() {
        long done = 1L << updates++;
        actors.add(Actor.of("guest " + updates, words.operation("unpost", () -> {
            irqfd.unpost();
            words.or(marks, done);
        })));
        return this;
    }

    /** AVIC is inhibited, and each guest that runs exits and enters again. */
    AvicSpace inhibit() {
        inhibits = true;
        actors.add(Actor.of("vmm", words.operation("inhibit", () -> vm.inhibit(InhibitReason.IRQWIN))));
        return this;
    }

    /** The inhibit ends. */
    AvicSpace permit() {
        words.at(start);
        vm.inhibit(InhibitReason.IRQWIN);
        vcpu(0).thread().enter();
        vcpu(0).thread().exit();
        inhibits = true;
        actors.add(Actor.of("vmm", words.operation("permit", () -> vm.permit(InhibitReason.IRQWIN))));
        return this;
    }

    /** A device whose unit handles the request in one step. */
    AvicSpace device() {
        requests.add(Operation.atomic("request", words.running(this::request)));
        return this;
    }

    /** As {@link #device}, then a request through another entry of vCPU 0 with another vector. */
    AvicSpace deviceOfTwoVectors() {
        device();
        secondVector = true;
        requests.add(
                words.operation("request another", () -> unit.post(ENTRY, vcpu(0), SECOND, GaIrte.GA_LOG_INTR.mask())));
        return this;
    }

    /** A device that requests when all updates are done. */
    AvicSpace maskedDevice() {
        requests.add(Operation.atomic("request", words.running(this::request))
                .when(state -> state[marks] == (1L << updates) - 1));
        return this;
    }

    /** A device whose unit handles the request in as many steps as it makes accesses. */
    AvicSpace deviceInSteps() {
        requests.add(words.operation("request", this::request));
        return this;
    }

    /** KVM delivers a remapped interrupt to vCPU 0. */
    private void request() {
        if (unit.request(ENTRY) == GaUnit.Outcome.REMAPPED) {
            vcpu(0).deliver(VECTOR);
        }
    }

    @Override
    public Explorer explorer(Memory memory) {
        List<Actor> all = new ArrayList<>();
        for (int i = 0; i < VCPUS; i++) {
            AvicVcpu vcpu = vcpu(i);
            List<Operation> life = new ArrayList<>();
            for (int n = 0; n < operations[i]; n++) {
                life.add(whenAwake(vcpu, () -> anything(vcpu)));
            }
            life.add(whenAwake(vcpu, () -> beLoaded(vcpu)));
            life.add(whenAwake(vcpu, () -> beInGuest(vcpu)));
            all.add(new Actor("vcpu " + i, life, false));
        }
        for (HostCpu cpu : avic.host().cpus()) {
            all.add(Actor.answering(
                    "cpu " + cpu.number(),
                    words.operation("take an interrupt", cpu::takeInterrupt)
                            .when(state -> state[cpu.at(HostCpu.PENDING)] != 0
                                    && state[cpu.at(HostCpu.INTERRUPTS_OFF)] == 0)));
        }
        all.addAll(actors);
        all.add(new Actor("device", requests, false));
        return new Explorer(all, memory, this);
    }

    @Override
    public long[] start() {
        return start.clone();
    }

    private Operation whenAwake(AvicVcpu vcpu, Runnable code) {
        return words.operation("", code).when(state -> state[vcpu.thread().at(VcpuThread.ASLEEP)] == 0);
    }

    private void anything(AvicVcpu vcpu) {
        VcpuThread thread = vcpu.thread();
        if (!thread.isLoaded()) {
            beLoaded(vcpu);
        } else if (isEntered(thread)) {
            words.cpu().does("exit");
            thread.exit();
        } else {
            int step = words.cpu().choose(STEPS.length);
            words.cpu().does(STEPS[step]);
            switch (step) {
                case 1 -> thread.enter();
                case 2 -> thread.preempt();
                case 3 -> thread.block(true);
                default -> {}
            }
        }
    }

    /** Also if a kick told the guest to exit. */
    private boolean isEntered(VcpuThread thread) {
        return words.get(thread.at(VcpuThread.MODE)) != 0;
    }

    private void beLoaded(AvicVcpu vcpu) {
        VcpuThread thread = vcpu.thread();
        if (!thread.isLoaded()) {
            words.cpu().does("load");
            thread.load(vcpu.index());
            if (thread.isBlocking()) {
                thread.unblock();
            }
        }
    }

    private void beInGuest(AvicVcpu vcpu) {
        if (!isEntered(vcpu.thread())) {
            words.cpu().does("enter");
            vcpu.thread().enter();
        }
    }

    /** Exits and enters each guest that was kicked, or each that runs. */
    private void reenter(boolean kicked) {
        for (int i = 0; i < VCPUS; i++) {
            VcpuThread thread = vcpu(i).thread();
            if (thread.isLoaded() && !(kicked && thread.isInGuestMode())) {
                if (isEntered(thread)) {
                    thread.exit();
                }
                thread.enter();
            }
        }
    }

    @Override
    public Optional<String> broken(long[] memory) {
        if (memory[marks + 1] != 0) {
            return Optional.of("the walk of the list of vcpu " + (memory[marks + 1] - 1) + " leaves the list");
        }
        words.at(memory);
        return variant.isOurs() ? vm.brokenRules().stream().findFirst() : Optional.empty();
    }

    /** A guest that was kicked has exited and entered by then. */
    @Override
    public Optional<String> lost(long[] memory) {
        long[] later = memory.clone();
        words.at(later);
        reenter(true);
        Optional<String> left = IntStream.range(0, VCPUS)
                .mapToObj(this::vcpu)
                .filter(AvicVcpu::hasInterrupt)
                .map(vcpu -> "vcpu " + vcpu.index() + (vcpu.thread().isAsleep() ? " sleeps" : " runs")
                        + " with a vector in its IRR")
                .findFirst();
        boolean taken = IntStream.range(0, VCPUS).anyMatch(i -> vcpu(i).isInService(VECTOR))
                && (!secondVector || vcpu(0).isInService(SECOND));
        return left.isPresent() || taken ? left : Optional.of("the vector is lost");
    }

    /** Each guest exits and enters. */
    @Override
    public boolean heals(long[] memory) {
        long[] later = memory.clone();
        words.at(later);
        reenter(false);
        return memory[marks + 1] == 0 && lost(later).isEmpty();
    }

    @Override
    public boolean owns(int actor, int word) {
        if (actor >= VCPUS) {
            return false;
        }
        VcpuThread own = vcpu(actor).thread();
        return word == own.at(VcpuThread.CPU)
                || word == own.at(VcpuThread.MODE) && !inhibits && !variant.isOurs()
                || word == vcpu(actor).at(AvicVcpu.INACTIVE);
    }

    @Override
    public boolean isPrivate(int actor, int word) {
        if (actor >= VCPUS) {
            return false;
        }
        VcpuThread own = vcpu(actor).thread();
        return word == own.at(VcpuThread.BLOCKING)
                || word == own.at(VcpuThread.LOADED)
                || word == vcpu(actor).at(AvicVcpu.TABLE);
    }

    @Override
    public int lockOf(int word) {
        for (HostCpu cpu : avic.host().cpus()) {
            if (word == cpu.at(HostCpu.GUEST) || word == vcpu(cpu.number()).at(AvicVcpu.ISR)) {
                return cpu.at(HostCpu.INTERRUPTS_OFF);
            }
            AvicVcpu vcpu = vcpu(cpu.number());
            if (word == vcpu.at(AvicVcpu.SHADOW) || word == vcpu.list().at(SharedSet.BITS)) {
                return vcpu.list().at(SharedSet.LOCK);
            }
        }
        if (word == unit.at(ENTRY, GaUnit.CACHED_LOW) || word == unit.at(ENTRY, GaUnit.CACHED_HIGH)) {
            return unit.request();
        }
        if (word > unit.at(ENTRY, GaUnit.ATOMIC) && word <= unit.at(ENTRY, GaUnit.GUEST_HIGH)) {
            return isHost(word) ? -1 : unit.at(ENTRY, GaUnit.ATOMIC);
        }
        return word == vm.at(AvicVm.BYPASSES) && variant.hasMediator() ? vm.at(AvicVm.IRQFDS_LOCK) : -1;
    }

    private boolean isHost(int word) {
        return word == unit.at(ENTRY, GaUnit.HOST_LOW) || word == unit.at(ENTRY, GaUnit.HOST_HIGH);
    }

    @Override
    public boolean isConstant(int word) {
        for (HostCpu cpu : avic.host().cpus()) {
            AvicVcpu vcpu = vcpu(cpu.number());
            if (word > cpu.at(HostCpu.PENDING) && word < cpu.at(HostCpu.INTERRUPTS_OFF)
                    || word > vcpu.at(AvicVcpu.IRR) && word < vcpu.at(AvicVcpu.ISR)
                    || word > vcpu.at(AvicVcpu.ISR) && word < vcpu.at(AvicVcpu.SHADOW)
                    || word == vcpu.thread().at(VcpuThread.CPU)
                    || !inhibits
                            && (word == vcpu.at(AvicVcpu.INACTIVE)
                                    || word == vcpu.thread().at(VcpuThread.REQUEST))) {
                return word != vcpu.thread().at(VcpuThread.CPU);
            }
        }
        return isHost(word)
                || word == unit.at(ENTRY, GaUnit.REQUESTER)
                || word == unit.at(ENTRY, GaUnit.UNMANAGED)
                || word == vm.at(AvicVm.INHIBITS) && !inhibits;
    }

    @Override
    public String describe(Access access) {
        return switch (access.kind()) {
            case CHOICE -> "";
            case FENCE -> "full barrier";
            default -> {
                String name = name(access.word());
                boolean plain = access.kind() == Access.Kind.LOAD;
                yield name.isEmpty()
                        ? ""
                        : (plain ? "reads " : "") + name + " = " + value(access.word(), access.after());
            }
        };
    }

    private String name(int word) {
        for (int i = 0; i < VCPUS; i++) {
            AvicVcpu vcpu = vcpu(i);
            if (word == vcpu.at(AvicVcpu.IRR)) {
                return "IRR of vcpu " + i;
            }
            if (word == vcpu.list().at(SharedSet.BITS)) {
                return "list of vcpu " + i;
            }
            if (word == vcpu.thread().at(VcpuThread.ASLEEP)) {
                return "asleep";
            }
            if (word == vcpu.thread().at(VcpuThread.MODE)) {
                return "guest mode";
            }
            if (word == vcpu.at(AvicVcpu.INACTIVE)) {
                return "AVIC off for vcpu " + i;
            }
            if (word == avic.host().cpu(i).at(HostCpu.PENDING)) {
                return "pending at cpu " + i;
            }
        }
        if (word == vm.at(AvicVm.INHIBITS)) {
            return "inhibits";
        }
        return word == unit.at(ENTRY, GaUnit.LOW)
                ? "entry"
                : word == unit.log().at(GaLogRing.TAIL) ? "GA log tail" : "";
    }

    private String value(int word, long value) {
        if (word == unit.at(ENTRY, GaUnit.LOW)) {
            return entryText(value);
        }
        for (int i = 0; i < VCPUS; i++) {
            if (word == vcpu(i).at(AvicVcpu.IRR)) {
                return value == 0 ? "{}" : "{0x31}";
            }
            if (word == vcpu(i).list().at(SharedSet.BITS)) {
                return value == 0 ? "{}" : "{irqfd}";
            }
            if (word == avic.host().cpu(i).at(HostCpu.PENDING)) {
                return value == 0 ? "{}" : value == 1 ? "{doorbell}" : value == 2 ? "{log}" : "{log, doorbell}";
            }
        }
        return Long.toString(value);
    }

    /** The fields of an entry that posting changes. */
    static String entryText(long low) {
        return GaIrte.GUEST_MODE.isSet(low)
                ? "vcpu " + GaTag.VCPU.of(GaIrte.GA_TAG.of(low)) + ", IsRun " + GaIrte.IS_RUN.of(low) + ", Destination "
                        + GaIrte.DESTINATION_LOW.of(low) + ", GALogIntr " + GaIrte.GA_LOG_INTR.of(low)
                : "remapped";
    }
}
