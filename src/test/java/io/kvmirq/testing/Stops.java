/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.junit.Actors;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Code of {@link Actors} that stops within a call, so that other actors go on there. Each task has a thread, and one
 * thread runs at a time. A task that waits for a stopped one goes on when that one has left its call.
 */
public final class Stops implements AutoCloseable {
    private final List<Task> tasks = new ArrayList<>();
    private volatile boolean closed;

    /** Code that stops. A step of it goes on until the next stop. */
    public final class Task {
        private final Thread thread;
        private final Semaphore next = new Semaphore(0);
        private volatile boolean stopped;
        /** Whether it may go on from its stop and does not know yet. */
        private volatile boolean wakes;

        private volatile boolean isWithin;
        private volatile boolean ended;
        private volatile @Nullable Throwable failure;

        private Task(String name, Runnable body) {
            thread = new Thread(
                    () -> {
                        try {
                            body.run();
                        } catch (Throwable e) {
                            failure = e;
                        }
                        ended = true;
                    },
                    name);
            thread.setDaemon(true);
        }

        public boolean hasStarted() {
            return thread.getState() != Thread.State.NEW;
        }

        public boolean hasEnded() {
            return ended;
        }

        /** Steps of the task; those after its end do nothing. */
        public Actors.Step[] steps(int count) {
            return steps(count, () -> true);
        }

        /** Steps of which each waits until the task may go on. */
        public Actors.Step[] steps(int count, BooleanSupplier ready) {
            BooleanSupplier free = () -> ended || !hasStarted() || stopped;
            return IntStream.range(0, count)
                    .mapToObj(i -> Actors.when(() -> free.getAsBoolean() && ready.getAsBoolean(), this::goOn))
                    .toArray(Actors.Step[]::new);
        }

        private void goOn() {
            if (!hasStarted()) {
                thread.start();
            } else if (!ended) {
                wakes = true;
                stopped = false;
                next.release();
            }
            tasks.forEach(Task::awaitStop);
            if (failure instanceof Error error) {
                throw error;
            }
            if (failure instanceof RuntimeException exception) {
                throw exception;
            }
        }

        private void awaitStop() {
            while (hasStarted() && !ended && !stopped && (wakes || !isWaiting() || !isOneWithin())) {
                Thread.onSpinWait();
            }
        }

        private boolean isWaiting() {
            Thread.State now = thread.getState();
            return now == Thread.State.WAITING || now == Thread.State.TIMED_WAITING;
        }

        private boolean isOneWithin() {
            return tasks.stream().anyMatch(task -> task.stopped && task.isWithin);
        }

        private void stop(boolean within) {
            isWithin = within;
            stopped = true;
            next.acquireUninterruptibly();
            wakes = false;
        }
    }

    public Task task(String name, Runnable body) {
        Task task = new Task(name, body);
        tasks.add(task);
        return task;
    }

    /**
     * Stops the task of this thread; nothing in any other thread.
     *
     * @param within whether other tasks may have to wait for what this one is doing
     */
    public void stop(boolean within) {
        if (!closed) {
            tasks.stream().filter(task -> task.thread == Thread.currentThread()).forEach(task -> task.stop(within));
        }
    }

    /** Lets all tasks go on to their ends, without stops. */
    public void finish() {
        closed = true;
        tasks.forEach(Task::goOn);
    }

    /** Lets tasks that are left go on to their ends. */
    @Override
    public void close() {
        closed = true;
        tasks.forEach(task -> task.next.release());
        for (Task task : tasks) {
            try {
                task.thread.join();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }
    }
}
