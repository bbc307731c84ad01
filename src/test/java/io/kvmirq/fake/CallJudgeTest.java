/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.testing.Choices;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class CallJudgeTest {
    private final FakeKernel kernel = FakeKernel.inVirtualTime(Profile.parse("6.18"));
    private final Map<String, Integer> counts = new TreeMap<>();
    private final CallJudge judge = new CallJudge("fake", kernel, Choices.of(0), 1, counts);
    private final int vm = kernel.libc().ioctl(kernel.open("/dev/kvm"), Uapi.KVM_CREATE_VM, 0);
    private final int vcpu = kernel.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
    private final ByteBuffer run = kernel.host.file(vcpu).shared(0, 4096, false).orElseThrow();

    private long refused(Errno errno, Runnable change) {
        change.run();
        return -errno.number();
    }

    private void assertFlaw(String call, Errno errno, Runnable change) {
        assertThatThrownBy(() -> judge.check(call, () -> refused(errno, change)))
                .isInstanceOf(AssertionError.class)
                .hasMessageStartingWith(
                        "fake: " + call + " answered " + errno + " and changed the state; before it: [");
    }

    @Test
    void refusedCallChangesNothing() {
        judge.check("eventfd(0)", () -> kernel.libc().eventfd(0, 0));
        judge.check("close(-1)", () -> kernel.libc().close(-1));
        assertThat(counts).isEqualTo(Map.of("ok", 1, "EBADF", 1));
        assertFlaw("eventfd(1)", Errno.EINVAL, () -> kernel.libc().eventfd(1, 0));
        assertThat(judge.flaw()).isEqualTo("eventfd) answered EINVAL and changed the state");
    }

    @Test
    void callThatIsNotModelledChangesNothing() {
        assertThatThrownBy(() -> judge.check("call", () -> {
                    kernel.libc().eventfd(0, 0);
                    throw new NotModelledException("a call");
                }))
                .hasMessageContaining("call answered not modelled and changed the state");
    }

    @Test
    void interruptedRunMayChangeOnlyKvmRunAndTheTaskPriority() {
        String call = "ioctl(5, KVM_RUN, 0)";
        run.putLong(Uapi.KvmRun.CR8, 7).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertThat(judge.check(call, () -> kernel.libc().ioctl(vcpu, Uapi.KVM_RUN, 0)))
                .isEqualTo(-Errno.EINTR.number());
        assertFlaw(call, Errno.EINTR, () -> kernel.libc().ioctl(vcpu, Uapi.KVM_NMI, 0));
        assertFlaw(call, Errno.EFAULT, () -> run.putLong(Uapi.KvmRun.CR8, 3));
        assertFlaw("ioctl(5, KVM_NMI, 0)", Errno.EINTR, () -> run.putLong(Uapi.KvmRun.CR8, 4));
    }

    @Test
    void answersAreErrnosAndTakeNoExceptions() {
        assertThatThrownBy(() -> judge.check("call", () -> -4096)).hasMessageContaining("call answered -4096");
        assertThatThrownBy(() -> judge.check("call", () -> {
                    throw new ArithmeticException("wrong");
                }))
                .hasMessageContaining("call ended in java.lang.ArithmeticException: wrong");
    }
}
