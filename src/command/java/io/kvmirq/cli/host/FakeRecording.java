/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.fake.FakeTracing;
import io.kvmirq.host.Fact;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.Tracing;
import java.util.Optional;

/** The tracepoints of a fake kernel. */
final class FakeRecording implements Tracing {
    private final FakeTracing buffer;

    FakeRecording(FakeTracing buffer) {
        this.buffer = buffer;
    }

    /** The fake knows no filters, and passes only the halts of {@code kvm_exit}. */
    @Override
    public Fact<EventFormat> choose(String event, String filter) {
        Optional<EventFormat> format = buffer.choose(event).flatMap(EventFormat::parse);
        return format.isPresent()
                ? new Fact.Known<>(format.get())
                : new Fact.Unknown<>(
                        "this fake kernel never passes the tracepoint " + event.replace('/', ':'),
                        "a profile with posting hardware");
    }

    @Override
    public Fact<Boolean> start() {
        buffer.start();
        return new Fact.Known<>(true);
    }

    @Override
    public Fact<Recorded> stop() {
        buffer.close();
        return new Fact.Known<>(new Recorded(buffer.read(), buffer.lost(), 0, true));
    }

    @Override
    public void close() {
        buffer.close();
    }
}
