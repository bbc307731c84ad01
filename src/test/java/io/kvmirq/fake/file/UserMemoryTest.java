/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.NotModelledException;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class UserMemoryTest {
    private static final int BUFFERS = 1000;
    private static final int BOTH = Uapi.PROT_READ | Uapi.PROT_WRITE;

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
        long address = memory.map(mapped, BOTH);
        long other = memory.map(ByteBuffer.allocate(8192), BOTH);
        assertThat(memory.addressOf(mapped)).isEqualTo(address);
        assertThatThrownBy(() -> memory.unmap(address, 4096)).isInstanceOf(NotModelledException.class);
        memory.unmap(address, 8192);
        memory.unmap(address, 8192);
        assertThat(memory.at(address, 1)).isNull();
        assertThat(memory.at(other, 1)).isNotNull();
        assertThat(memory.addressOf(mapped)).isGreaterThan(other);
    }

    /** A mapping of 1 TiB would else be a thousand buffers before its first use. */
    @Test
    void memoryIsMadeWhenItIsUsed() {
        List<Integer> made = new ArrayList<>();
        long part = 1L << 30;
        long address = memory.map(3 * part + 4096, BOTH, bytes -> {
            made.add(bytes);
            return ByteBuffer.allocate(4096); // as if it were so long
        });
        long other = memory.map(ByteBuffer.allocate(8), BOTH);
        assertThat(other).isGreaterThan(address + 3 * part + 4096);
        assertThat(memory.at(address + 3 * part + 4096, 1))
                .as("the page behind it")
                .isNull();
        assertThat(made).isEmpty();
        ByteBuffer last = memory.at(address + 3 * part, 4096);
        assertThat(made).containsExactly(4096);
        assertThat(memory.at(address + 3 * part + 100, 1)).isSameAs(last);
        assertThat(memory.addressOf(last)).isEqualTo(address + 3 * part);
        assertThat(memory.at(address + part, 1)).isNotNull();
        assertThat(made).containsExactly(4096, 1 << 30);
        for (int i = 0; i < BUFFERS; i++) { // what is not made outlasts a purge
            memory.addressOf(ByteBuffer.allocate(1));
        }
        assertThat(memory.at(address, 1)).isNotNull();
        assertThat(memory.at(other, 8)).isNotNull();
        assertThat(made).hasSize(3);
        long unused = memory.map(3 * part, BOTH, ByteBuffer::allocate);
        memory.unmap(unused, 3 * part);
        assertThat(memory.at(unused, 1)).isNull();
        assertThat(memory.at(unused + 2 * part, 1)).isNull();
    }

    /** A mapping's buffers lie side by side: the kernel sees one mapping. */
    @Test
    void copiesGoThroughTheBuffersOfAMapping() {
        long part = 1L << 30;
        long address = memory.map(
                part + 4096, BOTH, bytes -> ByteBuffer.allocateDirect(4096).slice());
        long border = address + part;
        assertThat(memory.has(border - 4, 8, Uapi.PROT_WRITE)).isTrue();
        assertThat(memory.has(address, part + 4096, Uapi.PROT_READ)).isTrue();
        assertThat(memory.has(address, part + 4097, Uapi.PROT_READ)).isFalse();
        assertThat(memory.has(address, -1, Uapi.PROT_READ)).isFalse();
        assertThat(memory.has(border, 0, Uapi.PROT_READ)).isTrue();
        assertThat(memory.copyOut(border, ByteBuffer.allocate(8).putLong(0, -1), 8))
                .isTrue();
        assertThat(memory.copyIn(border + 4, 8).getLong(0)).isEqualTo(0xffffffffL);
        assertThat(memory.copyIn(address - 1, 0)).as("of no bytes").isNotNull();
    }
}
