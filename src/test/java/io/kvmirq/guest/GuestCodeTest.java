/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.guest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Bytes, source and listing of the guest are one. */
class GuestCodeTest {
    private static void assumeAssembler() {
        Machine.assumeX86();
        Machine.assumeProgram("as");
        Machine.assumeProgram("cpp");
    }

    @Test
    void bytesAreWhatTheSourceAssemblesTo() throws Exception {
        assumeAssembler();
        assertThat(Program.output(List.of(Machine.root() + "/scripts/guest")).strip())
                .isEqualTo(GuestCode.HEX);
    }

    @Test
    void listingIsOfThisSource() throws Exception {
        assumeAssembler();
        Path listing = Machine.root().resolve("src/fake/guest/guest.lst");
        assertThat(Program.output(List.of(Machine.root() + "/scripts/guest", "--listing")))
                .isEqualTo(Files.readString(listing));
    }
}
