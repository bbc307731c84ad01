/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.kvm.MockedVm.FIRST_EVENT;
import static io.kvmirq.kvm.MockedVm.SECOND_EVENT;
import static io.kvmirq.kvm.MockedVm.VM;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.inOrder;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.EventFd;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.mockito.InOrder;

/** Which calls an irqfd makes, in which order, and which it does not make. */
class IrqfdTest {
    private static final Gsi GSI = new Gsi(24);
    private static final int EBUSY = -Errno.EBUSY.number();

    private final MockedVm mocked = new MockedVm();
    private final KernelBackend backend = mocked.backend;
    private final EventFd event = EventFd.create(mocked.kernel);

    /** The device asserts its line again only if it hears of the end of the interrupt. */
    @Test
    void maskOfALevelInterruptLowersTheLineBeforeItNotifies() {
        EventFd resample = EventFd.create(mocked.kernel);
        Irqfd irqfd = mocked.vm.assignLevelIrqfd(event, resample, GSI);
        irqfd.mask();
        irqfd.mask();
        irqfd.unmask();
        irqfd.unmask();
        InOrder order = inOrder(backend);
        order.verify(backend).irqfdAssignLevel(VM, FIRST_EVENT, SECOND_EVENT, GSI.number());
        order.verify(backend).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
        order.verify(backend).eventfdSignal(SECOND_EVENT, 1);
        order.verify(backend).irqfdAssignLevel(VM, FIRST_EVENT, SECOND_EVENT, GSI.number());
        order.verifyNoMoreInteractions();
    }

    @Test
    void maskOfAnEdgeInterruptNotifiesNothing() {
        mocked.vm.assignIrqfd(event, GSI).mask();
        verify(backend).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
        verify(backend, never()).eventfdSignal(anyInt(), anyLong());
    }

    @Test
    void maskedIrqfdIsClosedWithoutAnotherDeassign() {
        Irqfd irqfd = mocked.vm.assignIrqfd(event, GSI);
        irqfd.mask();
        irqfd.close();
        irqfd.close();
        verify(backend, times(1)).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
    }

    /** A refused unmask leaves it masked: the next one asks again, and close has nothing to take down. */
    @Test
    void refusedUnmaskStaysMasked() {
        Irqfd irqfd = mocked.vm.assignIrqfd(event, GSI);
        irqfd.mask();
        when(backend.irqfdAssign(VM, FIRST_EVENT, GSI.number())).thenReturn(EBUSY, EBUSY);
        assertThatThrownBy(irqfd::unmask).isInstanceOf(KernelException.class);
        assertThatThrownBy(irqfd::unmask).isInstanceOf(KernelException.class);
        irqfd.close();
        verify(backend, times(3)).irqfdAssign(VM, FIRST_EVENT, GSI.number());
        verify(backend, times(1)).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
    }

    /** An irqfd's leases hold both descriptors open until the kernel has let go of it. */
    @Test
    void descriptorsClosedEarlierGoAfterTheDeassign() {
        Irqfd irqfd = mocked.vm.assignIrqfd(event, GSI);
        event.close();
        mocked.vm.close();
        verify(backend, never()).fdClose(anyInt());
        irqfd.close();
        InOrder order = inOrder(backend);
        order.verify(backend).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
        order.verify(backend).fdClose(FIRST_EVENT);
        order.verify(backend).fdClose(VM);
    }

    /** The undoing of a set-up that fails: nothing is assigned, nothing is held. */
    @Test
    void refusedAssignHoldsNeitherGsiNorDescriptors() {
        when(backend.irqfdAssign(VM, FIRST_EVENT, GSI.number())).thenReturn(EBUSY);
        assertThatThrownBy(() -> mocked.vm.assignIrqfd(event, GSI)).isInstanceOf(KernelException.class);
        verify(backend, never()).irqfdDeassign(anyInt(), anyInt(), anyInt());
        event.close();
        verify(backend).fdClose(FIRST_EVENT);
        assertThat(mocked.vm.routes().add(MsiMessage.to(new VcpuId(0), new InterruptVector(0x31))))
                .isEqualTo(GSI);
    }

    /** The kernel still delivers: the mask says so, and the next one deassigns. */
    @ParameterizedTest
    @ValueSource(strings = {"EIO", "ENOMEM", "EBADF"})
    void refusedMaskIsNotMaskedAndTheNextOneTriesAgain(String errno) {
        EventFd resample = EventFd.create(mocked.kernel);
        Irqfd irqfd = mocked.vm.assignLevelIrqfd(event, resample, GSI);
        when(backend.irqfdDeassign(VM, FIRST_EVENT, GSI.number()))
                .thenReturn(-Errno.parse(errno).orElseThrow().number(), 0);
        assertThatThrownBy(irqfd::mask)
                .isInstanceOf(KernelException.class)
                .hasMessageStartingWith("irqfd deassign vm=4 eventfd=5 gsi=24: " + errno);
        assertThat(irqfd.isMasked()).isFalse();
        verify(backend, never()).eventfdSignal(anyInt(), anyLong());
        irqfd.unmask();
        irqfd.mask();
        assertThat(irqfd.isMasked()).isTrue();
        irqfd.close();
        verify(backend, times(1)).irqfdAssignLevel(VM, FIRST_EVENT, SECOND_EVENT, GSI.number());
        verify(backend, times(2)).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
    }

    /** Tear-down cannot fail, whatever the kernel answers. */
    @Test
    void refusedDeassignIsNotRepeated() {
        Irqfd irqfd = mocked.vm.assignIrqfd(event, GSI);
        when(backend.irqfdDeassign(VM, FIRST_EVENT, GSI.number())).thenReturn(-Errno.EIO.number());
        irqfd.close();
        irqfd.close();
        verify(backend, times(1)).irqfdDeassign(VM, FIRST_EVENT, GSI.number());
    }

    @Test
    void closedLevelIrqfdCanBeShownAndRefusesByName() {
        Irqfd irqfd = mocked.vm.assignLevelIrqfd(event, EventFd.create(mocked.kernel), GSI);
        String shown = "irqfd eventfd (fd 5) → gsi 24, resample eventfd (fd 6)";
        assertThat(irqfd).hasToString(shown);
        irqfd.close();
        assertThat(irqfd).hasToString(shown);
        assertThatThrownBy(irqfd::mask)
                .hasMessage(shown + " is closed: it was used after close(); create or open another");
    }
}
