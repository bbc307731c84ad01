/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.recording.Recorder;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The library on a class path of its own: its only optional dependency for tapes is missing. */
class WithoutJacksonTest {
    @TempDir
    private Path temporary;

    @Test
    void kernelFromATapeNamesTheArtifact() throws Exception {
        Path tape = temporary.resolve("tape");
        KernelBackend fake = new FakeKernel(Profile.V6_18).backend();
        try (Recorder recorder = Recorder.of(fake, Files.newOutputStream(tape))) {
            Kernel.over(recorder.backend(), Kernel.DEVICE).close();
        }
        URL ours = FakeKernel.class.getProtectionDomain().getCodeSource().getLocation();
        try (URLClassLoader alone = new URLClassLoader(new URL[] {ours}, ClassLoader.getPlatformClassLoader())) {
            Method from = alone.loadClass(FakeKernel.class.getName()).getMethod("from", Path.class);
            InvocationTargetException thrown =
                    catchThrowableOfType(InvocationTargetException.class, () -> from.invoke(null, tape));
            assertThat(thrown)
                    .cause()
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith("a tape is JSON, which jackson-core reads: add"
                            + " com.fasterxml.jackson.core:jackson-core to the class path");
        }
    }
}
