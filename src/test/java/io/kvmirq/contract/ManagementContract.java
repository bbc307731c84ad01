/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

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
    private static final int MULTI_ADDRESS_SPACE = 118;
    private static final int SMI = 2 << 8;

    private int vm;
    private int vcpu;
    private boolean isBuiltIn;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vm = world.splitVm();
        vcpu = world.vcpuWithLapic(vm);
        isBuiltIn = kernel.capabilityCheck(vm, MULTI_ADDRESS_SPACE) > 1;
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

    private byte pending() {
        return events().get(KvmVcpuEvents.SMI_PENDING);
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

    /** Before 6.17 it is refused; since, whatever can be set at all is. */
    @ParameterizedTest
    @ValueSource(ints = {Uapi.KVM_MP_STATE_INIT_RECEIVED, Uapi.KVM_MP_STATE_SIPI_RECEIVED})
    void smiOfAVcpuThatHasReceivedInit(int state) {
        assertOk(setState(state));
        int result = setEvents(
                events -> events.put(KvmVcpuEvents.SMI_PENDING, (byte) 1).put(KvmVcpuEvents.NMI_MASKED, (byte) 1));
        boolean takes = world.isSince(6, 17);
        assertThat(result).isEqualTo(isBuiltIn && takes ? 0 : -Errno.EINVAL.number());
        assertThat(masked()).as("what comes before").isEqualTo((byte) (takes ? 1 : 0));
        assertThat(pending()).isEqualTo((byte) (isBuiltIn && takes ? 1 : 0));
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

    @Test
    void smiEndsTheWaitForInit() {
        assumeTrue(isBuiltIn, "needs a kernel with System Management Mode");
        assertOk(setState(Uapi.KVM_MP_STATE_UNINITIALIZED));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SMI, 0));
        assertErrno(Errno.EAGAIN, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertErrno(Errno.EAGAIN, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
    }

    /** The request is not withdrawn by events in which no SMI waits. */
    @Test
    void smiWaits() {
        assumeTrue(isBuiltIn, "needs a kernel with System Management Mode");
        assertThat(pending()).isZero();
        ByteBuffer before = events();
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SMI, 0));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, before));
        assertThat(pending()).isOne();
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_VCPU_EVENTS, before));
        assertThat(pending()).isZero();
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS, SMI, 0, 0)).isOne();
        assertThat(pending()).isOne();
    }

    @ParameterizedTest
    @ValueSource(ints = {Uapi.KVM_MP_STATE_INIT_RECEIVED, Uapi.KVM_MP_STATE_SIPI_RECEIVED})
    void initWhileAnSmiWaits(int state) {
        assumeTrue(isBuiltIn, "needs a kernel with System Management Mode");
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SMI, 0));
        assertOk(setState(state));
        assertOk(setState(Uapi.KVM_MP_STATE_RUNNABLE));
        assertThat(pending()).as("it is seen from here on").isOne();
        assertThat(setState(state)).isEqualTo(world.isSince(6, 17) ? 0 : -Errno.EINVAL.number());
        assertOk(setState(Uapi.KVM_MP_STATE_RUNNABLE));
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.SMI_PENDING, (byte) 0)));
        assertOk(setState(state));
    }
}
