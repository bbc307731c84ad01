/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import java.io.IOException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class RemappableMsiTest {
    private static Stream<Golden> golden() throws IOException {
        return Golden.of("msi.vtd.remappable");
    }

    @ParameterizedTest
    @MethodSource("golden")
    void messageIsReadAsTheKernelWritesIt(Golden golden) {
        int address = (int) golden.array()[0];
        int data = (int) golden.array()[1];
        RemappableMsi msi = new RemappableMsi(address, data);
        assertThat(msi).isEqualTo(RemappableMsi.to((int) golden.field("index"), (int) golden.field("subhandle")));
        assertThat(msi.address()).isEqualTo(address);
        assertThat(msi.data()).isEqualTo(data);
        assertThat(msi.violations()).isEmpty();
        assertThat(msi)
                .hasToString(
                        "msi.vtd.remappable 0x" + Integer.toHexString(address) + " 0x" + Integer.toHexString(data));
    }

    /** By hand, from the manual's figure: handle 15 is address bit 2, the others begin at bit 5. */
    @Test
    void handleIsInTwoPlaces() {
        RemappableMsi msi = new RemappableMsi(0xfee0_0034, 0x7);
        assertThat(msi.get(RemappableMsi.HANDLE)).isEqualTo(0x8001);
        assertThat(msi.is(RemappableMsi.SHV)).isFalse();
        assertThat(msi.index()).isEqualTo(0x8001);
        assertThat(RemappableMsi.to(0x8001, 7).index()).isEqualTo(0x8008);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0xfed00010 | 0x0     | base: 0xfed and not 0xfee: a write there is not an interrupt",
                "0xfee00000 | 0x0     | format: 0x0 and not 0x1: it is of compatibility format",
                "0xfee00018 | 0x10000 | rsvd_48_63: reserved bits data 31:16 are 0x1 and not 0 (fault reason 0x20)"
            })
    void violationsAreNamed(String address, String data, String sentence) {
        RemappableMsi msi = new RemappableMsi(
                Long.decode(address).intValue(), Long.decode(data).intValue());
        assertThat(msi.violations()).extracting(Violation::toString).containsExactly(sentence);
    }

    /** Without SHV a unit does not read the data: QEMU's vtd_interrupt_remap_msi tests it with SHV only. */
    @ParameterizedTest
    @CsvSource({"0xfee00030, 0xdead0041", "0xfee00010, 0xffff0000"})
    void dataIsIgnoredWithoutSubhandle(String address, String data) {
        RemappableMsi msi = new RemappableMsi(
                Long.decode(address).intValue(), Long.decode(data).intValue());
        assertThat(msi.violations()).isEmpty();
    }

    @Test
    void componentsThatDoNotFitAreRefused() {
        assertThatThrownBy(() -> RemappableMsi.to(0x10000, 0))
                .hasMessage("field 'index' 0x10000 does not fit: expected 0-0xffff");
        assertThatThrownBy(() -> RemappableMsi.to(0, -1))
                .hasMessage("field 'subhandle' 0xffffffffffffffff does not fit: expected 0-0xffff");
    }
}
