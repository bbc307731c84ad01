/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.x86.cpu.GeneralRegisters;
import io.kvmirq.fake.x86.cpu.SystemRegisters;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * The registers that KVM_RUN copies from and to {@code kvm_run} (KVM_CAP_SYNC_REGS). Source: {@code sync_regs()} and
 * {@code store_regs()} in arch/x86/kvm/x86.c.
 */
final class SyncedRegisters {
    private static final long GENERAL = 1;
    private static final long SYSTEM = 2;
    private static final long EVENTS = 4;
    private static final long KNOWN = GENERAL | SYSTEM | EVENTS;
    private static final long LOW_HALF = 0xffff_ffffL;

    private static final int GENERAL_AT = Uapi.KvmRun.KVM_DIRTY_REGS + Long.BYTES;
    private static final int SYSTEM_AT = GENERAL_AT + Uapi.KvmRegs.SIZE;

    private final Host host;
    private final ByteBuffer shared;
    private final FakeCpu cpu;

    SyncedRegisters(Host host, ByteBuffer shared, FakeCpu cpu) {
        this.host = host;
        this.shared = shared;
        this.cpu = cpu;
    }

    private long wanted() {
        return shared.getLong(Uapi.KvmRun.KVM_VALID_REGS);
    }

    private long changed() {
        return shared.getLong(Uapi.KvmRun.KVM_DIRTY_REGS);
    }

    /** The invalid bits. On 6.12 only 32 bits are checked: {@code kvm_sync_valid_fields()}. */
    private long unknown() {
        boolean half = host.build().isSince(6, 12) && !host.build().isSince(6, 18);
        return half ? ~KNOWN & LOW_HALF : ~KNOWN;
    }

    private ByteBuffer part(int at, int size) {
        return shared.slice(at, size).order(shared.order());
    }

    /** @throws NotModelledException before anything has changed */
    void checkModelled() {
        if (((wanted() | changed()) & EVENTS) != 0) {
            throw new NotModelledException("the events of a vCPU in kvm_run");
        }
        if ((changed() & GENERAL) != 0) {
            GeneralRegisters.checked(shared.getLong(GENERAL_AT + Uapi.KvmRegs.RFLAGS));
        }
        ByteBuffer system = part(SYSTEM_AT, Uapi.KvmSregs.SIZE);
        if ((changed() & SYSTEM) != 0 && cpu.refusesSegments(system).isEmpty()) {
            SystemRegisters.checkModelled(system);
        }
        if ((changed() & GENERAL) != 0 && cpu.isReading()) {
            throw new NotModelledException("general registers in kvm_run before a read of the guest is complete");
        }
    }

    /** Copies changed registers in, general registers first. Returns 0 or a negative errno. */
    int take(Consumer<ByteBuffer> setSegments) {
        if (((wanted() | changed()) & unknown()) != 0) {
            return host.refuse(VmAnswer.RUN_SYNC_REGS);
        }
        ByteBuffer system = part(SYSTEM_AT, Uapi.KvmSregs.SIZE);
        boolean setsSystem = (changed() & SYSTEM) != 0;
        Optional<Answer> refused = setsSystem ? cpu.refusesSegments(system) : Optional.empty();
        if ((changed() & GENERAL) != 0) {
            host.note(VmAnswer.RUN_SYNCED);
            cpu.setRegisters(part(GENERAL_AT, Uapi.KvmRegs.SIZE));
            shared.putLong(Uapi.KvmRun.KVM_DIRTY_REGS, changed() & ~GENERAL);
        }
        if (refused.isEmpty() && setsSystem) {
            setSegments.accept(system);
            shared.putLong(Uapi.KvmRun.KVM_DIRTY_REGS, changed() & ~SYSTEM);
        }
        return host.refuse(refused);
    }

    /** Copies the requested registers out. */
    void leave() {
        if ((wanted() & GENERAL) != 0) {
            host.note(VmAnswer.RUN_SYNCED);
            cpu.saveRegisters(part(GENERAL_AT, Uapi.KvmRegs.SIZE));
        }
        if ((wanted() & SYSTEM) != 0) {
            cpu.saveSegments(part(SYSTEM_AT, Uapi.KvmSregs.SIZE));
        }
    }
}
