/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What of KVM_CAP_SYNC_REGS is not modelled stops KVM_RUN before anything has changed; see also RegistersContract. */
class SyncedRegistersTest {
    private static final int GENERAL_AT = 304;
    private static final int SYSTEM_AT = GENERAL_AT + Uapi.KvmRegs.SIZE;
    private static final int EFER = SYSTEM_AT + 264;

    private final FakeKernel kernel = FakeKernel.inVirtualTime(Profile.of("6.18"));
    private final int vm = kernel.libc().ioctl(kernel.open("/dev/kvm"), Uapi.KVM_CREATE_VM, 0);
    private final int vcpu = kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
    private final ByteBuffer run = kernel.host.file(vcpu).shared(0, 4096, false).orElseThrow();

    private ByteBuffer registers() {
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE);
        assertThat(kernel.libc().ioctl(vcpu, Uapi.KVM_GET_REGS, kernel.libc().addressOf(registers)))
                .isZero();
        return registers;
    }

    @ParameterizedTest
    @CsvSource({"4, 0, 0, 0", "0, 4, 0, 0", "0, 5, 0, 0", "0, 1, 0x100, 0", "0, 3, 0, 1"})
    void stopsBeforeAnythingChanged(long valid, long dirty, String flags, long efer) {
        ByteBuffer before = registers();
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1)
                .putLong(Uapi.KvmRun.KVM_VALID_REGS, 3)
                .putLong(Uapi.KvmRun.CR8, 7);
        kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 0);
        run.putLong(Uapi.KvmRun.KVM_VALID_REGS, valid)
                .putLong(Uapi.KvmRun.KVM_DIRTY_REGS, dirty)
                .putLong(GENERAL_AT, 0x1234)
                .putLong(GENERAL_AT + Uapi.KvmRegs.RFLAGS, Long.decode(flags))
                .putLong(EFER, efer)
                .putLong(Uapi.KvmRun.CR8, 9);
        assertThatThrownBy(() -> kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 0)).isInstanceOf(NotModelledException.class);
        assertThat(registers()).isEqualTo(before);
        assertThat(run.getLong(Uapi.KvmRun.KVM_DIRTY_REGS)).isEqualTo(dirty);
        assertThat(run.getLong(Uapi.KvmRun.CR8)).isEqualTo(9);
    }
}
