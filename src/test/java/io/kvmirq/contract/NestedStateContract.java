/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmNestedState;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The nested state of a vCPU whose CPUID has neither VMX nor SVM: arch/x86/kvm/x86.c, vmx/nested.c, svm/nested.c. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.World#ofVendors")
class NestedStateContract extends KernelSuite {
    private static final long NOWHERE = 8;
    private static final int CAPABILITY = 157;
    private static final int GUEST_MODE = 1;
    private static final int RUN_PENDING = 2;
    private static final int EVMCS = 4;
    private static final int UNKNOWN = 0x10;
    private static final int GIF = 0x100;
    private static final int SHORT = 127;

    private int vcpu;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vcpu = world.vcpu(world.bareVm(), 0);
    }

    private ByteBuffer state(int size) {
        return Buffers.allocate(8192).putInt(KvmNestedState.LENGTH, size);
    }

    private int get(ByteBuffer state) {
        return world.ioctl(vcpu, Uapi.KVM_GET_NESTED_STATE, state);
    }

    private ByteBuffer initial() {
        ByteBuffer state = state(KvmNestedState.SIZE);
        assertOk(get(state));
        return state;
    }

    private int set(Consumer<ByteBuffer> change) {
        ByteBuffer state = initial();
        change.accept(state);
        return world.ioctl(vcpu, Uapi.KVM_SET_NESTED_STATE, state);
    }

    private void assumeNested() {
        assumeTrue(!world.isPvm(), "a kvm_pvm has no nested guests");
    }

    /** Before anything is read. */
    @Test
    void kernelWithoutNestedGuestsRefuses() {
        assumeTrue(world.isPvm(), "this kernel has nested guests");
        assertThat(libc.ioctl(world.kvm(), Uapi.KVM_CHECK_EXTENSION, CAPABILITY))
                .isZero();
        assertErrno(Errno.EINVAL, get(state(4096)));
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_GET_NESTED_STATE, NOWHERE));
        assertErrno(Errno.EINVAL, world.ioctl(vcpu, Uapi.KVM_SET_NESTED_STATE, state(KvmNestedState.SIZE)));
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_SET_NESTED_STATE, NOWHERE));
    }

    @Test
    void stateWithoutNestedGuestIsAHeader() {
        assumeNested();
        assertThat(libc.ioctl(world.kvm(), Uapi.KVM_CHECK_EXTENSION, CAPABILITY))
                .isGreaterThan(KvmNestedState.SIZE);
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_GET_NESTED_STATE, NOWHERE));
        ByteBuffer small = state(SHORT);
        assertErrno(Errno.E2BIG, get(small));
        assertThat(small.getInt(KvmNestedState.LENGTH)).isEqualTo(KvmNestedState.SIZE);
        ByteBuffer state = state(8192);
        assertOk(get(state));
        assertThat(state.getInt(KvmNestedState.LENGTH)).isEqualTo(KvmNestedState.SIZE);
        assertThat(state.getShort(KvmNestedState.FORMAT)).isEqualTo((short) (world.isAmd() ? 1 : 0));
        assertThat(state.getShort(KvmNestedState.FLAGS)).isEqualTo((short) (world.isAmd() ? GIF : 0));
        assertThat(state.getLong(KvmNestedState.HDR)).isEqualTo(world.isAmd() ? 0 : -1);
        assertThat(state.getLong(KvmNestedState.HDR + Long.BYTES)).isEqualTo(world.isAmd() ? 0 : -1);
    }

    @Test
    void stateIsSetAsItWasRead() {
        assumeNested();
        assertOk(set(state -> {}));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_NESTED_STATE, NOWHERE));
        assertErrno(Errno.EINVAL, set(state -> state.putInt(KvmNestedState.LENGTH, SHORT)));
        assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FLAGS, (short) UNKNOWN)));
        assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FLAGS, (short) RUN_PENDING)));
        assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FLAGS, (short) GUEST_MODE)));
        assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FLAGS, (short) EVMCS)));
        assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FORMAT, (short) (world.isAmd() ? 0 : 1))));
        if (world.isAmd()) {
            assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FLAGS, (short) 0)));
        } else {
            assertErrno(Errno.EINVAL, set(state -> state.putLong(KvmNestedState.HDR, 0x1000)));
            assertErrno(Errno.EINVAL, set(state -> state.putLong(KvmNestedState.HDR + Long.BYTES, 0x1000)));
            assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.FLAGS, (short) GIF)));
            assertErrno(Errno.EINVAL, set(state -> state.putShort(KvmNestedState.HDR + 16, (short) 1)));
            assertErrno(Errno.EINVAL, set(state -> state.putInt(KvmNestedState.HDR + 20, 2)));
        }
    }
}
