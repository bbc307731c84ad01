/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import java.io.IOException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class CompatibilityMsiTest {
    private static Stream<Golden> golden() throws IOException {
        return Golden.of("msi.compat");
    }

    @ParameterizedTest
    @MethodSource("golden")
    void messageIsReadAsKvmReadsIt(Golden golden) {
        long address = golden.array()[1] << 32 | golden.array()[0];
        int data = (int) golden.array()[2];
        CompatibilityMsi msi = new CompatibilityMsi(address, data);
        assertThat(msi.destination()).isEqualTo(golden.field("dest32"));
        assertThat(msi.destination() & 0xff).isEqualTo(golden.field("dest8"));
        assertThat(msi.vector().number()).isEqualTo((int) golden.field("vector"));
        assertThat(msi.is(CompatibilityMsi.LOGICAL)).isEqualTo(golden.bit("dest_mode_logical"));
        assertThat(msi.is(CompatibilityMsi.HINT)).isEqualTo(golden.bit("redirect_hint"));
        assertThat(msi.mode().number()).isEqualTo((int) golden.field("delivery_mode"));
        assertThat(msi.is(CompatibilityMsi.LEVEL)).isEqualTo(golden.bit("is_level"));
        assertThat(msi)
                .hasToString(String.format("msi.compat 0x%x 0x%x 0x%x", address & 0xffff_ffffL, address >>> 32, data));
        assertThat(msi.violations()).isEmpty();
    }

    @Test
    void messageOfALibraryIsRead() {
        MsiMessage message = MsiMessage.to(new VcpuId(0x234), new InterruptVector(0x41));
        CompatibilityMsi msi = new CompatibilityMsi(message.address(), message.data());
        assertThat(msi.destination()).isEqualTo(0x234);
        assertThat(msi.vector()).isEqualTo(new InterruptVector(0x41));
        assertThat(msi.mode()).isEqualTo(DeliveryMode.FIXED);
        MsiMessage nmi = MsiMessage.nmiTo(new VcpuId(3));
        assertThat(new CompatibilityMsi(nmi.address(), nmi.data()).mode()).isEqualTo(DeliveryMode.NMI);
    }

    @Test
    void deliveryModesHaveTheirNumbers() {
        for (int i = 0; i < 8; i++) {
            assertThat(DeliveryMode.of(i).number()).isEqualTo(i);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0x00000000fed01000 | 0x41    | base: 0xfed and not 0xfee: a write there is not an interrupt",
                "0x00000000fee01010 | 0x41    | format: 0x1 and not 0x0: it is of remappable format",
                "0x00000001fee01000 | 0x41    | rsvd_32_39: reserved bits high address 7:0 are 0x1 and not 0",
                "0x00000000fee01000 | 0x341   | delivery_mode: delivery mode 3 is reserved",
                "0x00000000fee01000 | 0xf     | vector: vector 0xf is below 0x10: a LAPIC raises an error instead",
                "0x00000000fee01000 | 0x841   | rsvd_75_77: reserved bits data 13:11 are 0x1 and not 0",
                "0x00000000fee01000 | 0x10041 | rsvd_80_95: reserved bits data 31:16 are 0x1 and not 0"
            })
    void violationsAreNamed(String address, String data, String sentence) {
        assertThat(new CompatibilityMsi(Long.decode(address), Long.decode(data).intValue()).violations())
                .extracting(Violation::toString)
                .containsExactly(sentence);
    }
}
