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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.Deflater;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

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

    /** Makes a tree with its script and its jars, as make build does, of the classes that Maven compiled. */
    public static Path built(Path tree) throws IOException {
        Files.createDirectories(tree.resolve("target/build"));
        Files.createDirectories(tree.resolve("scripts"));
        Files.copy(Machine.root().resolve("scripts/tiny-vmm"), tree.resolve("scripts/tiny-vmm"));
        for (String state : List.of("main", "jar")) {
            Files.createFile(tree.resolve("target/build/" + state + ".state"));
        }
        jar(tree.resolve("target/tiny-vmm.jar"), List.of(CLASSES));
        try (var library = Files.list(Machine.root().resolve("target/classes"))) {
            jar(tree.resolve("target/kvmirq-cli.jar"), library.toList());
        }
        return tree.resolve("scripts/tiny-vmm");
    }

    private static void jar(Path jar, List<Path> directories) throws IOException {
        Set<String> names = new HashSet<>();
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(jar))) {
            out.setLevel(Deflater.NO_COMPRESSION);
            for (Path directory : directories) {
                try (var files = Files.walk(directory)) {
                    for (Path file : files.filter(Files::isRegularFile).toList()) {
                        String name = directory.relativize(file).toString();
                        if (names.add(name)) {
                            out.putNextEntry(new ZipEntry(name));
                            Files.copy(file, out);
                        }
                    }
                }
            }
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
