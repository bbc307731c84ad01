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

/** A vCPU on its way through the processors. {@code KVM_RUN}, or a test, moves it. */
public abstract class PostingVcpu {
    private static final String NOT_REQUESTED = "its vCPU took the request and no LAPIC has it";

    private final PostingMachine host;
    private final int index;
    private final VcpuThread thread;
    /** Moves the vectors that the model has in its IRR, and on AMD in its ISR. */
    private final Consumer<SharedWords> take;

    private final VirtualLapic lapic;
    /** The messages that hardware has posted, until they are in IRR of the LAPIC. */
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

    /** KVM looks for requests that are not in the IRR. */
    abstract void sync();

    /** KVM_SET_LAPIC replaces the IRR: requests are void, except {@code kept}. */
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

    /** Whether the hardware has a request that is not in the LAPIC's IRR. */
    abstract boolean isPosted(int vector);

    /** Whether no later step of the vCPU, of KVM or of hardware takes a posted request, as the state is at rest. */
    abstract boolean isStuck(int vector);

    /** The descriptor, on Intel. */
    public Optional<PostedInterruptDescriptor> descriptor() {
        return Optional.empty();
    }

    /** The processor on whose wake-up list it is, on Intel. */
    public OptionalInt wakeupList() {
        return OptionalInt.empty();
    }

    /** The entry of the table of physical APIC ids, on AMD, as KVM has it. */
    public Optional<Long> physicalEntry() {
        return Optional.empty();
    }

    /** How many irqfds are on its list, on AMD. */
    public OptionalInt listed() {
        return OptionalInt.empty();
    }

    /** The rules of the model that are broken: none, unless the fake is wrong. */
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

    public final boolean isInGuest() {
        return thread.isInGuestMode();
    }

    public final boolean isAsleep() {
        return thread.isAsleep();
    }

    /** Whether it sleeps in KVM with interrupts on: a request that its LAPIC would deliver has to wake it. */
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

    /** As {@link #load}, on a processor that the scheduler chooses, if it is on none. */
    public final void load() {
        if (!thread.isLoaded()) {
            load(somewhere());
        }
    }

    private int somewhere() {
        return host.idle(cpu().orElse(index % host.cpus().cpus().size()));
    }

    /** It is in the guest, and the guest has seen its requests. */
    public final void enterGuest() {
        if (!thread.isInGuestMode()) {
            exit();
            load();
            while (!thread.enter()) {
                host.settle();
            }
        }
        host.settle();
        drain();
    }

    private void exit() {
        boolean inGuest = thread.last().filter(thread::isGuestOf).isPresent();
        if (inGuest) {
            thread.exit();
        }
    }

    /** A sleeper sleeps on. */
    public final void preempt() {
        if (thread.isLoaded()) {
            exit();
            thread.preempt();
            traced.isPreempted();
            host.settle();
        }
    }

    /** The thread returns to user space. */
    private void leave() {
        if (thread.isLoaded()) {
            exit();
            thread.leave();
            traced.leaves();
            host.settle();
        }
    }

    /** @param interruptsOn whether the guest has interrupts on */
    public final boolean block(boolean interruptsOn) {
        exit();
        load();
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

    /** In KVM_RUN: its guest halts until it is woken, or {@code signalled} ends the run. */
    public final void halt(boolean interruptsOn, BooleanSupplier signalled) {
        boolean asleep = block(interruptsOn);
        while (asleep && !signalled.getAsBoolean()) {
            host.time().awaitChange();
            asleep = thread.isAsleep();
        }
    }

    /** Software has a request for it. */
    public final void wake() {
        thread.wake();
    }

    /** KVM_RUN begins, or ends. */
    public final void setInRun(boolean on) {
        inRun = on;
        if (!on) {
            leave();
        }
    }

    /** KVM looks at the LAPIC in a call of the vCPU, which loads it ({@code vcpu_load()}). */
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

    /** Hardware has posted the message that is in the hand of the ledger. */
    final void posted(int vector) {
        host.ledger().delivered(lapic.vcpuId(), vector);
        host.ledger().put(posted, vector);
    }

    private void drain() {
        take.accept(taken);
        for (int i = 0; i < PiDescriptor.PIR_WORDS; i++) {
            if (taken.get(i) != 0) {
                for (long bits = taken.swap(i, 0); bits != 0; bits &= bits - 1) {
                    int vector = i * Long.SIZE + Long.numberOfTrailingZeros(bits);
                    host.ledger().pick(posted, vector);
                    lapic.request(vector);
                    host.ledger().settle(NOT_REQUESTED);
                }
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

    /** The VM is closed: nothing is posted to it. */
    final void closeVm() {
        host.ledger().endAll(posted, "its VM was closed");
    }

    /** The last descriptor of the vCPU is closed. */
    public final void close() {
        preempt();
        host.remove(this);
    }
}
