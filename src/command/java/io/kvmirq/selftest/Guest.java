/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.Gsi;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A guest with one vCPU that answers interrupts. {@link #boot} starts the vCPU's thread and {@link #close} joins it.
 *
 * <p>Any thread may call {@link #close}, also while a scenario runs (Ctrl-C). The other methods are for one thread.
 */
final class Guest implements AutoCloseable {
    /** The limit for a step of the guest. A working guest needs milliseconds. */
    private static final long PATIENCE_SECONDS = 10;

    private final Board board;
    private final CountDownLatch ready = new CountDownLatch(1);
    private final CountDownLatch released = new CountDownLatch(1);
    private final Thread thread = new Thread(this::live, "kvmirq-selftest-vcpu-0");
    private volatile @Nullable Vcpu vcpu;
    private volatile @Nullable FutureTask<Boolean> look;
    private volatile @Nullable RuntimeException death;
    private volatile boolean stopping;

    Guest(Kernel kernel, Irqchip irqchip) {
        board = irqchip == Irqchip.VGIC ? new ArmBoard(kernel) : new X86Board(kernel, irqchip);
        thread.setDaemon(true);
    }

    Board board() {
        return board;
    }

    Vm vm() {
        return board.vm();
    }

    /** Installs the handler of an interrupt and routes a new GSI to it. */
    Gsi route(int interrupt) {
        board.handle(interrupt);
        return vm().routes().change(edit -> board.add(edit, interrupt));
    }

    /** Routes a GSI to another interrupt, or again after its route was removed. */
    void reroute(Gsi gsi, int interrupt) {
        vm().routes().edit(edit -> board.replace(edit, gsi, interrupt));
    }

    void handle(int interrupt) {
        board.handle(interrupt);
    }

    int handled(int interrupt) {
        return board.handled(interrupt);
    }

    /** Runs the guest until it is set up. Then it waits, with interrupts disabled, for {@link #release}. */
    void boot() {
        synchronized (this) {
            if (stopping) {
                throw new SelftestFailedException("the self-test was stopped");
            }
            thread.start();
        }
        await(ready, "set its interrupts up");
        requireAlive();
    }

    void release() {
        released.countDown();
    }

    /** Throws the reason if the vCPU has ended. */
    void requireAlive() {
        @Nullable RuntimeException why = death;
        if (why != null) {
            throw why;
        }
    }

    /** Whether the vCPU has ended where it should not. Allocates nothing. */
    boolean isDead() {
        return death != null;
    }

    void join() throws InterruptedException {
        thread.join();
    }

    private void live() {
        try (Vcpu mine = board.vcpu()) {
            vcpu = mine;
            run(mine);
        } catch (Throwable e) {
            death = SelftestFailure.ofThread("the vCPU ended", e);
        } finally {
            ready.countDown();
        }
    }

    /** Partner of {@link #stop}, which sets the flag, then ends the run: also one that has not begun. */
    private void run(Vcpu mine) {
        while (!stopping) {
            VcpuExit exit = mine.run();
            if (exit.reason() == VcpuExit.Reason.INTR) {
                @Nullable FutureTask<Boolean> asked = look;
                look = null;
                if (asked != null) {
                    asked.run();
                }
                continue;
            }
            if (board.isStopped(exit)) {
                return;
            }
            if (!board.isReady(exit)) {
                death = new SelftestFailedException(
                        board.isAnswer(exit)
                                ? "the guest wrote to " + board.words().answerPlace()
                                        + ", which has no ioeventfd: was it closed too early?"
                                : board.strangeExit(exit));
                return;
            }
            ready.countDown();
            await(released, "be released");
        }
    }

    private static void await(CountDownLatch latch, String what) {
        try {
            if (!latch.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                throw new SelftestFailedException("the guest did not " + what + " within " + PATIENCE_SECONDS + " s");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new SelftestFailedException("interrupted while the guest should " + what);
        }
    }

    /** Looks at the machine, if need be while its guest, which was released, does not run for a moment. */
    boolean seen(BooleanSupplier state) {
        if (board.isReadableWhileRunning()) {
            return state.getAsBoolean();
        }
        FutureTask<Boolean> task = new FutureTask<>(state::getAsBoolean);
        look = task;
        Objects.requireNonNull(vcpu, "it has not booted").kick();
        try {
            return task.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new SelftestFailedException("interrupted while the guest should stop for a moment");
        } catch (TimeoutException e) {
            requireAlive();
            throw new SelftestFailedException("the guest did not stop within " + PATIENCE_SECONDS + " s");
        } catch (ExecutionException e) {
            throw SelftestFailure.ofThread(
                    "reading the interrupt controller failed", Objects.requireNonNullElse(e.getCause(), e));
        }
    }

    /** Ends the vCPU and joins its thread. @return whether it ended. Idempotent, never throws */
    private boolean stop() {
        synchronized (this) {
            stopping = true;
            if (thread.getState() == Thread.State.NEW) {
                return true;
            }
        }
        boolean wasReleased = released.getCount() == 0;
        released.countDown();
        @Nullable Vcpu running = vcpu;
        try {
            if (wasReleased && running != null) {
                board.stop(running);
            }
            thread.join(TimeUnit.SECONDS.toMillis(PATIENCE_SECONDS));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            // Another thread has closed the VM and joins the vCPU thread.
        }
        return !thread.isAlive();
    }

    /**
     * Stops the vCPU, then closes memory and VM. If the vCPU does not stop, they stay open until the process ends.
     * Idempotent, never throws.
     */
    @Override
    public void close() {
        if (stop()) {
            board.close();
        }
    }
}
