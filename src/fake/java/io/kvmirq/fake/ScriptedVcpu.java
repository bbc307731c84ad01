/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.VcpuId;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.ScriptedExit;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A vCPU of a fake kernel that plays exits instead of a guest's code. Get it from {@link FakeKernel#vcpu}. Everything
 * else is as for a vCPU that runs code: {@code KVM_RUN} returns with each exit in {@code struct kvm_run}, an
 * application processor waits for INIT and SIPI, a kick ends the run, and registers keep what the VMM gave them.
 * Thread-safe.
 *
 * <p>When it has played all exits, the guest halts with interrupts off: it stays in {@code KVM_RUN} until it gets more
 * exits or the run is ended; on x86 without an in-kernel LAPIC, each {@code KVM_RUN} returns with HLT. It takes the
 * interrupts of the in-kernel PICs once it has written the vector of the master.
 */
public final class ScriptedVcpu {
    private static final Set<ScriptedExit.Kind> OF_ARM64 =
            EnumSet.of(ScriptedExit.Kind.MMIO_READ, ScriptedExit.Kind.MMIO_WRITE, ScriptedExit.Kind.OTHER);

    private final FakeTime time;
    private final VcpuId id;
    private final boolean arm64;
    private final Script script;

    ScriptedVcpu(FakeTime time, VcpuId id, boolean arm64, Script script) {
        this.time = time;
        this.id = id;
        this.arm64 = arm64;
        this.script = script;
    }

    /**
     * Adds exits; a guest that halted after the last of the earlier ones runs on. IllegalArgumentException, and none is
     * added, if no vCPU of the architecture has one of them.
     */
    public ScriptedVcpu exits(FakeExit... exits) {
        Objects.requireNonNull(exits, "exits is null");
        List<ScriptedExit> more = Stream.of(exits).map(FakeExit::exit).toList();
        for (ScriptedExit exit : more) {
            if (arm64 && !OF_ARM64.contains(exit.kind())) {
                throw new IllegalArgumentException(exit + " is an exit of x86, and " + id
                        + " is one of arm64: expected an access to an address, a system event or an error");
            }
        }
        time.changing(() -> more.forEach(script::add));
        return this;
    }

    /**
     * The VMM's answers to reads, in the order of the exits, zero-extended. An answer is here when the vCPU has been
     * run again. A string instruction has one for each access.
     */
    public List<Long> answers() {
        return time.locked(script::answers);
    }

    /** The vectors of the interrupts that it took, in this order; 2 is an NMI. */
    public List<Integer> interrupts() {
        return time.locked(script::interrupts);
    }

    /** The number of exits that it has not played. */
    public int left() {
        return time.locked(script::left);
    }

    @Override
    public String toString() {
        return id + " with " + left() + " exits to play";
    }
}
