/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.NIC;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.AdditionalAnswers.delegatesTo;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.doCallRealMethod;
import static org.mockito.Mockito.doReturn;
import static org.mockito.Mockito.inOrder;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.times;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.mockito.InOrder;

/** The order of calls at the seam to the kernel, and their undoing. */
class ForwardOrderTest {
    private final FakeKernel fake = new FakeKernel(Profile.parse("6.12"));
    private final KernelBackend backend;
    private final Kernel kernel;
    private final Vm vm;
    private final VfioDevice device;
    private final Forwarding forwarding;
    private final InOrder order;

    ForwardOrderTest() {
        fake.pciDevice(NIC.toString(), 15).intx().msix(4).add();
        backend = mock(KernelBackend.class, delegatesTo(fake.backend()));
        doCallRealMethod().when(backend).eventfdsCreate(any(), anyInt());
        doCallRealMethod().when(backend).irqfdsAssign(anyInt(), any(), anyInt());
        kernel = Kernel.over(backend);
        vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        device = VfioDevice.open(kernel, NIC, KvmVfio.create(vm));
        forwarding = Forwarding.create(vm, device);
        order = inOrder(backend);
    }

    @AfterEach
    void close() {
        forwarding.close();
        device.close();
        vm.close();
    }

    private void refusedWhenAllIsDone(int status) {
        doReturn(status).when(backend).vfioIrqsSet(anyInt(), anyInt(), anyInt(), anyInt(), eq(2), any());
        assertThatThrownBy(() -> forwarding.forwardAll(device.msix(0, 2), i -> ForwardWorld.message(0x30 + i)))
                .isInstanceOf(RuntimeException.class);
    }

    @Test
    void refusedBatchIsUndoneInReverse() {
        refusedWhenAllIsDone(-Errno.ENOSPC.number());
        order.verify(backend).eventfdsCreate(any(), eq(2));
        order.verify(backend, times(2)).eventfdCreate();
        order.verify(backend).routesSet(anyInt(), any(), eq(42));
        order.verify(backend).irqfdsAssign(anyInt(), any(), eq(2));
        order.verify(backend).irqfdAssign(anyInt(), anyInt(), eq(24));
        order.verify(backend).irqfdAssign(anyInt(), anyInt(), eq(25));
        order.verify(backend).vfioIrqsSet(anyInt(), anyInt(), anyInt(), anyInt(), eq(2), any());
        order.verify(backend, times(2)).irqfdDeassign(anyInt(), anyInt(), anyInt());
        order.verify(backend).routesSet(anyInt(), any(), eq(40));
        order.verify(backend, times(2)).fdClose(anyInt());
        order.verifyNoMoreInteractions();
    }

    /** The kernel enables nothing when it has too few vectors. */
    @Test
    void shortageIsUndoneInReverse() {
        refusedWhenAllIsDone(1);
        order.verify(backend).vfioIrqsSet(anyInt(), anyInt(), anyInt(), anyInt(), eq(2), any());
        order.verify(backend, times(2)).irqfdDeassign(anyInt(), anyInt(), anyInt());
        order.verify(backend).routesSet(anyInt(), any(), eq(40));
        order.verify(backend, times(2)).fdClose(anyInt());
    }

    /** The irqfd waits for the line, and what unmasks it comes last; back in reverse. */
    @Test
    void lineIsArmedAfterItsIrqfdAndDisarmedBefore() {
        ForwardedIrq line = forwarding.forward(device.intx(), new Gsi(11));
        order.verify(backend).irqfdAssignLevel(anyInt(), anyInt(), anyInt(), eq(11));
        order.verify(backend, times(2)).vfioIrqsSet(anyInt(), anyInt(), eq(0), anyInt(), anyInt(), any());
        line.close();
        order.verify(backend, times(2)).vfioIrqsSet(anyInt(), anyInt(), eq(0), anyInt(), anyInt(), any());
        order.verify(backend).irqfdDeassign(anyInt(), anyInt(), eq(11));
        order.verify(backend, times(2)).fdClose(anyInt());
        order.verifyNoMoreInteractions();
    }

    /** On arm64 a changed route ends a vLPI: the irqfd goes before it and comes after it. */
    @Test
    void rerouteOnArm64RegistersTheIrqfdAgain() {
        FakeKernel arm = new FakeKernel(Profile.parse("6.12,arm64"));
        arm.pciDevice(NIC.toString(), 15).msix(4).add();
        KernelBackend seam = mock(KernelBackend.class, delegatesTo(arm.backend()));
        Kernel host = Kernel.over(seam);
        InOrder calls = inOrder(seam);
        try (Undo made = new Undo()) {
            MessageGuest guest = MessageGuest.of(host, arm.backend().libc(), 2, made);
            VfioDevice nic = made.add(VfioDevice.open(host, NIC, KvmVfio.create(guest.vm)));
            Forwarding second = made.add(Forwarding.create(guest.vm, nic));
            ForwardedIrq irq = second.forward(nic.msix().get(0), guest.message(0));
            irq.reroute(guest.message(1));
            calls.verify(seam).vfioIrqsSet(anyInt(), anyInt(), anyInt(), anyInt(), anyInt(), any());
            calls.verify(seam).irqfdDeassign(anyInt(), anyInt(), anyInt());
            calls.verify(seam).routesSet(anyInt(), any(), anyInt());
            calls.verify(seam).irqfdAssign(anyInt(), anyInt(), anyInt());
            calls.verifyNoMoreInteractions();
        }
    }
}
