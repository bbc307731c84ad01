/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.guest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Bytes, source and listing of each guest are one. */
class GuestCodeTest {
    private static final List<String> ASSEMBLER_OF_ARM64 = List.of("aarch64-linux-gnu-as", "cpp");

    private static void assumeAssembler(String guest) {
        if (guest.equals("arm64")) {
            ASSEMBLER_OF_ARM64.forEach(Machine::assumeProgram);
        } else {
            Machine.assumeX86();
            Machine.assumeProgram("as");
            Machine.assumeProgram("cpp");
        }
    }

    static List<Arguments> codes() {
        return List.of(Arguments.of("x86", GuestCode.HEX), Arguments.of("arm64", ArmGuestCode.HEX));
    }

    @ParameterizedTest
    @MethodSource("codes")
    void bytesAreWhatTheSourceAssemblesTo(String guest, String hex) throws Exception {
        assumeAssembler(guest);
        assertThat(Program.output(List.of(Machine.root() + "/scripts/guest", guest))
                        .strip())
                .isEqualTo(hex);
    }
}
