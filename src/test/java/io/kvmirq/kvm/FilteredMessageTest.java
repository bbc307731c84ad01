/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.jna.Function;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import io.kvmirq.Errno;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.Faults;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** KVM says EPERM when no destination matched; a filter of system calls says EPERM when it refuses the call. */
class FilteredMessageTest {
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(0), new InterruptVector(0x31));
    private static final String REFUSED =
            "EPERM (a system call filter, such as a seccomp profile, refuses KVM_SIGNAL_MSI before KVM sees it)";

    @ParameterizedTest
    @EnumSource
    void refusalOfTheFilterIsNoOutcome(Kernels kernels) {
        Faults faults = new Faults();
        try (Kernel kernel = Kernel.over(faults.over(kernels.backend()));
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            assertThat(vm.signal(MESSAGE)).isEqualTo(MsiOutcome.NO_DESTINATION_MATCHED);
            faults.failEvery("msiSignal", Errno.EPERM);
            assertThatThrownBy(() -> vm.signal(MESSAGE))
                    .isInstanceOf(KernelException.class)
                    .hasMessageContaining(REFUSED);
        }
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void refusalOfSeccompIsNoOutcome() {
        try (Kernel kernel = Kernel.open();
                Vm vm = Vm.create(kernel)) {
            vm.x86().createIrqchip();
            CompletableFuture<MsiOutcome> filtered = new CompletableFuture<>();
            Thread jailed = new Thread(() -> filtered.completeAsync(
                    () -> {
                        refuseMessages();
                        return vm.signal(MESSAGE);
                    },
                    Runnable::run));
            jailed.start();
            assertThatThrownBy(filtered::join)
                    .hasCauseInstanceOf(KernelException.class)
                    .hasMessageContaining(REFUSED);
            assertThat(vm.signal(MESSAGE)).isEqualTo(MsiOutcome.NO_DESTINATION_MATCHED);
        }
    }

    /** Filters the calling thread for as long as it lives; source: seccomp(2), linux/filter.h. */
    private static void refuseMessages() {
        ByteBuffer program = Buffers.allocate(6 * Long.BYTES);
        instruction(program, 0x20, 0, 0); // number of the call
        instruction(program, 0x15, 3, 16); // 3 further unless ioctl
        instruction(program, 0x20, 0, 24); // its request
        instruction(program, 0x15, 1, (int) Uapi.KVM_SIGNAL_MSI); // 1 further unless this
        instruction(program, 0x06, 0, 0x00050000 | Errno.EPERM.number()); // SECCOMP_RET_ERRNO
        instruction(program, 0x06, 0, 0x7fff0000); // SECCOMP_RET_ALLOW
        program.flip();
        ByteBuffer header = Buffers.allocate(2 * Long.BYTES)
                .putShort(0, (short) 6)
                .putLong(Long.BYTES, Pointer.nativeValue(Native.getDirectBufferPointer(program)));
        Function prctl = NativeLibrary.getProcess().getFunction("prctl");
        long noNewPrivileges = 38;
        long seccomp = 22;
        long filter = 2;
        assertThat(prctl.invokeInt(new Object[] {noNewPrivileges, 1L, 0L, 0L, 0L}))
                .isZero();
        assertThat(prctl.invokeInt(new Object[] {seccomp, filter, Native.getDirectBufferPointer(header), 0L, 0L}))
                .isZero();
    }

    private static void instruction(ByteBuffer program, int code, int otherwise, int operand) {
        program.putShort((short) code).put((byte) 0).put((byte) otherwise).putInt(operand);
    }
}
