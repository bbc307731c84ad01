/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TapingTest {
    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    private Path file() {
        return temporary.resolve("tape");
    }

    private static Kernel opened(Taping taping) {
        Kernel kernel = Kernel.over(taping.over(new FakeKernel(Profile.V6_18).backend()), Kernel.DEVICE);
        kernel.device();
        return kernel;
    }

    @Test
    void kernelThatRefusesCostsNoEarlierTape() throws IOException {
        Files.writeString(file(), "earlier");
        try (Taping taping = new Taping(Optional.of(file()))) {
            taping.over(new FakeKernel(Profile.V6_18).backend());
        }
        assertThat(file()).hasContent("earlier");
    }

    @Test
    void tapeIsForItsOwnerAndHoldsTheCallsThatOpenedTheKernelOnce() throws IOException {
        try (Taping taping = new Taping(Optional.of(file()))) {
            opened(taping).close();
            opened(taping).close();
            taping.begin();
        }
        assertThat(Files.getPosixFilePermissions(file())).isEqualTo(PosixFilePermissions.fromString("rw-------"));
        assertThat(Files.readAllLines(file()))
                .filteredOn(line -> line.contains("\"path\":\"/dev/kvm\""))
                .hasSize(1);
    }
}
