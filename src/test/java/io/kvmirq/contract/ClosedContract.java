/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kernel.Registration;
import io.kvmirq.kvm.DirtyLog;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.ClosedHandles;
import io.kvmirq.testing.Samples;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Methods of a closed handle do on every kernel what they do on the fake, where {@code ClosedTest} judges them. */
@Contract
class ClosedContract {
    private static final List<Class<?>> HANDLES = List.of(
            Kernel.class,
            EventFd.class,
            Fd.Lease.class,
            EventLoop.class,
            Registration.class,
            MemoryFile.class,
            Mapping.Owner.class,
            Mapping.Lease.class,
            Vm.class,
            Vcpu.class,
            GuestMemory.class,
            DirtyLog.class,
            Irqfd.class,
            IoEventFd.class,
            MaskableVector.class,
            KvmDevice.class);

    private final World world;

    ClosedContract(World world) {
        this.world = world;
    }

    @ParameterizedTest
    @FieldSource("HANDLES")
    void methodOfAClosedHandleSaysSo(Class<?> type) throws Exception {
        world.assumeX86(); // the samples are of its VMs; ClosedTest has those of arm64, on the fake
        ClosedHandles handles = new ClosedHandles(() -> new Samples(world.kernel()));
        handles.call(type);
        ClosedHandles onTheFake = new ClosedHandles(() -> new Samples("6.12"));
        onTheFake.call(type);
        assertThat(handles.others()).isEqualTo(onTheFake.others());
    }
}
