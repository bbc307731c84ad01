/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Uapi;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Guests that run while other calls are replayed, each KVM_RUN on its own thread from begin line to end line. */
final class Runs {
    /** A generous limit: a run that takes longer will not end as recorded. */
    static final long PATIENCE_SECONDS = 10;

    private final Libc libc;
    private final Map<String, CompletableFuture<Integer>> running = new HashMap<>();

    Runs(Libc libc) {
        this.libc = libc;
    }

    boolean any() {
        return !running.isEmpty();
    }

    boolean isRunning(String vcpu) {
        return running.containsKey(vcpu);
    }

    void begin(String vcpu, int fd) {
        CompletableFuture<Integer> end = new CompletableFuture<>();
        Thread thread = new Thread(() -> run(fd, end), "kvmirq-replay-" + vcpu);
        thread.setDaemon(true);
        running.put(vcpu, end);
        thread.start();
    }

    private void run(int fd, CompletableFuture<Integer> end) {
        try {
            end.complete(libc.ioctl(fd, Uapi.KVM_RUN, 0));
        } catch (RuntimeException | Error e) {
            end.completeExceptionally(e);
        }
    }

    int end(String vcpu) throws TimeoutException {
        CompletableFuture<Integer> end = running.remove(vcpu);
        if (end == null) {
            throw new CannotReplayException("a KVM_RUN of which the tape does not say when it began");
        }
        try {
            return end.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CannotReplayException("an interrupt");
        }
    }
}
