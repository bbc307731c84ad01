/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import io.kvmirq.fake.file.MessagePlace;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.IntPredicate;

/** A vCPU that the processors of a host run. {@code KVM_RUN} or a test loads it, runs it and puts it to sleep. */
public abstract class PostingVcpu {
    private static final String NOT_REQUESTED = "its vCPU took the request but no LAPIC has it";

    private final PostingMachine host;
    private final int index;
    private final VcpuThread thread;
    /** Moves vectors from the model's IRR, and on AMD its ISR, to the LAPIC. */
    private final Consumer<SharedWords> take;

    private final VirtualLapic lapic;
    /** The posted messages that are not in the LAPIC's IRR yet. */
    private final MessagePlace posted;

    private final TracedThread traced;

    private final SharedWords taken = SharedWords.of(new long[PiDescriptor.PIR_WORDS]);
    private boolean inRun;
    /** Whether the guest had interrupts on when the vCPU last blocked. */
    private boolean interruptible;

    PostingVcpu(PostingMachine host, int index, VcpuThread thread, Consumer<SharedWords> take, VirtualLapic lapic) {
        this.host = host;
        this.index = index;
        this.thread = thread;
        this.take = take;
        this.lapic = lapic;
        this.traced = new TracedThread(host.tracepoints(), host instanceof VtdMachine);
        this.posted = new MessagePlace(
                this::isPosted,
                vector -> isPosted(vector) && (isWaitingForInterrupts() || isStuck(vector)),
                vector -> "the posted requests of " + id() + ", " + new InterruptVector(vector));
    }

    // The vendor's part

    /** Moves posted requests to the IRR, as KVM does. */
    abstract void sync();

    /** Discards all requests except those that {@code kept} accepts, because KVM_SET_LAPIC replaces the IRR. */
    public final void discard(IntPredicate kept) {
        forget();
        for (int vector = posted.next(0); vector >= 0; vector = posted.next(vector + 1)) {
            if (kept.test(vector)) {
                host.ledger().pick(posted, vector);
                lapic.request(vector);
                host.ledger().settle(NOT_REQUESTED);
            } else {
                host.ledger().lose(posted, vector, "KVM_SET_LAPIC cleared a request that came after KVM_GET_LAPIC");
            }
        }
    }

    abstract void forget();

    /** INIT clears all requests. */
    public final void reset() {
        forget();
        host.ledger().endAll(posted, "INIT reset its LAPIC");
    }

    /** Posts a vector that software requests. Returns false if software must set it in the LAPIC's IRR instead. */
    public boolean deliver(int vector) {
        return false;
    }

    /** {@code apicv_active}: whether the processor delivers the guest's interrupts. */
    public abstract boolean isActive();

    /** The vCPU is about to enter the guest. */
    void entering() {}

    /** Whether the hardware has a request that is not in the LAPIC's IRR. */
    abstract boolean isPosted(int vector);

    /** Whether a posted request would stay forever: no later step of the vCPU, KVM or hardware would take it. */
    abstract boolean isStuck(int vector);

    /** Returns the vCPU's posted-interrupt descriptor; empty on AMD. */
    public Optional<PostedInterruptDescriptor> descriptor() {
        return Optional.empty();
    }

    /** Returns the processor whose wake-up list has the vCPU; empty if no list has it, and on AMD. */
    public OptionalInt wakeupList() {
        return OptionalInt.empty();
    }

    /** Returns KVM's copy of the vCPU's entry in AVIC's physical APIC ID table; empty on Intel. */
    public Optional<Long> physicalEntry() {
        return Optional.empty();
    }

    /** Returns how many irqfds are on the list of those that post to the vCPU; empty on Intel. */
    public OptionalInt listed() {
        return OptionalInt.empty();
    }

    /** Returns the rules of the AVIC or VT-d model that are broken; empty unless the fake has a bug. */
    public abstract List<String> brokenRules();

    // Views

    public final int tid() {
        return traced.tid();
    }

    public final VcpuId id() {
        return new VcpuId(lapic.vcpuId());
    }

    public final boolean isInRun() {
        return inRun;
    }

    /** Whether the guest runs, even if a kick has requested its exit. */
    public final boolean isInGuest() {
        return thread.isGuest();
    }

    public final boolean isAsleep() {
        return thread.isAsleep();
    }

    /** Whether the vCPU sleeps in KVM with interrupts enabled: a request that its LAPIC would deliver must wake it. */
    public final boolean isWaitingForInterrupts() {
        return thread.isAsleep() && interruptible;
    }

    public final boolean isLoaded() {
        return thread.isLoaded();
    }

    public final OptionalInt cpu() {
        Optional<HostCpu> last = thread.last();
        return last.isPresent() ? OptionalInt.of(last.get().number()) : OptionalInt.empty();
    }

    final boolean isLoadedOn(int cpu) {
        return thread.isLoaded() && cpu().orElse(-1) == cpu;
    }

    public final boolean isRequested(int vector) {
        return isPosted(vector) || lapic.isRequested(vector);
    }

    // Steps

    /**
     * Loads the vCPU on the processor of the thread that creates it, and puts it ({@code kvm_arch_vcpu_postcreate()}). The
     * vCPU's own thread, which a trace shows, has not run.
     */
    final void create() {
        thread.load(somewhere());
        thread.leave();
    }

    public final void load(int cpu) {
        host.cpus().cpu(cpu);
        exit();
        if (!isLoadedOn(cpu)) {
            come(cpu);
        }
        traced.runs();
    }

    private void come(int cpu) {
        preempt();
        PostingVcpu other = host.on(cpu);
        if (other != null && other != this) {
            other.preempt();
        }
        thread.wake();
        thread.load(cpu);
        host.loads(this, cpu);
        traced.comes(cpu);
        if (thread.isBlocking()) {
            thread.unblock();
        }
        host.settle();
    }

    /** Loads the vCPU on a processor that the scheduler chooses, unless it is loaded. */
    public final void load() {
        if (!thread.isLoaded()) {
            load(somewhere());
        }
    }

    private int somewhere() {
        return host.idle(cpu().orElse(index % host.cpus().cpus().size()));
    }

    /** Enters the guest: the guest can take all requests that were made before. */
    public final void enterGuest() {
        if (!thread.isInGuestMode()) {
            exit();
            load();
            entering();
            while (!thread.enter()) {
                host.settle();
            }
            traced.enters(lapic.vcpuId());
        }
        host.settle();
        drain();
    }

    private void exit() {
        if (isInGuest()) {
            thread.exit();
        }
    }

    /** Preempts the vCPU if it is loaded. A sleeping vCPU continues to sleep. */
    public final void preempt() {
        if (thread.isLoaded()) {
            exit();
            thread.preempt();
            traced.isPreempted();
            host.settle();
        }
    }

    /** Returns to user space. */
    private void leave() {
        if (thread.isLoaded()) {
            exit();
            thread.leave();
            traced.leaves();
            host.settle();
        }
    }

    /** @param interruptsOn whether the guest has interrupts enabled */
    public final boolean block(boolean interruptsOn) {
        exit();
        load();
        if (interruptsOn) {
            sync(); // kvm_cpu_has_interrupt(), which only a vCPU with interrupts enabled asks
        }
        drain();
        traced.halts();
        boolean blocks = !(interruptsOn && lapic.hasInterrupt());
        if (blocks) {
            interruptible = interruptsOn;
        }
        boolean sleeps = blocks && thread.block(interruptsOn);
        if (sleeps) {
            traced.sleeps();
        } else {
            traced.awake();
        }
        host.settle();
        return sleeps && thread.isAsleep();
    }

    /** Halts the guest in KVM_RUN until the vCPU is woken or {@code signalled} is true. */
    public final void halt(boolean interruptsOn, BooleanSupplier signalled) {
        boolean asleep = block(interruptsOn);
        while (asleep && !signalled.getAsBoolean()) {
            host.time().awaitChange();
            asleep = thread.isAsleep();
        }
    }

    /** Wakes the vCPU because software requested a vector. */
    public final void wake() {
        thread.wake();
    }

    /** Notes whether a thread is in KVM_RUN for the vCPU. */
    public final void setInRun(boolean on) {
        inRun = on;
        if (!on) {
            leave();
        }
    }

    /** Loads the vCPU as an ioctl does that reads its LAPIC ({@code vcpu_load()}). */
    public final void look() {
        boolean loads = !thread.isLoaded() && !thread.isAsleep();
        if (loads) {
            come(somewhere());
        }
        sync();
        drain();
        if (loads) {
            leave();
        }
    }

    /** Notes that hardware posted the message in the ledger's hand. */
    final void posted(int vector) {
        host.ledger().arrivals().add(lapic.vcpuId(), vector);
        if (!host.ledger().putToAnother(posted, vector)) {
            host.ledger().put(posted, vector);
        }
    }

    private void drain() {
        take.accept(taken);
        for (int i = 0; i < PiDescriptor.PIR_WORDS; i++) {
            for (long bits = taken.get(i) == 0 ? 0 : taken.swap(i, 0); bits != 0; bits &= bits - 1) {
                int vector = i * Long.SIZE + Long.numberOfTrailingZeros(bits);
                host.ledger().pick(posted, vector);
                lapic.request(vector);
                host.ledger().settle(NOT_REQUESTED);
            }
        }
    }

    public final int acknowledge() {
        drain();
        return lapic.acknowledge();
    }

    public final void end() {
        lapic.endOfInterrupt();
    }

    /** Ends posting to the vCPU, because the VM is closed. */
    final void closeVm() {
        host.ledger().endAll(posted, "its VM was closed");
    }

    /** Removes the vCPU after its last descriptor is closed. */
    public final void close() {
        preempt();
        host.remove(this);
    }
}
