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
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Handles of KVM answer after their close as {@code closed.txt} says, which {@code ClosedTest} made on the fake. */
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
        assertThat(handles.others())
                .containsExactlyElementsOf(others().filter(line -> line.startsWith(ClosedHandles.nameOf(type)))
                        .toList());
    }

    /** A machine of the lab has the classes alone. */
    private static Stream<String> others() throws IOException {
        try (InputStream list = ClosedContract.class.getResourceAsStream("/closed.txt")) {
            return new String(Objects.requireNonNull(list).readAllBytes(), StandardCharsets.UTF_8).lines();
        }
    }
}
