/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.NotModelledException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class UserMemoryTest {
    private static final int BUFFERS = 1000;

    private final UserMemory memory = new UserMemory();

    @Test
    void eachBufferKeepsItsOwnAddress() {
        ByteBuffer[] buffers = IntStream.range(0, BUFFERS)
                .mapToObj(i -> ByteBuffer.allocate(8).putInt(0, i))
                .toArray(ByteBuffer[]::new);
        long[] addresses = Arrays.stream(buffers).mapToLong(memory::addressOf).toArray();
        assertThat(addresses).doesNotHaveDuplicates();
        for (int i = 0; i < BUFFERS; i++) {
            assertThat(memory.addressOf(buffers[i])).isEqualTo(addresses[i]);
            assertThat(memory.at(addresses[i], 8)).isNotNull();
            assertThat(memory.offset(addresses[i] + 3)).isEqualTo(3);
            assertThat(memory.at(addresses[i], 9)).as("beyond the buffer").isNull();
        }
    }

    @Test
    void unmappedMemoryHasNoAddress() {
        ByteBuffer mapped = ByteBuffer.allocate(8192);
        long address = memory.map(mapped);
        long other = memory.map(ByteBuffer.allocate(8192));
        assertThat(memory.addressOf(mapped)).isEqualTo(address);
        assertThatThrownBy(() -> memory.unmap(address, 4096)).isInstanceOf(NotModelledException.class);
        memory.unmap(address, 8192);
        memory.unmap(address, 8192);
        assertThat(memory.at(address, 1)).isNull();
        assertThat(memory.at(other, 1)).isNotNull();
        assertThat(memory.addressOf(mapped)).isGreaterThan(other);
    }
}
