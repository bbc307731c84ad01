/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Bytes, source and listing of the guest are one. */
class GuestCodeTest {
    private static String run(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).isZero();
        return output;
    }

    private static void assumeAssembler() {
        Machine.assumeX86();
        Machine.assumeProgram("as");
        Machine.assumeProgram("cpp");
    }

    @Test
    void bytesAreWhatTheSourceAssemblesTo() throws Exception {
        assumeAssembler();
        assertThat(run(Machine.root() + "/scripts/guest").strip()).isEqualTo(GuestCode.HEX);
    }

    @Test
    void listingIsOfThisSource() throws Exception {
        assumeAssembler();
        Path listing = Machine.root().resolve("src/main/guest/guest.lst");
        assertThat(run(Machine.root() + "/scripts/guest", "--listing")).isEqualTo(Files.readString(listing));
    }
}
