/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.backend.Libc;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class AddressesTest {
    private static final long START = 0x7000_0000;
    private static final int LENGTH = 0x1000;

    /** A binding may lack memory for the buffer after it registered the end of the view. */
    @Test
    void viewThatFailedEndsOnceSoThatOthersKeepTheAddresses() {
        Libc libc = mock(Libc.class);
        when(libc.view(anyLong(), anyLong(), any()))
                .thenReturn(ByteBuffer.allocate(LENGTH))
                .thenAnswer(call -> {
                    call.<Runnable>getArgument(2).run();
                    throw new OutOfMemoryError("planted");
                });
        Addresses addresses = new Addresses(libc, new Reports(System.getLogger("io.kvmirq")), START, LENGTH);
        addresses.view(0, LENGTH);
        assertThatThrownBy(() -> addresses.view(0, LENGTH)).isInstanceOf(OutOfMemoryError.class);
        addresses.withdraw();
        verify(libc).mapZeros(START, LENGTH);
        verify(libc, never()).munmap(anyLong(), anyLong());
    }
}
