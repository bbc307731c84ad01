/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.Answer;
import io.kvmirq.explain.VmAnswer;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/** The debug registers of a vCPU; source: {@code kvm_vcpu_ioctl_x86_set_debugregs()} in arch/x86/kvm/x86.c. */
public final class DebugRegisters {
    private static final long DR6_INITIAL = 0xffff0ff0L;
    private static final long DR7_INITIAL = 0x400;
    /** L0 to G3 of DR7. */
    private static final long ENABLED = 0xff;

    private final ByteBuffer values =
            ByteBuffer.allocate(Uapi.KvmDebugregs.FLAGS).order(ByteOrder.nativeOrder());

    public DebugRegisters() {
        reset();
    }

    /** Resets the registers, also at INIT. */
    public void reset() {
        values.put(0, new byte[Uapi.KvmDebugregs.DR6]);
        values.putLong(Uapi.KvmDebugregs.DR6, DR6_INITIAL).putLong(Uapi.KvmDebugregs.DR7, DR7_INITIAL);
    }

    public void save(ByteBuffer to) {
        to.put(0, values, 0, values.capacity());
    }

    /** The rule that refuses the registers; empty for none. */
    public Optional<Answer> load(ByteBuffer from) {
        if (from.getLong(Uapi.KvmDebugregs.FLAGS) != 0) {
            return Optional.of(VmAnswer.DEBUG_FLAGS);
        }
        long high = from.getLong(Uapi.KvmDebugregs.DR6) | from.getLong(Uapi.KvmDebugregs.DR7);
        if (high >>> Integer.SIZE != 0) {
            return Optional.of(VmAnswer.DEBUG_HIGH);
        }
        values.put(0, from, 0, values.capacity());
        return Optional.empty();
    }

    /** Checks the registers before a run. */
    public void checkModelled() {
        if ((values.getLong(Uapi.KvmDebugregs.DR7) & ENABLED) != 0) {
            throw new NotModelledException("a guest with breakpoints");
        }
    }
}
