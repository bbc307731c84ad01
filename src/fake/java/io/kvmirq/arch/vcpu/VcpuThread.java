/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vcpu;

import io.kvmirq.arch.SharedWords;
import java.util.Objects;
import java.util.Optional;

/**
 * A model of a vCPU thread in KVM, with its CPU, mode, sleep and requests. The model starts no Java thread. Only one
 * Java thread at a time may call {@link #load}, {@link #enter}, {@link #reenter}, {@link #exit}, {@link #preempt},
 * {@link #leave}, {@link #startBlock}, {@link #sleep}, {@link #block} and {@link #unblock}. Any thread may call any
 * other method.
 *
 * <p>A vCPU blocks from {@link #startBlock} until {@link #unblock} is called or {@link #sleep} returns false. A
 * blocking vCPU can be preempted and loaded any number of times. After a sleep, a wake and a load, call {@link
 * #unblock} before you enter the guest.
 *
 * <p>These methods throw IllegalStateException in a wrong state. The thread must be in guest mode for exit and reenter,
 * and outside guest mode for all others. It must be loaded for all except load. The vCPU must not block for enter,
 * leave and startBlock, and must block for sleep and unblock.
 */
public final class VcpuThread {
    /** The word with the mode: outside the guest, in the guest, or in the guest with an exit requested by a kick. */
    public static final int MODE = 0;

    /** The word with the number of the thread's current or last CPU; -1 before the first load. */
    public static final int CPU = 1;

    /** The word that is 1 while the thread sleeps, otherwise 0. */
    public static final int ASLEEP = 2;

    /** The word that is 1 while the thread is on a CPU, otherwise 0. */
    public static final int LOADED = 3;

    /** The word that records whether the vCPU blocks. */
    public static final int BLOCKING = 4;

    /** The request word, which {@link #request} sets and each entry clears. */
    public static final int REQUEST = 5;

    /** The number of shared words that hold a thread's state. */
    public static final int WORDS = 6;

    private static final long OUTSIDE_GUEST_MODE = 0;
    private static final long IN_GUEST_MODE = 1;
    private static final long EXITING_GUEST_MODE = 2;
    private static final int NONE = -1;

    private final HostCpus host;
    private final int index;
    private final SharedWords words;
    private final int base;
    private final VcpuHooks hooks;
    private final int number;

    /** Creates an unloaded thread of vCPU {@code index}. Its {@link #WORDS} words from {@code base} on must be 0. */
    public VcpuThread(HostCpus host, int index, SharedWords words, int base, VcpuHooks hooks) {
        Objects.requireNonNull(hooks, "hooks is null");
        this.host = host;
        this.index = index;
        this.words = words;
        this.base = base;
        this.hooks = hooks;
        this.number = host.addThread();
        words.set(at(CPU), NONE);
    }

    /** Returns the number of the thread on its host, from 1. */
    public int number() {
        return number;
    }

    /** Returns the index of a word, such as {@link #MODE}, in the shared words. */
    public int at(int word) {
        return base + word;
    }

    /**
     * Loads the thread on the CPU with this number. A blocking vCPU continues to block. Throws IllegalArgumentException
     * if the CPU does not exist, and IllegalStateException if the thread sleeps or is on another CPU.
     */
    public void load(int cpu) {
        HostCpu here = host.cpu(cpu);
        checkOutsideGuest();
        if (isLoaded() && !last().equals(Optional.of(here))) {
            throw new IllegalStateException(
                    "vCPU " + index + " is loaded on processor " + words.get(at(CPU)) + ": preempt it there first");
        }
        if (isAsleep()) {
            throw new IllegalStateException("vCPU " + index + " sleeps: wake it first");
        }
        hooks.load(here, last());
        words.set(at(CPU), cpu);
        words.set(at(LOADED), 1);
    }

    /**
     * Enters the guest. This method clears the request word, and then announces guest mode. The entry is refused if a
     * {@link #request} comes after the clearing, or a {@link #kick} after the announcement ({@code
     * kvm_vcpu_exit_request}). The thread may then retry. The package's Javadoc explains the barriers.
     *
     * @return whether the guest runs
     * @throws IllegalStateException if the CPU runs another guest
     */
    public boolean enter() {
        HostCpu cpu = hereNotBlocking();
        cpu.interruptsOff();
        if (cpu.runsGuest()) {
            cpu.interruptsOn();
            throw new IllegalStateException("processor " + cpu.number() + " runs another guest: vCPU " + index
                    + " can enter when that one has exited");
        }
        if (isRequested()) {
            words.and(at(REQUEST), 0);
        }
        hooks.prepare(cpu);
        words.set(at(MODE), IN_GUEST_MODE);
        // Partner: the locked access of request(), before kick() reads the mode.
        words.fence();
        hooks.entering(cpu);
        boolean enters = isInGuestMode() && !isRequested();
        if (enters) {
            cpu.runs(number);
            hooks.entered(cpu);
        } else {
            words.set(at(MODE), OUTSIDE_GUEST_MODE);
            hooks.exited(cpu);
        }
        cpu.interruptsOn();
        return enters;
    }

    /**
     * Models a fast-path exit ({@code vcpu_enter_guest}), after which the thread does a little work and reenters the
     * guest. The mode stays guest mode, and interrupts stay off. The thread calls {@link VcpuHooks#entering}, but not
     * {@link VcpuHooks#prepare}. If a request or a kick is pending, the guest exits.
     *
     * @param fastPath the thread's work between exit and entry
     * @return true if the guest continues to run; false if it has exited
     */
    public boolean reenter(Runnable fastPath) {
        HostCpu cpu = hereInGuest();
        cpu.interruptsOff();
        fastPath.run();
        hooks.entering(cpu);
        boolean again = isInGuestMode() && !isRequested();
        if (again) {
            hooks.entered(cpu);
        } else {
            leaveGuest(cpu);
        }
        cpu.interruptsOn();
        return again;
    }

    private void leaveGuest(HostCpu cpu) {
        cpu.runsNoMore(number);
        words.set(at(MODE), OUTSIDE_GUEST_MODE);
        hooks.exited(cpu);
    }

    /** The guest exits. */
    public void exit() {
        HostCpu cpu = hereInGuest();
        cpu.interruptsOff();
        leaveGuest(cpu);
        cpu.interruptsOn();
    }

    /** The host preempts the thread, which must be awake. {@link #load} puts the thread on a CPU again. */
    public void preempt() {
        HostCpu cpu = hereOutsideGuest();
        words.set(at(LOADED), 0);
        hooks.preempted(cpu);
    }

    /** Models the return of {@code KVM_RUN} to user space. {@link #load} puts the thread on a CPU again. */
    public void leave() {
        HostCpu cpu = hereNotBlocking();
        words.set(at(LOADED), 0);
        hooks.left(cpu);
    }

    /**
     * Models HLT in the guest. Calls {@link #startBlock} and {@link #sleep}, and returns the result of {@link #sleep}.
     */
    public boolean block(boolean interruptible) {
        startBlock();
        return sleep(interruptible);
    }

    /** Begins to block the vCPU. The thread stays on its CPU until {@link #sleep}. */
    public void startBlock() {
        HostCpu cpu = hereNotBlocking();
        hooks.blocking(cpu);
        words.set(at(BLOCKING), 1);
    }

    /**
     * Puts a blocking vCPU's thread to sleep. If the thread stays awake, the vCPU stops blocking. This method may be
     * called again after a wake and a load. It announces sleep before it calls {@link VcpuHooks#hasInterrupt}.
     *
     * @param interruptible whether the guest has interrupts enabled, so that an interrupt would end the sleep
     * @return true if the thread sleeps, which lasts until {@link #isAsleep} is false; false if the vCPU has an
     *     interrupt or was woken
     */
    public boolean sleep(boolean interruptible) {
        HostCpu cpu = hereBlocking();
        words.swap(at(ASLEEP), 1);
        boolean asleep = false;
        if (interruptible && hooks.hasInterrupt()) {
            words.set(at(ASLEEP), 0);
        } else {
            cpu.interruptsOff();
            asleep = isAsleep();
            if (asleep) {
                words.set(at(LOADED), 0);
                hooks.asleep(cpu, interruptible);
            }
            cpu.interruptsOn();
        }
        if (!asleep) {
            unblock();
        }
        return asleep;
    }

    /** Ends blocking. Call this when the thread is loaded after its sleep. */
    public void unblock() {
        HostCpu cpu = hereBlocking();
        words.set(at(BLOCKING), 0);
        hooks.unblocked(cpu);
    }

    /** Ends the sleep, if the thread sleeps. */
    public void wake() {
        words.swap(at(ASLEEP), 0);
    }

    /**
     * Makes the thread prepare again before the guest runs. An {@link #enter} in progress is refused, unless its {@link
     * VcpuHooks#prepare} sees the changes that the caller made before the request. If the guest may be running already,
     * call {@link #kick} after {@code request} ({@code kvm_make_request}, {@code kvm_vcpu_kick}).
     */
    public void request() {
        words.or(at(REQUEST), 1);
    }

    /**
     * Wakes the thread if it sleeps, and requests an exit if its guest runs. A kick does nothing to a thread that is
     * awake and outside guest mode. If the thread is about to enter the guest, {@link VcpuHooks#entering} sees the
     * caller's earlier changes, but {@link VcpuHooks#prepare} may have run before these changes. If {@code prepare}
     * must see a change, call {@link #request} before the kick. The model sends no IPI, so the guest runs until {@link
     * #exit} is called.
     *
     * @return whether this kick requested an exit; false outside guest mode, and after an earlier kick
     */
    public boolean kick() {
        wake();
        return words.replace(at(MODE), IN_GUEST_MODE, EXITING_GUEST_MODE);
    }

    /** Sends an interrupt to the thread's last CPU. Throws IllegalStateException before a load. Does not allocate. */
    public void interrupt(int vector) {
        int cpu = (int) words.get(at(CPU));
        if (cpu == NONE) {
            throw notLoaded();
        }
        host.cpu(cpu).interrupt(vector);
    }

    /** Whether the thread has announced guest mode, and no kick has followed. */
    public boolean isInGuestMode() {
        return words.get(at(MODE)) == IN_GUEST_MODE;
    }

    /** Whether the thread sleeps, or has announced that it will sleep. */
    public boolean isAsleep() {
        return words.get(at(ASLEEP)) != 0;
    }

    /** Whether the vCPU blocks ({@code kvm_vcpu_is_blocking}). */
    public boolean isBlocking() {
        return words.get(at(BLOCKING)) != 0;
    }

    /** Whether the vCPU's guest runs on the CPU, even if a kick has requested its exit. Does not allocate. */
    public boolean isGuestOf(HostCpu cpu) {
        return cpu.runsGuestOf(number);
    }

    /** Whether the vCPU's guest runs, even if a kick has requested its exit. Does not allocate. */
    public boolean isGuest() {
        int cpu = (int) words.get(at(CPU));
        return cpu != NONE && isGuestOf(host.cpu(cpu));
    }

    /** Whether the thread is on a CPU. */
    public boolean isLoaded() {
        return words.get(at(LOADED)) != 0;
    }

    /** Returns the thread's current or last CPU. Empty before the first load. */
    public Optional<HostCpu> last() {
        int cpu = (int) words.get(at(CPU));
        return cpu == NONE ? Optional.empty() : Optional.of(host.cpu(cpu));
    }

    private boolean isRequested() {
        return words.get(at(REQUEST)) != 0;
    }

    private boolean isOutsideGuest() {
        return words.get(at(MODE)) == OUTSIDE_GUEST_MODE;
    }

    private HostCpu here() {
        if (!isLoaded()) {
            throw notLoaded();
        }
        return host.cpu((int) words.get(at(CPU)));
    }

    private IllegalStateException notLoaded() {
        return new IllegalStateException("vCPU " + index + " is not loaded: load it onto a processor first");
    }

    private HostCpu hereInGuest() {
        HostCpu cpu = here();
        if (isOutsideGuest()) {
            throw new IllegalStateException("vCPU " + index + " is not in guest mode: it has to enter first");
        }
        return cpu;
    }

    private HostCpu hereBlocking() {
        HostCpu cpu = hereOutsideGuest();
        if (!isBlocking()) {
            throw new IllegalStateException("vCPU " + index + " does not block: startBlock comes first");
        }
        return cpu;
    }

    private HostCpu hereNotBlocking() {
        HostCpu cpu = hereOutsideGuest();
        if (isBlocking()) {
            throw new IllegalStateException("vCPU " + index + " blocks: it has to unblock first");
        }
        return cpu;
    }

    private HostCpu hereOutsideGuest() {
        checkOutsideGuest();
        return here();
    }

    private void checkOutsideGuest() {
        if (!isOutsideGuest()) {
            throw new IllegalStateException("vCPU " + index + " is in guest mode: it has to exit first");
        }
    }
}
