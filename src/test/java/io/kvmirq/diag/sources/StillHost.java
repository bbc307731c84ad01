/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;

/** A host whose clock stands still, without tracepoints and without what killed runs left. */
public interface StillHost extends LiveHost {
    @Override
    default List<String> tidy() {
        return List.of();
    }

    @Override
    default Known<Tracing> tracing(Set<Integer> threads) {
        return new Known.Unknown<>("no tracefs");
    }

    @Override
    default long nanos() {
        return 0;
    }

    @Override
    default Duration cpu() {
        return Duration.ZERO;
    }

    @Override
    default void await(CountDownLatch early, int seconds) {
        // Nothing changes.
    }
}
