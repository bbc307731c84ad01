/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.library;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeLibraryTest {
    @TempDir
    private Path temporary;

    private final byte[] content = {1, 2, 3, 4, 5};

    @BeforeEach
    void onlyOurs() throws IOException {
        mode(temporary, "rwxr-xr-x");
    }

    private static void mode(Path path, String permissions) throws IOException {
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(permissions));
    }

    private NativeLibrary named(Path library) {
        return new NativeLibrary(Optional.of(library.toString()), "", "amd64", cache());
    }

    private static Path load(NativeLibrary library) {
        return library.load((file, refused) -> file);
    }

    private LibraryCache cache() {
        return new LibraryCache(temporary.resolve("cache"));
    }

    /** Just enough of a library to be told from text: an ELF header and a PT_GNU_STACK that asks for nothing. */
    private Path elf(int machine) throws IOException {
        ByteBuffer head = ByteBuffer.allocate(120).order(ByteOrder.LITTLE_ENDIAN);
        head.put(new byte[] {0x7f, 'E', 'L', 'F', 2, 1, 1});
        head.putShort(16, (short) 3).putShort(18, (short) machine).putInt(20, 1);
        head.putLong(32, 64).putShort(52, (short) 64).putShort(54, (short) 56).putShort(56, (short) 1);
        head.putInt(64, 0x6474e551).putInt(68, 6);
        return Files.write(temporary.resolve("libkvmirq.so"), head.array());
    }

    // Places

    @Test
    void jarCarriesTheLibraryAndItLoadsFromTheCache() {
        NativeLibrary library = new NativeLibrary(Optional.empty(), "relative:/nonexistent", "amd64", cache());
        Path first = load(library);
        assertThat(first.getParent()).isEqualTo(temporary.resolve("cache"));
        assertThat(load(library)).isEqualTo(first);
    }

    /** There is one of another architecture where the build had its compiler. */
    private static final String IN_JAR = "META-INF/native/linux-aarch64/libkvmirq.so";

    @Test
    void everyPlaceLookedAtIsListed() {
        NativeLibrary library =
                new NativeLibrary(Optional.empty(), "/nonexistent/one:/nonexistent/two", "aarch64", cache());
        assertThatThrownBy(() -> load(library))
                .isInstanceOf(BackendUnavailableException.class)
                .hasMessageContaining("/nonexistent/one/libkvmirq.so: not there")
                .hasMessageContaining("/nonexistent/two/libkvmirq.so: not there")
                .hasMessageContaining(
                        NativeLibrary.class.getClassLoader().getResource(IN_JAR) == null
                                ? IN_JAR + " in the jar: not there"
                                : "cannot load " + temporary.resolve("cache"))
                .hasMessageContaining("Name one with -Dkvmirq.library=/path/to/libkvmirq.so");
    }

    @Test
    void namedLibraryIsTheOnlyPlace() {
        assertThatThrownBy(() -> load(named(Path.of("/nonexistent/libkvmirq.so"))))
                .hasMessage("-Dkvmirq.library cannot be used, and no other place is searched:"
                        + " /nonexistent/libkvmirq.so: not there");
        assertThatThrownBy(() -> load(named(Path.of("libkvmirq.so")))).hasMessageContaining("is not an absolute path");
    }

    // What is there

    @Test
    void otherArchitectureIsNamed() throws IOException {
        assertThatThrownBy(() -> load(named(elf(183))))
                .hasMessageContaining("is for ELF machine 183, this JVM is amd64 (62)");
    }

    @Test
    void textIsNoLibrary() throws IOException {
        Path text = Files.writeString(temporary.resolve("libkvmirq.so"), "hello");
        assertThatThrownBy(() -> load(named(text))).hasMessageContaining("not an ELF library");
    }

    @Test
    void brokenLibrarySaysWhatTheLoaderSaid() throws IOException {
        assertThatThrownBy(() -> load(named(elf(62))))
                .isInstanceOf(BackendUnavailableException.class)
                .hasMessageContaining("cannot load " + temporary.toRealPath().resolve("libkvmirq.so"));
    }

    @Test
    void installedOneThatDoesNotLoadGivesWayToTheOneOfTheJar() throws IOException {
        Path broken = elf(62).toRealPath();
        NativeLibrary library = new NativeLibrary(Optional.empty(), temporary.toString(), "amd64", cache());
        assertThat(library.<List<String>>load((file, refused) -> List.copyOf(refused)))
                .singleElement()
                .asString()
                .startsWith("cannot load " + broken);
    }

    @Test
    void unknownArchitectureIsOneSentence() {
        assertThatThrownBy(() -> new NativeLibrary(Optional.empty(), "", "sparc", cache()))
                .hasMessage("architecture sparc is not supported: expected amd64 or aarch64");
    }

    // Who could have written it

    @Test
    void directoryOthersCanWriteIsNotLoadedFrom() throws IOException {
        Path library = elf(62);
        mode(temporary, "rwxrwxr-x");
        assertThatThrownBy(() -> load(named(library)))
                .hasMessageContaining(temporary + " can be written by other users (mode 775): chmod go-w");
    }

    @Test
    void fileOthersCanWriteIsNotLoaded() throws IOException {
        Path library = elf(62);
        mode(library, "rw-rw-rw-");
        assertThatThrownBy(() -> load(named(library))).hasMessageContaining("(mode 666)");
    }

    @Test
    void fileOfAnotherUserIsNotLoaded() throws IOException {
        Machine.assumeRoot("to give a file away");
        Path library = elf(62);
        Files.setAttribute(library, "unix:uid", 65534);
        assertThatThrownBy(() -> load(named(library)))
                .hasMessageContaining("belongs to user 65534, who could replace it: expected root or user 0");
    }

    @Test
    void linkIsFollowedBeforeItsTargetIsJudged() throws IOException {
        Path open = Files.createDirectory(temporary.resolve("open"));
        Path target = Files.move(elf(62), open.resolve("target.so"));
        mode(open, "rwxrwxrwx");
        Path link = Files.createSymbolicLink(temporary.resolve("libkvmirq.so"), target);
        assertThatThrownBy(() -> load(named(link))).hasMessageContaining(open + " can be written by other users");
    }

    // The cache

    @Test
    void cacheIsPrivateAndKeepsOneFile() throws IOException {
        Path first = cache().hold(content);
        Path second = cache().hold(content);
        assertThat(second).isEqualTo(first).hasBinaryContent(content);
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(temporary.resolve("cache"))))
                .isEqualTo("rwx------");
        assertThat(files()).containsExactly(first.getFileName().toString());
    }

    @Test
    void changedFileIsReplaced() throws IOException {
        Path held = cache().hold(content);
        Files.write(held, new byte[] {9, 9, 9, 9, 9});
        assertThat(cache().hold(content)).isEqualTo(held).hasBinaryContent(content);
    }

    @Test
    void unpackedFileIsFoundByItsLengthAndChecksumUnlessDamaged() throws IOException {
        CRC32 crc = new CRC32();
        crc.update(content);
        assertThat(cache().held(crc.getValue(), content.length)).isNull();
        Path held = cache().hold(content);
        assertThat(cache().held(crc.getValue(), content.length)).isEqualTo(held);
        byte[] damaged = content.clone();
        damaged[damaged.length / 2] ^= 1;
        Files.write(held, damaged);
        assertThat(cache().held(crc.getValue(), content.length)).isNull();
        assertThat(cache().hold(content)).isEqualTo(held).hasBinaryContent(content);
    }

    @Test
    void openCacheIsRefused() throws IOException {
        cache().hold(content);
        mode(temporary.resolve("cache"), "rwxrwxrwx");
        assertThatThrownBy(() -> cache().hold(content))
                .isInstanceOf(BackendUnavailableException.class)
                .hasMessageContaining("cache directory")
                .hasMessageContaining("(mode 777)");
    }

    @Test
    void stickyDirectoryOfAllUsersIsNoCache() throws Exception {
        Path shared = Files.createDirectory(temporary.resolve("shared"));
        Program.output(List.of("chmod", "1777", shared.toString()));
        assertThatThrownBy(() -> new LibraryCache(shared).hold(content))
                .hasMessageContaining(
                        shared + " can be written by other users (mode 1777): expected a directory of this"
                                + " user alone, such as " + shared.resolve("kvmirq-"));
        assertThat(shared).isEmptyDirectory();
    }

    @Test
    void linkOfAnotherUserIsNotFollowed() throws IOException {
        Machine.assumeRoot("to give a link away");
        Path mine = Files.createDirectory(temporary.resolve("mine"));
        Path link = Files.createSymbolicLink(temporary.resolve("link"), mine);
        Files.setAttribute(link, "unix:uid", 65534, LinkOption.NOFOLLOW_LINKS);
        assertThatThrownBy(() -> new LibraryCache(link).hold(content))
                .hasMessageContaining(link + " is a symbolic link owned by user 65534: expected root or user 0");
        assertThatThrownBy(() -> new LibraryCache(link.resolve("below")).hold(content))
                .hasMessageContaining(link + " is a symbolic link owned by user 65534");
        assertThat(mine).isEmptyDirectory();
    }

    @Test
    void fifoInTheCacheIsNotOpened() throws Exception {
        Path held = cache().hold(content);
        Files.delete(held);
        Program.output(List.of("mkfifo", held.toString()));
        Program.output(List.of("mkfifo", held.resolveSibling("libkvmirqx.tmp").toString()));
        assertThat(cache().hold(content)).isEqualTo(held).hasBinaryContent(content);
    }

    @Test
    void abandonedFileIsRemovedAndOneBeingWrittenIsNot() throws IOException {
        cache().hold(content);
        Path abandoned = Files.write(temporary.resolve("cache/libkvmirq1.tmp"), content);
        Path written = Files.write(temporary.resolve("cache/libkvmirq2.tmp"), content);
        try (FileChannel channel = FileChannel.open(written, StandardOpenOption.WRITE);
                FileLock lock = channel.lock()) {
            assertThat(lock.isValid()).isTrue();
            cache().hold(content);
            assertThat(abandoned).doesNotExist();
            assertThat(written).exists();
        }
    }

    /** Each build has a library of its own content; those of builds that are gone are used no more. */
    @Test
    void libraryUnusedForAWeekIsRemovedByTheNextBuild() throws IOException {
        Path gone = cache().hold("gone".getBytes(StandardCharsets.UTF_8));
        Path used = cache().hold("used".getBytes(StandardCharsets.UTF_8));
        Path other = Files.writeString(gone.resolveSibling("another.so"), "of another program");
        FileTime longAgo = FileTime.from(Instant.now().minus(Duration.ofDays(8)));
        for (Path file : List.of(gone, used, other)) {
            Files.setLastModifiedTime(file, longAgo);
        }
        assertThat(cache().hold("used".getBytes(StandardCharsets.UTF_8))).isEqualTo(used);
        Path next = cache().hold("next".getBytes(StandardCharsets.UTF_8));
        try (Stream<Path> left = Files.list(next.getParent())) {
            assertThat(left).containsExactlyInAnyOrder(used, next, other);
        }
    }

    @Test
    void cacheThatCannotBeMadeSaysHowToNameAnother() {
        LibraryCache nowhere = new LibraryCache(Path.of("/proc/nonexistent/kvmirq"));
        assertThatThrownBy(() -> nowhere.hold(content))
                .hasMessageContaining("cannot create cache directory /proc/nonexistent/kvmirq")
                .hasMessageContaining("set $XDG_CACHE_HOME or -Dkvmirq.cache");
    }

    @Test
    void cacheIsWhereTheUserSaysElseAtHomeElseInTheTemporaryDirectory() throws IOException {
        String home = temporary.toString();
        Path forTheHomeless = Path.of("/tmp/kvmirq-" + Trust.userOf(Path.of("/proc/self")));
        assertThat(LibraryCache.place("/given", "/xdg", home, "/tmp")).isEqualTo(Path.of("/given"));
        assertThat(LibraryCache.place(null, "/xdg", home, "/tmp")).isEqualTo(Path.of("/xdg/kvmirq"));
        assertThat(LibraryCache.place(null, "relative", home, "/tmp")).isEqualTo(temporary.resolve(".cache/kvmirq"));
        assertThat(LibraryCache.place(null, null, "?", "/tmp")).isEqualTo(forTheHomeless);
        assertThat(LibraryCache.place(null, null, "/proc/self/nonexistent", "/tmp"))
                .isEqualTo(forTheHomeless);
    }

    @Test
    void linkedCacheIsUsedByItsRealName() throws IOException {
        Path real = Files.createDirectory(temporary.resolve("real"));
        Path link = Files.createSymbolicLink(temporary.resolve("link"), real);
        assertThat(new LibraryCache(link).hold(content).getParent()).isEqualTo(real);
    }

    /** Another user may own a directory on the way to the cache, and change a link in it at any time. */
    @Test
    void linkThatChangesNeverLeadsToADirectoryOfOthers() throws Exception {
        Path good = Files.createDirectory(temporary.resolve("good"));
        Path evil = Files.createDirectory(temporary.resolve("evil"));
        mode(good, "rwx------");
        mode(evil, "rwxrwxrwx");
        Path link = Files.createSymbolicLink(temporary.resolve("link"), good);
        AtomicBoolean over = new AtomicBoolean();
        FutureTask<Void> changes = new FutureTask<>(() -> {
            for (int i = 0; !over.get(); i++) {
                Path next = Files.createSymbolicLink(temporary.resolve("next" + i), i % 2 == 0 ? evil : good);
                Files.move(next, link, StandardCopyOption.ATOMIC_MOVE);
            }
            return null;
        });
        new Thread(changes).start();
        int held = 0;
        try {
            for (int i = 0; i < 3000; i++) {
                try {
                    assertThat(new LibraryCache(link).hold(content)).startsWith(good);
                    held++;
                } catch (BackendUnavailableException | IOException e) {
                    // Refused.
                }
            }
        } finally {
            over.set(true);
            changes.get();
        }
        assertThat(held).isPositive();
        assertThat(evil).isEmptyDirectory();
    }

    @Test
    void interruptedThreadUnpacksAndStaysInterrupted() throws IOException {
        Thread.currentThread().interrupt();
        Path held = cache().hold(content);
        assertThat(Thread.interrupted()).isTrue();
        assertThat(held).hasBinaryContent(content);
    }

    private List<String> files() throws IOException {
        try (Stream<Path> files = Files.list(temporary.resolve("cache"))) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    /** Another process that starts at the same time removes what it takes for abandoned. */
    @Test
    void directoryThatAnotherProcessCleansUpIsNotTakenForNoexec() throws InterruptedException {
        System.setProperty(LibraryCache.PROPERTY, temporary.resolve("cache").toString());
        AtomicBoolean over = new AtomicBoolean();
        try {
            Path others = LibraryCache.directoryForOthers();
            Thread cleaning = new Thread(() -> {
                while (!over.get()) {
                    LibraryCache.removeAbandoned(others, "libkvmirq", ".tmp");
                }
            });
            cleaning.start();
            try {
                for (int i = 0; i < 2000; i++) {
                    assertThat(LibraryCache.directoryForOthers()).isEqualTo(others);
                }
            } finally {
                over.set(true);
                cleaning.join();
            }
        } finally {
            System.clearProperty(LibraryCache.PROPERTY);
        }
    }
}
