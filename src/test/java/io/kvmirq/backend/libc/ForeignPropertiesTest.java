/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Native;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import jnr.ffi.Runtime;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The application may use JNA and jnr-ffi too: kvmirq leaves them as they are. */
class ForeignPropertiesTest {
    @TempDir
    private Path temporary;

    @ParameterizedTest
    @ValueSource(strings = {"jna", "jnr"})
    void openBindingLeavesNoProperty(String name) {
        assertThat(Backends.ofThisMachine().open(name).name()).isEqualTo(name);
        assertThat(System.getProperties().stringPropertyNames())
                .doesNotContain("jna.tmpdir", "jffi.extract.dir", "jffi.extract.name");
    }

    /** The other JVM: tries the binding, then uses its library as an application does. */
    static final class Application {
        private Application() {}

        public static void main(String[] arguments) {
            try {
                Backends.ofThisMachine().open(arguments[0]);
            } catch (BackendUnavailableException e) {
                System.out.println(e.getMessage());
            }
            int size = arguments[0].equals("jna")
                    ? Native.POINTER_SIZE
                    : Runtime.getSystemRuntime().addressSize();
            System.out.println("application: " + size);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"jna", "jnr"})
    void noexecCacheLeavesTheLibraryUsableForTheApplication(String name) throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path cache = Files.createDirectory(temporary.resolve("cache"));
        String mounted = "mount -t tmpfs -o noexec,mode=700 none " + cache + " && exec \"$@\"";
        String said = Program.output(List.of(
                "unshare",
                "--mount",
                "env",
                "XDG_CACHE_HOME=" + Files.createDirectory(temporary.resolve("home")),
                "sh",
                "-c",
                mounted,
                "sh",
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Dkvmirq.cache=" + cache,
                "-cp",
                System.getProperty("java.class.path"),
                Application.class.getName(),
                name));
        assertThat(said)
                .contains("backend " + name + " cannot be used: cache directory: " + cache
                        + "/others is mounted noexec; or set $XDG_CACHE_HOME or -Dkvmirq.cache to another place\n")
                .endsWith("application: 8\n");
    }
}
