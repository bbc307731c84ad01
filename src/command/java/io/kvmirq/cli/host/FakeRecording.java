/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.fake.FakeTracing;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.PageFormat;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Known;
import java.util.Optional;

/** A fake kernel's tracepoints. */
public final class FakeRecording implements Tracing {
    private final FakeTracing buffer;

    /** @param buffer the buffer, which this object ends */
    public FakeRecording(FakeTracing buffer) {
        this.buffer = buffer;
    }

    /** The fake has no filters, and emits {@code kvm_exit} only for halts. */
    @Override
    public Known<EventFormat> choose(String event, String filter) {
        Optional<EventFormat> format = buffer.choose(event).flatMap(EventFormat::parse);
        return format.isPresent()
                ? new Known.Observed<>(format.get())
                : new Known.Unknown<>(
                        "this fake kernel never hits the tracepoint " + event.replace('/', ':'),
                        "a profile with posting hardware");
    }

    @Override
    public Known<PageFormat> start() {
        buffer.start();
        return new Known.Observed<>(
                PageFormat.parse(buffer.headerPage(), buffer.headerEvent()).orElseThrow());
    }

    /** The fake's guest takes all its steps at once, and the buffer has room for them. */
    @Override
    public boolean read(Pages pages) {
        buffer.read().forEach((cpu, all) -> all.forEach(page -> pages.page(cpu, page)));
        return false;
    }

    @Override
    public Known<Lost> stop() {
        buffer.close();
        return new Known.Observed<>(new Lost(buffer.lost(), 0));
    }

    @Override
    public void close() {
        buffer.close();
    }
}
