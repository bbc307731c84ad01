/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.Kernel;

/** A VM on a mocked {@link KernelBackend}: every call succeeds, descriptors are numbered. */
final class MockedVm {
    static final int KVM = 3;
    static final int VM = 4;
    static final int FIRST_EVENT = 5;
    static final int SECOND_EVENT = 6;

    final KernelBackend backend = mock(KernelBackend.class);
    final Kernel kernel;
    final Vm vm;

    MockedVm() {
        when(backend.kvmOpen(any())).thenReturn(KVM);
        when(backend.kvmVersion(KVM)).thenReturn(12);
        when(backend.vmCreate(anyInt(), anyLong())).thenReturn(VM);
        when(backend.eventfdCreate()).thenReturn(FIRST_EVENT, SECOND_EVENT);
        kernel = Kernel.over(backend);
        vm = Vm.create(kernel);
        vm.x86().createIrqchip();
    }
}
