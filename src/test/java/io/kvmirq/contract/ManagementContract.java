/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** SMIs and System Management Mode, with which some kernels are built, where no guest runs. */
@Contract
class ManagementContract extends KernelSuite {
    private int vm;
    private int vcpu;
    private boolean isBuiltIn;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vm = world.splitVm();
        vcpu = world.vcpuWithLapic(vm);
        isBuiltIn = kernel.capabilityCheck(vm, Uapi.KVM_CAP_MULTI_ADDRESS_SPACE) > 1;
    }

    private ByteBuffer events() {
        ByteBuffer events = Buffers.allocate(KvmVcpuEvents.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_VCPU_EVENTS, events));
        return events;
    }

    private int setEvents(Consumer<ByteBuffer> change) {
        ByteBuffer events = events();
        change.accept(events);
        return libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, events);
    }

    private int setState(int state) {
        return libc.ioctl(
                vcpu,
                Uapi.KVM_SET_MP_STATE,
                Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(0, state));
    }

    private byte masked() {
        return events().get(KvmVcpuEvents.NMI_MASKED);
    }

    @ParameterizedTest
    @ValueSource(ints = {KvmVcpuEvents.SMI_SMM, KvmVcpuEvents.SMI_PENDING, KvmVcpuEvents.SMI_SMM_INSIDE_NMI})
    void systemManagementModeMustBeBuiltIn(int at) {
        assumeFalse(isBuiltIn, "needs a kernel without System Management Mode");
        assertErrno(
                Errno.EINVAL, setEvents(events -> events.put(at, (byte) 1).put(KvmVcpuEvents.NMI_MASKED, (byte) 1)));
        assertThat(masked()).as("what comes before it stays").isOne();
        assertErrno(Errno.ENOTTY, libc.ioctl(vcpu, Uapi.KVM_SMI, 0));
    }

    /** Before 6.17 it is refused by the state; since, only by a kernel that has no SMIs, after what comes before. */
    @ParameterizedTest
    @ValueSource(ints = {Uapi.KVM_MP_STATE_INIT_RECEIVED, Uapi.KVM_MP_STATE_SIPI_RECEIVED})
    void smiOfAVcpuThatHasReceivedInit(int state) {
        assumeFalse(isBuiltIn && world.isSince(6, 17), "this kernel would keep an SMI");
        assertOk(setState(state));
        int result = setEvents(
                events -> events.put(KvmVcpuEvents.SMI_PENDING, (byte) 1).put(KvmVcpuEvents.NMI_MASKED, (byte) 1));
        boolean takes = world.isSince(6, 17);
        assertErrno(Errno.EINVAL, result);
        assertThat(masked()).as("what comes before").isEqualTo((byte) (takes ? 1 : 0));
        assertThat(events().get(KvmVcpuEvents.SMI_PENDING)).isZero();
        int inNmi = setEvents(events ->
                events.put(KvmVcpuEvents.SMI_PENDING, (byte) 0).put(KvmVcpuEvents.SMI_SMM_INSIDE_NMI, (byte) 1));
        assertThat(inNmi).isEqualTo(isBuiltIn ? 0 : -Errno.EINVAL.number());
    }

    @Test
    void managementModeOfAVcpuThatHasReceivedInit() {
        assumeFalse(isBuiltIn && world.isSince(6, 17), "this kernel would enter System Management Mode");
        assertOk(setState(Uapi.KVM_MP_STATE_INIT_RECEIVED));
        assertErrno(Errno.EINVAL, setEvents(events -> events.put(KvmVcpuEvents.SMI_SMM, (byte) 1)));
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.SMI_SMM, (byte) 1)
                .putInt(KvmVcpuEvents.FLAGS, Uapi.KVM_VCPUEVENT_VALID_NMI_PENDING)));
    }
}
