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
 * A fake kernel's vCPU that runs no guest code, because a test scripts its exits. To get one, call {@link
 * FakeKernel#vcpu}. To the VMM, it looks like a vCPU that runs code: {@code KVM_RUN} returns each exit in {@code struct
 * kvm_run}, an application processor waits for INIT and SIPI, a kick ends the call, and registers keep the VMM's
 * values. Thread-safe.
 *
 * <p>After the last exit the guest halts with interrupts disabled. The vCPU then stays in {@code KVM_RUN} until exits
 * are added or a kick ends the run. On x86 without an in-kernel LAPIC, {@code KVM_RUN} instead returns with HLT each
 * time. The guest takes interrupts of the in-kernel PICs after it has written the base vector of the master PIC.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="exits"}
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
     * Adds exits. A guest that halted after its last exit continues. Throws IllegalArgumentException, and adds no exit,
     * if vCPUs of this architecture cannot have one of the exits.
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
     * Returns the zero-extended values that the VMM returned for the guest's reads, in the order of the exits. A value
     * is in the list only once the next {@code KVM_RUN} has begun. A string instruction adds a value for each access.
     */
    public List<Long> answers() {
        return time.locked(script::answers);
    }

    /** Returns the vectors of the interrupts that the guest took, in the order of delivery; 2 is an NMI. */
    public List<Integer> interrupts() {
        return time.locked(script::interrupts);
    }

    /** Returns the number of added exits that {@code KVM_RUN} has not returned yet. */
    public int left() {
        return time.locked(script::left);
    }

    @Override
    public String toString() {
        return id + " with " + left() + " exits to play";
    }
}
