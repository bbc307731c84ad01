/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.ArgumentMatchers.eq;
import static org.mockito.Mockito.inOrder;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.KernelBackend;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.mockito.ArgumentCaptor;
import org.mockito.InOrder;

/** Which calls an eventfd makes, in which order, and which it makes again. */
class EventFdCallsTest {
    private static final int EVENT = 7;
    private static final int WAKE = 8;
    private static final int EAGAIN = -Errno.EAGAIN.number();
    private static final int EINTR = -Errno.EINTR.number();

    private final KernelBackend backend = mock(KernelBackend.class);
    private final Kernel kernel = Kernel.over(backend);

    @BeforeEach
    void descriptors() {
        when(backend.eventfdCreate()).thenReturn(EVENT, WAKE);
    }

    /** So that a host without KVM can use eventfds. */
    @Test
    void eventfdNeedsNoKvmDevice() {
        EventFd.create(kernel).close();
        verify(backend, never()).kvmOpen(any());
        verify(backend).fdClose(EVENT);
    }

    @Test
    void interruptedWaitGoesOnForTheTimeThatIsLeft() {
        when(backend.fdWait(eq(EVENT), eq(WAKE), anyLong())).thenReturn(EINTR, EINTR, KernelBackend.READY_FD);
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.await(Duration.ofHours(1))).isTrue();
        }
        ArgumentCaptor<Long> left = ArgumentCaptor.forClass(Long.class);
        verify(backend, times(3)).fdWait(eq(EVENT), eq(WAKE), left.capture());
        List<Long> times = left.getAllValues();
        long hour = Interruption.nanos(Duration.ofHours(1));
        assertThat(times.get(0)).isEqualTo(Interruption.once(hour));
        assertThat(times.get(1)).isPositive().isLessThanOrEqualTo(times.get(0));
        assertThat(times.get(2)).isPositive().isLessThanOrEqualTo(times.get(1));
        long halfAnHourAgo = System.nanoTime() - hour / 2;
        assertThat(Interruption.left(hour, halfAnHourAgo)).isPositive().isLessThanOrEqualTo(hour / 2);
    }

    @Test
    void waitForEverStaysForEverAfterASignal() {
        when(backend.fdWait(EVENT, WAKE, Interruption.once(-1))).thenReturn(EINTR, 0, KernelBackend.READY_FD);
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.await()).isTrue();
        }
        verify(backend, times(3)).fdWait(EVENT, WAKE, Interruption.once(-1));
    }

    /** A thread that waits would not return before its time. */
    @Test
    void closeWritesAgainWhereTheWriteThatWakesFails() {
        when(backend.fdWait(EVENT, WAKE, 1)).thenReturn(0);
        when(backend.eventfdSignal(WAKE, 1)).thenReturn(-Errno.EIO.number(), 0);
        EventFd event = EventFd.create(kernel);
        event.awaitNanos(1);
        event.close();
        verify(backend, times(2)).eventfdSignal(WAKE, 1);
        verify(backend).fdClose(WAKE);
    }

    /** A host at its limit of descriptors still hears of what was signalled before. */
    @Test
    void signalledEventfdIsHeardWithoutAnotherDescriptor() {
        when(backend.eventfdCreate()).thenReturn(EVENT, -Errno.EMFILE.number());
        when(backend.fdWait(EVENT, -1, 0)).thenReturn(KernelBackend.READY_FD, 0);
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.await()).isTrue();
            assertThatThrownBy(() -> event.await()).hasMessageStartingWith("eventfd create: EMFILE");
        }
    }

    /** Making a descriptor may call the user's logger, so no lock is held meanwhile. */
    @Test
    void eventfdMayBeClosedWhileItsWakeDescriptorIsMade() {
        EventFd[] event = new EventFd[1];
        when(backend.eventfdCreate()).thenReturn(EVENT).thenAnswer(call -> {
            CompletableFuture.runAsync(event[0]::close).get();
            return WAKE;
        });
        event[0] = EventFd.create(kernel);
        assertThatThrownBy(() -> event[0].await()).isInstanceOf(ClosedHandleException.class);
        verify(backend).fdClose(EVENT);
        verify(backend).fdClose(WAKE);
    }

    @Test
    void emptyCounterIsAskedOnce() {
        when(backend.eventfdDrain(eq(EVENT), any())).thenReturn(EAGAIN);
        try (EventFd event = EventFd.create(kernel)) {
            assertThat(event.drain()).isZero();
        }
        verify(backend).eventfdDrain(eq(EVENT), any());
        verify(backend, never()).eventfdDrainForeign(anyInt(), any());
    }

    /** An adopted descriptor's O_NONBLOCK is unknown, so the call never blocks. */
    @Test
    void adoptedIsDrainedByTheCallThatNeverBlocks() {
        EventFd.adopt(kernel, EVENT, Ownership.BORROWED).drain();
        verify(backend).eventfdDrainForeign(eq(EVENT), any());
        verify(backend, never()).eventfdDrain(anyInt(), any());
    }

    /** An adopted eventfd may block, and a signal then ends the call. */
    @Test
    void interruptedSignalOfAnAdoptedEventfdIsMadeAgain() {
        when(backend.eventfdSignal(EVENT, 1)).thenReturn(EINTR, EINTR, 0);
        EventFd.adopt(kernel, EVENT, Ownership.BORROWED).signal();
        verify(backend, times(3)).eventfdSignal(EVENT, 1);
    }

    @Test
    void fullCounterIsNotSignalledAgain() {
        when(backend.eventfdSignal(EVENT, 1)).thenReturn(EAGAIN);
        try (EventFd event = EventFd.create(kernel)) {
            assertThatThrownBy(event::signal)
                    .isInstanceOf(KernelException.class)
                    .hasMessage(
                            "eventfd signal eventfd=7 count=1: EAGAIN (the count would exceed 2^64-2: no reader drains"
                                    + " it)");
        }
        verify(backend).eventfdSignal(EVENT, 1);
    }

    @Test
    void wakeDescriptorIsMadeByTheFirstCallThatWaitsAndOnce() {
        when(backend.fdWait(eq(EVENT), eq(WAKE), anyLong())).thenReturn(0);
        try (EventFd event = EventFd.create(kernel)) {
            event.awaitNanos(0);
            verify(backend, times(1)).eventfdCreate();
            event.awaitNanos(1);
            event.awaitNanos(1);
        }
        verify(backend, times(2)).eventfdCreate();
    }

    @Test
    void closeWakesWhoWaitsBeforeTheWakeDescriptorGoes() {
        EventFd event = EventFd.create(kernel);
        when(backend.fdWait(eq(EVENT), eq(WAKE), anyLong())).thenReturn(0);
        event.awaitNanos(1);
        event.close();
        event.close();
        InOrder order = inOrder(backend);
        order.verify(backend).fdWait(EVENT, WAKE, 1);
        order.verify(backend).fdClose(EVENT);
        order.verify(backend).eventfdSignal(WAKE, 1);
        order.verify(backend).fdClose(WAKE);
        order.verifyNoMoreInteractions();
    }
}
