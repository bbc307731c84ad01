/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.fake.arm64.ArmKvmFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.file.StandardFile;
import io.kvmirq.fake.rules.KernelRule;
import io.kvmirq.fake.x86.X86KvmFile;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A kernel with KVM for one process, in Java: descriptors, memory, {@code /dev/kvm} and what is made from it. Thread-safe:
 * one call at a time, first come, first served; a call that waits lets others in.
 */
public final class FakeKernel extends SystemCalls {
    private static final int STANDARD_FILES = 3;

    private final Profile profile;
    private final FakeTime time;
    /** Of what a tape left open. */
    private Map<String, Integer> descriptors = Map.of();

    /** A kernel whose time is the machine's. */
    public FakeKernel(Profile profile) {
        this(profile, false);
    }

    private FakeKernel(Profile profile, boolean virtualTime) {
        super(new FakeHost(profile.build(), virtualTime), paths(profile));
        this.profile = profile;
        this.time = host.time();
        for (int i = 0; i < STANDARD_FILES; i++) {
            host.install(new StandardFile(host));
        }
    }

    /** What opens at each path there is. */
    private static Map<String, Function<Host, FakeFile>> paths(Profile profile) {
        return Map.of("/dev/kvm", profile.isArm64() ? ArmKvmFile::new : X86KvmFile::new);
    }

    /** A kernel whose time stands still until {@link #pass}: a poll with a limit waits for that, never for the machine. */
    public static FakeKernel inVirtualTime(Profile profile) {
        return new FakeKernel(profile, true);
    }

    /** The primitives of a binding on this kernel, for {@code Kernel.over}. */
    public KernelBackend backend() {
        return LibcBackend.over(this, Backends.FAKE, profile.label());
    }

    /**
     * The kernel after the calls on a tape: a start-up that was recorded once, under a test. The tape should end where the
     * start-up does, so close the recorder before what it made is closed. A guest that ran then runs.
     *
     * @param tape of {@code io.kvmirq.recording.Recorder}, {@code kvmirq selftest --record} or {@code kvmirq tape -o}
     * @throws IllegalArgumentException naming the first call that this kernel answers otherwise, or does not model
     * @throws io.kvmirq.recording.TapeException if it is no tape
     * @throws java.io.UncheckedIOException if it cannot be read
     */
    public static FakeKernel from(Path tape, Profile profile) {
        FakeKernel kernel = new FakeKernel(profile);
        kernel.descriptors = StartUp.replayed(tape, kernel);
        return kernel;
    }

    /** As {@link #from(Path, Profile)}, on 6.18. */
    public static FakeKernel from(Path tape) {
        return from(tape, Profile.V6_18);
    }

    /**
     * The descriptor that a file has which the tape this kernel came from left open, such as {@code vm#1}.
     *
     * @throws IllegalArgumentException listing those there are
     */
    public int descriptor(String name) {
        @Nullable Integer descriptor = descriptors.get(name);
        if (descriptor == null) {
            throw new IllegalArgumentException("the tape left no " + name + " open, but " + descriptors.keySet());
        }
        return descriptor;
    }

    // What a real kernel's surroundings decide

    /**
     * Lets virtual time pass; what waited long enough returns.
     *
     * @throws IllegalStateException when this kernel's time is the machine's
     */
    public void pass(Duration passed) {
        time.enter();
        try (time) {
            time.pass(passed);
        }
    }

    /**
     * From now on calls come from another process (or, with false, from the first again): one that has all descriptors,
     * as after fork or SCM_RIGHTS, and gets EIO from every VM, vCPU and device that the first has made, as the first does
     * from those of the other.
     */
    public void callAsForeignProcess(boolean on) {
        time.enter();
        try (time) {
            host.files().setForeign(on);
        }
    }

    /** RLIMIT_NOFILE: EMFILE from there on. */
    public void limitDescriptors(int limit) {
        if (limit < 0) {
            throw new IllegalArgumentException("a limit of " + limit + " descriptors: expected 0 or more");
        }
        time.enter();
        try (time) {
            host.files().limit(limit);
        }
    }

    /**
     * From now on the kernel's workers do nothing: an irqfd whose eventfd was closed is still there, and an interrupt
     * through a pin is not injected, until {@link #runWorkers} or a call that waits for them (a deassign, the end of the
     * VM). A real kernel may be so late.
     */
    public void holdWorkers() {
        time.enter();
        try (time) {
            host.work().hold();
        }
    }

    /** The workers do what they have, and from now on everything at once. */
    public void runWorkers() {
        time.enter();
        try (time) {
            host.work().run();
            time.changed();
        }
    }

    /** How many calls wait for something to change. */
    public int waiting() {
        time.enter();
        try (time) {
            return time.waiting();
        }
    }

    /** The rules that its answers have leaned on until now. */
    public Set<KernelRule> rulesUsed() {
        time.enter();
        try (time) {
            return host.rules().used();
        }
    }

    /** The calls that rules have refused until now, each kind of call once. */
    List<Refusal> refusals() {
        time.enter();
        try (time) {
            return host.rules().refused();
        }
    }

    Profile profile() {
        return profile;
    }

    @Override
    public String toString() {
        return "fake kernel " + profile.label();
    }
}
