/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.fake.file.IrqHardware;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A remapping table entry that can post a device interrupt. */
public abstract class UnitEntry implements IrqHardware.Entry {
    /** The present state of the entry, for {@code FakeIrte}. */
    public record View(boolean posted, Optional<PostingVcpu> vcpu, Optional<InterruptVector> vector) {}

    private final PostingMachine host;
    private final int index;

    UnitEntry(PostingMachine host, int index) {
        this.host = host;
        this.index = index;
    }

    final int index() {
        return index;
    }

    public abstract View view();

    /** Returns the entry's words as {@code kvmirq decode} reads them, for {@code FakeIrte}. */
    public abstract String words();

    @Override
    public final boolean request() {
        View posted = send();
        if (posted != null) {
            host.posted(posted);
        }
        host.settle();
        return posted == null;
    }

    /** Sends the device's message through the unit. @return the entry that posted it; null if it was not posted */
    abstract @Nullable View send();

    abstract void clear();

    @Override
    public final void free() {
        clear();
        host.free(index);
    }
}
