/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Kernels;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Logs and error sentences show handles that may have been closed by another thread. */
class ClosedHandlesTest {
    @ParameterizedTest
    @SuppressWarnings("try") // What is tested is a close before the end.
    @EnumSource
    void everyHandleIsShownTheSameAfterItIsClosed(Kernels kernels) {
        List<Object> handles = new ArrayList<>();
        List<String> before = new ArrayList<>();
        try (Kernel kernel = kernels.open();
                Undo open = new Undo()) {
            Vm vm = open.add(Vm.create(kernel));
            vm.x86().createIrqchip();
            EventFd event = open.add(EventFd.create(kernel));
            EventFd other = open.add(EventFd.create(kernel));
            EventFd resample = open.add(EventFd.create(kernel));
            handles.addAll(List.of(
                    vm,
                    vm.fd(),
                    vm.routes(),
                    event,
                    event.fd(),
                    open.add(vm.assignIrqfd(event, new Gsi(24))),
                    open.add(vm.assignLevelIrqfd(other, resample, new Gsi(5))),
                    open.add(vm.assignIoEventFd(IoAddress.port(0x80, 1), event)),
                    open.add(vm.createDevice(KvmDevice.Type.VFIO)),
                    open.add(vm.addMemory(0, 4096)),
                    open.add(vm.createVcpu(new VcpuId(0)))));
            shown(handles).forEach(before::add);
        }
        assertThat(shown(handles)).containsExactlyElementsOf(before);
    }

    private static Stream<String> shown(List<Object> handles) {
        return handles.stream().map(Object::toString);
    }
}
