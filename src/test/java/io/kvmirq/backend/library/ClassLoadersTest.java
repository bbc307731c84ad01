/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.io.InputStream;
import java.lang.ref.Reference;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.FutureTask;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Several class loaders with kvmirq in one JVM, as in an application server or after a reload. */
class ClassLoadersTest {
    @TempDir
    private Path temporary;

    @BeforeEach
    void x86Only() {
        Machine.assumeX86();
    }

    /** kvmirq once more, from the same class path. */
    private static ClassLoader loader() throws Exception {
        List<URL> path = new ArrayList<>();
        for (String entry : System.getProperty("java.class.path").split(":", -1)) {
            path.add(Path.of(entry).toUri().toURL());
        }
        return new URLClassLoader(path.toArray(URL[]::new), ClassLoader.getPlatformClassLoader());
    }

    /** Opens the binding {@code jni} in a class loader and makes one call through it. */
    private static String used(ClassLoader loader) throws Exception {
        Class<?> user = loader.loadClass(User.class.getName());
        assertThat(user.getClassLoader()).isSameAs(loader);
        try {
            return (String) user.getMethod("use").invoke(null);
        } catch (InvocationTargetException e) {
            throw new AssertionError(e.getCause());
        }
    }

    /** Loaded by each class loader. */
    public static final class User {
        private User() {}

        public static void hold() throws IOException {
            LibraryCache.ofThisUser().hold(new byte[] {1, 2});
        }

        public static String use() {
            var backend = Backends.ofThisMachine().open("jni");
            int fd = backend.eventfdCreate();
            return backend.description() + (backend.fdClose(fd) == 0 ? ", works" : ", broken");
        }
    }

    private static long mappings() throws IOException {
        try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            return maps.filter(line -> line.contains("libkvmirq") && line.contains(" r-xp "))
                    .count();
        }
    }

    @Test
    void eachHasItsOwnLibraryOnce() throws Exception {
        String here = User.use();
        assertThat(here).endsWith(", works");
        for (ClassLoader loader : List.of(loader(), loader())) {
            assertThat(used(loader)).isEqualTo(here);
            long loaded = mappings();
            assertThat(used(loader)).isEqualTo(here);
            assertThat(mappings()).isLessThanOrEqualTo(loaded);
        }
    }

    /** A file lock belongs to the process, and closing any descriptor of the file drops it. */
    @Test
    void cachesOfTwoClassLoadersTakeTurns() throws Exception {
        System.setProperty(LibraryCache.PROPERTY, temporary.resolve("cache").toString());
        Method holding = loader().loadClass(User.class.getName()).getMethod("hold");
        List<String> order = new CopyOnWriteArrayList<>();
        FutureTask<Void> other = new FutureTask<>(() -> {
            holding.invoke(null);
            order.add("other");
            return null;
        });
        try {
            holding.invoke(null);
            Thread thread = new Thread(other);
            LibraryCache.ofThisUser().loadCopy(new byte[] {1}, copy -> {
                thread.start();
                while (thread.getState() != Thread.State.BLOCKED && !other.isDone()) {
                    Thread.onSpinWait();
                }
                order.add("this");
            });
            other.get();
        } finally {
            System.clearProperty(LibraryCache.PROPERTY);
        }
        assertThat(order).containsExactly("this", "other");
    }

    @Test
    void copyThatCannotBeKeptIsOneSentence() throws Exception {
        Path library = temporary.resolve("libkvmirq.so");
        try (InputStream ours = User.class.getResourceAsStream("/META-INF/native/linux-x86_64/libkvmirq.so")) {
            assertThat(ours).as("the library in the classes").isNotNull();
            Files.copy(ours, library);
        }
        String before = System.setProperty(NativeLibrary.PROPERTY, library.toString());
        ClassLoader first = loader();
        try {
            assertThat(used(first)).endsWith(", works");
            System.setProperty(LibraryCache.PROPERTY, "/proc/nonexistent");
            assertThatThrownBy(() -> used(loader()))
                    .cause()
                    .hasMessageContaining(" serves another class loader and cannot be copied for this one: cannot"
                            + " create cache directory /proc/nonexistent");
        } finally {
            Reference.reachabilityFence(first); // else it is collected, and the library serves nobody
            System.clearProperty(LibraryCache.PROPERTY);
            if (before == null) {
                System.clearProperty(NativeLibrary.PROPERTY);
            } else {
                System.setProperty(NativeLibrary.PROPERTY, before);
            }
        }
    }

    @Test
    void copyIsRemovedOnceItIsLoaded() throws Exception {
        User.use();
        String property = LibraryCache.PROPERTY;
        Path cache = temporary.resolve("cache");
        System.setProperty(property, cache.toString());
        try {
            assertThat(used(loader())).endsWith(", works");
        } finally {
            System.clearProperty(property);
        }
        try (Stream<Path> left = Files.list(cache)) {
            assertThat(left.filter(file -> !file.toString().endsWith(".so"))).isEmpty();
        }
    }
}
