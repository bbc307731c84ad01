/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import org.junit.jupiter.api.Test;

/** When close(2) is called, and that it is called once. */
class FdTest {
    private static final int NUMBER = 7;

    private final KernelBackend backend = mock(KernelBackend.class);
    private final Kernel kernel = Kernel.over(backend);
    private final Fd owned = Fd.adopt(kernel, "eventfd", NUMBER, Ownership.OWNED);

    @Test
    void closesOnceHoweverOftenItIsTold() {
        owned.close();
        owned.close();
        verify(backend).fdClose(NUMBER);
    }

    /** After EINTR the number is free and may be another file's already. */
    @Test
    void interruptedCloseIsNotRepeated() {
        when(backend.fdClose(NUMBER)).thenReturn(-Errno.EINTR.number());
        owned.close();
        owned.close();
        verify(backend).fdClose(NUMBER);
    }

    @Test
    void callInFlightClosesOnItsWayOut() {
        owned.enter();
        owned.close();
        verify(backend, never()).fdClose(anyInt());
        owned.exit();
        verify(backend).fdClose(NUMBER);
    }

    @Test
    void lastLeaseClosesAndEndsOnce() {
        Fd.Lease first = owned.lease();
        Fd.Lease second = owned.lease();
        owned.close();
        first.close();
        first.close();
        verify(backend, never()).fdClose(anyInt());
        second.close();
        verify(backend).fdClose(NUMBER);
    }

    @Test
    void borrowedIsNeverClosed() {
        Fd borrowed = Fd.adopt(kernel, "eventfd", NUMBER, Ownership.BORROWED);
        Fd.Lease lease = borrowed.lease();
        borrowed.close();
        lease.close();
        verify(backend, never()).fdClose(anyInt());
    }

    @Test
    void closedHandleIsNotLeased() {
        owned.close();
        assertThatThrownBy(owned::lease).isInstanceOf(ClosedHandleException.class);
        verify(backend).fdClose(NUMBER);
    }
}
