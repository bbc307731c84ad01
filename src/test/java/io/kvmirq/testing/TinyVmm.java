/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** The example src/examples/tiny-vmm, which Maven compiles to target/examples. */
public final class TinyVmm {
    private static final Path CLASSES = Machine.root().resolve("target/examples");

    private TinyVmm() {}

    /** What it returned and printed. */
    public record Ended(int status, String out) {}

    /** The device tree that it makes for arm64 with 256 MiB, an initramfs at their end, and these vCPUs. */
    public static byte[] deviceTree(String commandLine, int vcpus) throws Exception {
        try (URLClassLoader loader =
                new URLClassLoader(new URL[] {CLASSES.toUri().toURL()})) {
            Method tree = loader.loadClass("tinyvmm.ArmLinux")
                    .getDeclaredMethod("tree", String.class, long.class, int.class, long.class, int.class);
            tree.setAccessible(true);
            return (byte[]) tree.invoke(null, commandLine, 0x1000_0000L, vcpus, 0x4fff_f000L, 0x1000);
        }
    }

    /**
     * Runs it in this JVM.
     *
     * @param copy gets what it prints meanwhile
     */
    public static Ended run(OutputStream copy, InputStream typed, String... arguments) throws Exception {
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        OutputStream both = new OutputStream() {
            @Override
            public void write(int letter) throws IOException {
                said.write(letter);
                copy.write(letter);
            }
        };
        try (URLClassLoader loader =
                        new URLClassLoader(new URL[] {CLASSES.toUri().toURL()});
                PrintStream out = new PrintStream(both, false, StandardCharsets.UTF_8)) {
            Object status = loader.loadClass("tinyvmm.TinyVmm")
                    .getMethod("run", InputStream.class, PrintStream.class, String[].class)
                    .invoke(null, typed, out, arguments);
            out.flush();
            return new Ended((int) status, said.toString(StandardCharsets.UTF_8));
        }
    }
}
