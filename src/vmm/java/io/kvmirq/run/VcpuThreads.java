/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.run;

import io.kvmirq.events.Events;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.undo.ExitAwareWait;
import io.kvmirq.undo.Undo;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A VM's vCPU threads. Each runs its vCPU and passes each exit to the {@link Owner}, until the owner or {@link #stop}
 * ends the guest. Thread names are as in QEMU, such as {@code CPU 0/KVM}.
 *
 * <pre>{@code
 * try (VcpuThreads threads = VcpuThreads.start(vcpus, owner)) {
 *     threads.pause();
 *     vcpus.forEach(Vcpu::moveHere);
 *     String document = VmSnapshot.take(parts).text();
 *     threads.resume();
 *     threads.join();
 * }
 * }</pre>
 *
 * <p>Thread-safe. The owner and a reboot's step are called without a lock. In a vCPU thread, they may call only {@link
 * #stop}, {@link #reboot} and {@link #close} of this class.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="threads"}
 */
public final class VcpuThreads implements AutoCloseable {
    private final List<Runner> runners = new ArrayList<>();
    private final Owner owner;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    // Guarded by the lock
    private boolean paused;
    private boolean stopped;
    private int parked;
    /** The pause's event, null if it is not recorded. */
    private @Nullable Object pause;

    private long pauseBegan;
    private long stopNanos;

    /** The requested reboot, null if there is none. */
    private @Nullable Runnable reboot;

    private boolean isStepping;
    private int reboots;
    private volatile @Nullable Throwable failure;

    /** The VMM's handlers of vCPU exits and failures. Several vCPU threads call these methods at once. */
    public interface Owner {
        /**
         * Handles an exit, except {@link VcpuExit.Reason#INTR}. If this method throws, {@link #failed} is called.
         *
         * @return true to run the vCPU again; false to end the guest with all its vCPUs
         */
        boolean exited(Vcpu vcpu, VcpuExit exit);

        /** Called once, in the vCPU's thread, when a failure of this vCPU ends the guest. All other vCPUs stop too. */
        void failed(Vcpu vcpu, Throwable failure);
    }

    /** Runs a vCPU in its own thread. */
    private final class Runner implements Runnable {
        private final Vcpu vcpu;
        private final Thread thread;
        /** The exit that the owner is handling, null if there is none. */
        private volatile @Nullable String handled;

        private boolean isHere;

        Runner(Vcpu vcpu) {
            this.vcpu = vcpu;
            this.thread = new Thread(this, "CPU " + vcpu.id().number() + "/KVM");
        }

        @Override
        public void run() {
            try {
                boolean complete = true; // KVM completes an access in the next run
                while (mayRun(complete)) {
                    VcpuExit exit = vcpu.run();
                    complete = exit.reason() == VcpuExit.Reason.INTR;
                    if (!complete && !handle(exit)) {
                        stop();
                    }
                }
            } catch (RuntimeException | Error e) {
                fail(e);
            }
        }

        private boolean handle(VcpuExit exit) {
            handled = exit.toString();
            try {
                return owner.exited(vcpu, exit);
            } finally {
                handled = null;
            }
        }

        /** Waits while paused, and runs a reboot's step if all other threads wait. Returns whether to run the vCPU. */
        private boolean mayRun(boolean isComplete) {
            boolean complete = isComplete;
            boolean runs;
            lock.lock();
            try {
                if (shallPark() && complete) {
                    isHere = false; // another thread may take it
                    parked++;
                    changed.signalAll();
                    while (shallPark()) {
                        if (reboot != null && !isStepping && parked == runners.size()) {
                            step(reboot);
                        } else {
                            changed.awaitUninterruptibly();
                        }
                    }
                    parked--;
                }
                runs = !stopped;
                complete |= !shallPark();
            } finally {
                lock.unlock();
            }
            if (runs && !isHere) {
                vcpu.moveHere();
                isHere = true;
            } else if (!complete) {
                vcpu.kick(); // the run completes the access, and ends
            }
            return runs;
        }

        /** Called with the lock, which is released while the step runs. */
        private void step(Runnable step) {
            isStepping = true;
            lock.unlock();
            try {
                runners.forEach(runner -> runner.vcpu.moveHere());
                step.run();
            } catch (RuntimeException | Error e) {
                fail(e);
            } finally {
                lock.lock();
                isStepping = false;
                reboot = null;
                reboots++;
                changed.signalAll();
            }
        }

        private void fail(Throwable e) {
            lock.lock();
            try {
                if (stopped) {
                    return;
                }
                stopped = true; // at once: another vCPU may fail, too
                failure = e;
            } finally {
                lock.unlock();
            }
            stop();
            owner.failed(vcpu, e);
        }
    }

    private VcpuThreads(List<Vcpu> vcpus, Owner owner, boolean paused) {
        this.owner = Objects.requireNonNull(owner, "owner is null");
        this.paused = paused;
        for (Vcpu vcpu : Objects.requireNonNull(vcpus, "vcpus is null")) {
            Objects.requireNonNull(vcpu, "vcpus contains null: pass vCPUs");
            if (runners.stream().anyMatch(runner -> runner.vcpu == vcpu)) {
                throw new IllegalArgumentException(vcpu + " is listed twice: list each vCPU once");
            }
            runners.add(new Runner(vcpu));
        }
        try (Undo undo = new Undo()) {
            runners.forEach(runner -> undo.step(() -> reserve(runner), () -> runner.vcpu.unreserve(runner.thread)));
            undo.add(this);
            runners.forEach(runner -> runner.thread.start());
            undo.keep();
        }
    }

    private static void reserve(Runner runner) {
        if (!runner.vcpu.reserve(runner.thread)) {
            throw new IllegalStateException(
                    runner.vcpu + " already has a thread of another VcpuThreads: close that one first");
        }
    }

    /**
     * Starts a non-daemon thread for each vCPU, which takes over the vCPU with {@link Vcpu#moveHere}. If the system
     * cannot start a thread, the started threads end before this method throws.
     *
     * @throws IllegalStateException if another VcpuThreads has a thread for one of the vCPUs; no thread is started
     */
    public static VcpuThreads start(List<Vcpu> vcpus, Owner owner) {
        return new VcpuThreads(vcpus, owner, false);
    }

    /** Starts threads like {@link #start}, but paused, so that the caller can set registers before {@link #resume}. */
    public static VcpuThreads startPaused(List<Vcpu> vcpus, Owner owner) {
        return new VcpuThreads(vcpus, owner, true);
    }

    /**
     * Stops all vCPUs until {@link #resume}. When {@code pause} returns, no vCPU runs, the owner handles no exit, and
     * each guest access is complete. To use a vCPU then, call {@link Vcpu#moveHere}. If the vCPUs are paused already,
     * this method returns at once. If a {@link #reboot} has begun, it waits for the reboot to end.
     *
     * @throws IllegalStateException if a vCPU's thread calls this method, or the guest has ended; while the JVM exits,
     *     also if a vCPU does not stop within 500 ms
     */
    public void pause() {
        begin();
        lock.lock();
        try {
            ExitAwareWait.uninterruptibly(this::isPausedOrEnded, changed::awaitNanos);
            requirePaused("while the JVM exits");
        } finally {
            lock.unlock();
        }
    }

    /**
     * Pauses like {@link #pause}, but fails if a vCPU does not stop in time. The vCPUs that stopped stay paused.
     *
     * @throws IllegalStateException as {@link #pause()}, or if a vCPU has not stopped in time. The message names the
     *     exit that is still being handled
     */
    @SuppressWarnings("WaitNotInLoop") // until() is the loop
    public void pause(Duration limit) throws InterruptedException {
        long end = System.nanoTime()
                + Objects.requireNonNull(limit, "limit is null").toNanos();
        begin();
        lock.lockInterruptibly();
        try {
            ExitAwareWait.until(
                    () -> isPausedOrEnded() || end - System.nanoTime() <= 0,
                    nanos -> changed.awaitNanos(Math.min(nanos, end - System.nanoTime())));
            requirePaused("after " + limit.toMillis() + " ms");
        } finally {
            lock.unlock();
        }
    }

    /** Called with the lock. */
    private boolean isPausedOrEnded() {
        return isPaused() || stopped && !isStepping;
    }

    /** Called with the lock. */
    private void requirePaused(String when) {
        requireRunning("paused");
        if (!isPaused()) {
            throw new IllegalStateException(late(when));
        }
        stopNanos = stopNanos == 0 ? System.nanoTime() - pauseBegan : stopNanos;
    }

    private boolean shallPark() {
        return (paused || reboot != null) && !stopped;
    }

    private boolean isPaused() {
        return parked == runners.size() && reboot == null;
    }

    private String late(String when) {
        if (isStepping) {
            return "no vCPU is paused " + when + ": the step of a reboot has not returned; let it return, then call"
                    + " pause again";
        }
        for (Runner runner : runners) {
            String exit = runner.handled;
            if (exit != null) {
                return runner.thread.getName() + " is not paused " + when
                        + ": its handler has not returned from the exit " + exit
                        + "; let the handler return, then call pause again";
            }
        }
        return runners.size() - parked + " of " + runners.size() + " vCPUs are not paused " + when
                + ": call pause again";
    }

    private void requireOutside(String call) {
        if (isVcpuThread()) {
            throw new IllegalStateException(Thread.currentThread().getName() + " cannot " + call + " itself: call "
                    + call + " from a thread that runs no vCPU");
        }
    }

    private void begin() {
        requireOutside("pause");
        lock.lock();
        try {
            requireRunning("paused");
            if (!paused) {
                pause = Events.begin(Events.Type.VCPUS_PAUSED);
                pauseBegan = System.nanoTime();
                stopNanos = 0;
            }
            paused = true;
        } finally {
            lock.unlock();
        }
        runners.forEach(runner -> runner.vcpu.kick());
    }

    /** Throws if the guest has ended. Called with the lock. */
    private void requireRunning(String done) {
        if (stopped) {
            throw new IllegalStateException(
                    "the guest has ended" + (failure == null ? "" : ": " + failure) + ": its vCPUs cannot be " + done,
                    failure);
        }
    }

    private void endPause() {
        if (pause != null) {
            Events.end(pause, (long) runners.size(), stopNanos);
        }
        pause = null;
    }

    /**
     * Reboots the guest. Stops all vCPUs as {@link #pause} does, moves them to one vCPU's thread, calls {@code step}
     * there once, and runs the vCPUs again, unless they were paused before. In a vCPU's thread, such as when the owner
     * handles {@link VcpuExit.Reason#SHUTDOWN} or the reset port, this method returns at once. The owner must then
     * return true, and the guest's access is completed before the step. In other threads, this method returns after the
     * step. A call during another reboot joins that reboot, and its own step is not called. During {@link #pause}, a
     * reboot takes over the vCPUs from the thread that owns them, which must call {@link Vcpu#moveHere} again
     * afterwards. Do not call this method in a handler that the step waits for.
     *
     * @param step usually calls {@code VmParts.reset()} and loads the VMM's firmware. If it throws, the guest ends, and
     *     {@link Owner#failed} is called
     * @throws IllegalStateException outside vCPU threads, if the guest has ended, the step fails, or the JVM exits
     */
    public void reboot(Runnable step) {
        Objects.requireNonNull(step, "step is null");
        boolean isVcpu = isVcpuThread();
        int before;
        lock.lock();
        try {
            if (!isVcpu) {
                requireRunning("rebooted");
            }
            reboot = reboot == null ? step : reboot;
            before = reboots;
            changed.signalAll();
        } finally {
            lock.unlock();
        }
        runners.forEach(runner -> runner.vcpu.kick());
        if (!isVcpu) {
            awaitReboot(before);
        }
    }

    private boolean isVcpuThread() {
        return runners.stream().anyMatch(runner -> runner.thread == Thread.currentThread());
    }

    private void awaitReboot(int before) {
        lock.lock();
        try {
            boolean ended = ExitAwareWait.uninterruptibly(
                    () -> reboots != before || stopped && !isStepping, changed::awaitNanos);
            requireRunning("rebooted");
            if (!ended) {
                throw new IllegalStateException("the guest has not rebooted while the JVM exits");
            }
        } finally {
            lock.unlock();
        }
    }

    /** Ends {@link #pause}. Each thread takes over its vCPU again with {@link Vcpu#moveHere}, and runs it. */
    public void resume() {
        lock.lock();
        try {
            paused = false;
            endPause();
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** Ends the guest without waiting. Kicks the vCPUs, and each thread ends after its vCPU's exit. Never fails. */
    public void stop() {
        lock.lock();
        try {
            stopped = true;
            endPause();
            changed.signalAll();
        } finally {
            lock.unlock();
        }
        runners.forEach(runner -> runner.vcpu.kick());
    }

    /** Returns the failure that ended the guest. Empty if the guest runs, or if {@link #stop} or the owner ended it. */
    public Optional<Throwable> failure() {
        return Optional.ofNullable(failure);
    }

    /**
     * Waits until all threads have ended. {@link #failure} then returns the failure that ended the guest, if any. While
     * the JVM exits, this method returns after at most 500 ms.
     *
     * @throws IllegalStateException if a vCPU's thread calls this method
     */
    public void join() throws InterruptedException {
        join(Duration.ofNanos(Long.MAX_VALUE));
    }

    /**
     * Waits until all threads have ended.
     *
     * @return false if a thread still runs after {@code limit}, or after 500 ms while the JVM exits
     * @throws IllegalStateException if a vCPU's thread calls this method
     */
    public boolean join(Duration limit) throws InterruptedException {
        requireOutside("join");
        long end = System.nanoTime()
                + Objects.requireNonNull(limit, "limit is null").toNanos();
        ExitAwareWait.until(
                () -> running().isEmpty() || end - System.nanoTime() <= 0,
                nanos -> joinOne(Math.min(nanos, end - System.nanoTime())));
        return running().isEmpty();
    }

    /** A thread that has not ended. */
    private Optional<Thread> running() {
        return runners.stream()
                .map(runner -> runner.thread)
                .filter(Thread::isAlive)
                .findFirst();
    }

    private void joinOne(long nanos) throws InterruptedException {
        Optional<Thread> running = running();
        if (running.isPresent()) {
            TimeUnit.NANOSECONDS.timedJoin(running.get(), nanos);
        }
    }

    /**
     * Calls {@link #stop}, and waits until all threads have ended. In a vCPU's thread, it does not wait, because two
     * such threads would wait for each other. The vCPUs stay open. Idempotent, never fails. Interrupting the calling
     * thread does not end the wait. While the JVM exits, all waits of this class end after at most 500 ms.
     */
    @Override
    public void close() {
        stop();
        if (!isVcpuThread()) {
            ExitAwareWait.uninterruptibly(() -> running().isEmpty(), this::joinOne);
        }
    }

    @Override
    public String toString() {
        return "threads of " + runners.stream().map(runner -> runner.vcpu).toList();
    }
}
