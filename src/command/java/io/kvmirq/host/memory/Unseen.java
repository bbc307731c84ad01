/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.path.Known;
import java.util.function.Supplier;

/** A structure cannot be read. The message is one sentence without a full stop, and without an address. */
final class Unseen extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final int MOST_TRIES = 3;
    private static final String LOOK_AGAIN = "look again; if it persists, report it with the kernel's release";

    private final String why;
    private final String remedy;
    private final boolean mayPass;
    private final Known.Reason reason;

    private Unseen(Known.Reason reason, String why, String remedy, boolean mayPass) {
        super(why, null, false, false);
        this.reason = reason;
        this.why = why;
        this.remedy = remedy;
        this.mayPass = mayPass;
    }

    Unseen(Known.Reason reason, String why, String remedy) {
        this(reason, why, remedy, false);
    }

    Unseen(String why, String remedy) {
        this(Known.Reason.NOT_SHOWN, why, remedy, false);
    }

    /** The memory is not what the kernel's types say, as memory is that was freed under a walk. */
    static Unseen wrong(String why) {
        return new Unseen(Known.Reason.TORN, why, LOOK_AGAIN, true);
    }

    /** The memory changed under a walk. */
    static Unseen torn(String what) {
        return new Unseen(Known.Reason.TORN, what + " changed while it was read", "look again", true);
    }

    /** The result of a walk that is the same twice: two structures that are written one after the other do not tear it. */
    static <T> T steady(String what, Supplier<T> walk) {
        T result = walk.get();
        if (!result.equals(walk.get())) {
            throw torn(what);
        }
        return result;
    }

    /** The result of a walk, or why there is none. One that fails on memory is begun again, {@value #MOST_TRIES} times at most. */
    static <T> Known<T> known(Supplier<T> walk) {
        for (int left = MOST_TRIES; ; left--) {
            try {
                return new Known.Observed<>(walk.get());
            } catch (Unseen e) {
                if (!e.mayPass || left == 1) {
                    return new Known.Unknown<>(e.reason, e.why, e.remedy);
                }
            }
        }
    }
}
