/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.kvmirq.testing.Program.Ended;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The scripts of the first build on a machine that lacks a thing: network, disk, home, JDK or Maven. Each flaw
 * gives one sentence and an exit code, and the next run goes on. The real Maven fetches one jar from a server of the test.
 */
@Tag("long")
class FirstBuildIT {
    private static final String JAR = "/org/example/extension/1.0/extension-1.0.jar";
    /** An empty archive, then what fills a small disk. */
    private static final byte[] CONTENT = new byte[1 << 20];

    static {
        System.arraycopy(new byte[] {'P', 'K', 5, 6}, 0, CONTENT, CONTENT.length - 22, 4);
    }

    private enum Answer {
        WHOLE,
        HALF,
        DAMAGED,
        ABSENT
    }

    @TempDir
    private Path temporary;

    private volatile Answer answer = Answer.WHOLE;
    private HttpServer server;

    @BeforeEach
    void start() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", this::answer);
        server.start();
        Path scripts = Files.createDirectories(temporary.resolve("tree/scripts"));
        for (String name : "artifacts bootstrap build jdks locale maven without-kvm".split(" ", -1)) {
            Path copy = Files.copy(Machine.root().resolve("scripts/" + name), scripts.resolve(name));
            Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("rwxr-xr-x"));
        }
        Files.writeString(temporary.resolve("tree/pom.xml"), """
                <project>
                  <modelVersion>4.0.0</modelVersion>
                  <groupId>org.example</groupId>
                  <artifactId>tree</artifactId>
                  <version>1.0</version>
                  <packaging>pom</packaging>
                  <build>
                    <extensions>
                      <extension>
                        <groupId>org.example</groupId>
                        <artifactId>extension</artifactId>
                        <version>1.0</version>
                      </extension>
                    </extensions>
                  </build>
                </project>
                """);
        useMirror();
    }

    @AfterEach
    void stop() {
        server.stop(0);
    }

    private void useMirror() throws IOException {
        Path settings = Files.createDirectories(temporary.resolve("home/.m2")).resolve("settings.xml");
        Files.writeString(
                settings,
                "<settings><mirrors><mirror><id>mirror</id><mirrorOf>*</mirrorOf><url>" + mirror()
                        + "</url></mirror></mirrors></settings>");
    }

    private String mirror() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    private void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            String path = exchange.getRequestURI().getPath();
            byte[] content = path.startsWith(JAR)
                    ? CONTENT
                    : ("<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>"
                                    + "<artifactId>extension</artifactId><version>1.0</version></project>")
                            .getBytes(StandardCharsets.UTF_8);
            if (path.endsWith(".sha1")) {
                content = sha1(content).getBytes(StandardCharsets.UTF_8);
            } else if (path.equals(JAR) && answer == Answer.DAMAGED) {
                content = new byte[100];
            }
            if (path.equals(JAR) && answer == Answer.ABSENT) {
                exchange.sendResponseHeaders(404, -1);
                return;
            }
            exchange.sendResponseHeaders(200, content.length);
            boolean half = path.equals(JAR) && answer == Answer.HALF;
            exchange.getResponseBody().write(content, 0, half ? content.length / 2 : content.length);
        }
    }

    private static String sha1(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-1").digest(content));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    private String script(String name) {
        return temporary.resolve("tree/scripts/" + name).toString();
    }

    /** Root of a chroot may mount, and gets no mount namespace. */
    private static void assumeMounts(String what) throws IOException, InterruptedException {
        Machine.assumeRoot(what);
        Machine.assumeSucceeds("unshare", "--mount", "true");
    }

    /** A command whose Maven has a home and a repository of this test. */
    private Ended run(String... command) throws IOException, InterruptedException {
        List<String> all = new ArrayList<>(List.of(
                "env",
                "-u",
                "KVMIRQ_REQUIRE_KVM",
                "LC_ALL=C.UTF-8",
                "MAVEN_OPTS=-XX:TieredStopAtLevel=1 -Duser.home=" + temporary.resolve("home") + " -Dmaven.repo.local="
                        + repository()));
        all.addAll(List.of(command));
        return Program.run(all);
    }

    private Path repository() {
        return temporary.resolve("repository");
    }

    private Ended fetch() throws IOException, InterruptedException {
        return run(script("maven"), "target/build.log", "validate");
    }

    /** The lines of a run, without those that tell how far it is. */
    private static String sentence(Ended ended) {
        assertThat(ended.code()).as(ended.said()).isEqualTo(1);
        List<String> lines = ended.said()
                .lines()
                .filter(line -> !line.matches(" *\\d+ s  .*|the first build fetches .*"))
                .toList();
        assertThat(lines).as(ended.said()).hasSize(1);
        return lines.get(0);
    }

    private static void assertFetched(Ended ended) {
        assertThat(ended.code()).as(ended.said()).isZero();
    }

    @Test
    void halfADownloadADamagedOneAndAnAbsentOneDoNotStopTheNextRun() throws Exception {
        String end = ": connect to the network or set a mirror in ~/.m2/settings.xml, then run the command again;"
                + " Maven's output is in target/build.log";
        answer = Answer.HALF;
        assertThat(sentence(fetch()))
                .startsWith(
                        "the build needs org.example:extension:jar:1.0 from " + mirror() + " and could not fetch it (")
                .containsAnyOf("it (Premature end of ", "it (the transfer broke off)")
                .endsWith(end);
        answer = Answer.DAMAGED;
        assertThat(sentence(fetch()))
                .contains("could not fetch it (Checksum validation failed, ")
                .endsWith(end);
        answer = Answer.ABSENT;
        assertThat(sentence(fetch()))
                .isEqualTo("the build needs org.example:extension:jar:1.0, and mirror (" + mirror()
                        + ") does not have it: set another mirror in ~/.m2/settings.xml, then run the command again;"
                        + " Maven's output is in target/build.log");
        answer = Answer.WHOLE;
        assertFetched(fetch());
        assertThat(repository().resolve(JAR.substring(1))).hasBinaryContent(CONTENT);
    }

    @Test
    void withoutNetworkTheBuildNamesWhatItNeedsAndTheNextRunFetchesIt() throws Exception {
        Machine.assumeSucceeds(script("without-kvm"), "--offline", "true");
        Files.delete(temporary.resolve("home/.m2/settings.xml"));
        assertThat(sentence(run(script("without-kvm"), "--offline", script("build"))))
                .matches("the build needs org\\.example:extension:\\w+:1\\.0( from https?://\\S+)? and could not fetch"
                        + " (it \\(.+\\)|its description): connect to the network or set a mirror in ~/\\.m2/settings\\.xml, then run the"
                        + " command again; Maven's output is in target/build\\.log");
        assertThat(temporary.resolve("tree/target/build/fetched")).doesNotExist();
        useMirror();
        assertFetched(fetch());
    }

    @Test
    void fullRepositoryIsNamedAndTheNextRunGoesOn() throws Exception {
        assumeMounts("mounts a small disk");
        Files.createDirectories(repository());
        Ended both = run(
                "unshare", "--mount", "bash", "-c", """
                mount -t tmpfs -o size=200k small "$1"
                "$2" target/build.log validate; echo "code $?"
                mount -o remount,size=4m "$1"
                "$2" target/build.log validate; echo "code $?"
                """, "bash", repository().toString(), script("maven"));
        List<String> lines = both.said()
                .lines()
                .filter(line -> !line.matches(" *\\d+ s  .*"))
                .toList();
        assertThat(lines)
                .containsExactly(
                        "the build cannot write org.example:extension:jar:1.0 (No space left on device): make Maven's"
                                + " repository (~/.m2/repository unless a setting names another directory) and "
                                + temporary.resolve("tree")
                                + " writable, with room, then run the command again; Maven's output is in target/build.log",
                        "code 1",
                        "code 0");
    }

    @Test
    void homeThatCannotBeWrittenIsReplacedByTheTree() throws Exception {
        assumeMounts("hides its home");
        Ended ended = Program.run(List.of(
                "unshare",
                "--mount",
                "bash",
                "-c",
                "mount -t tmpfs -o ro small \"$(getent passwd 0 | cut -d: -f6)\" && HOME=/nonexistent"
                        + " MAVEN_OPTS=-Duser.home=\"$2\" exec \"$1\" target/build.log validate",
                "bash",
                script("maven"),
                temporary.resolve("home").toString()));
        assertFetched(ended);
        assertThat(temporary.resolve("tree/target/repository" + JAR)).exists();
    }

    @Test
    void fullDiskOfTheTreeIsSaidBeforeTheBuild() throws Exception {
        assumeMounts("mounts a small disk");
        answer = Answer.ABSENT;
        Path small = Files.createDirectories(temporary.resolve("small"));
        Ended ended = run(
                "unshare",
                "--mount",
                "bash",
                "-c",
                """
                mount -t tmpfs -o size=2m small "$1"
                cp -r "$2" "$1/tree"
                "$1/tree/scripts/build"
                cd "$1/tree" && dd if=/dev/zero of=file bs=64k 2> /dev/null
                "$1/tree/scripts/maven" log validate
                exit 1
                """,
                "bash",
                small.toString(),
                temporary.resolve("tree").toString());
        assertThat(ended.said())
                .matches("the disk of " + small + "/tree has [12] MB left, and a build needs 50: make room there, then"
                        + " run the command again\n( +\\d+ s  .*\n)?the disk of " + small
                        + "/tree is full: make room there, then run the"
                        + " command again; Maven's output is in log\n");
    }

    @Test
    void oldMavenIsNamedWithItsVersion() throws Exception {
        Files.copy(
                Machine.root().resolve("pom.xml"),
                temporary.resolve("tree/pom.xml"),
                StandardCopyOption.REPLACE_EXISTING);
        Path maven = program("old/mvn", "echo Apache Maven 3.6.3");
        String end = " and the build needs 3.8 or newer: install such a Maven, put it first in PATH, then run the"
                + " command again";
        String path = "PATH=" + maven.getParent() + ":" + System.getenv("PATH");
        assertThat(sentence(run("env", path, script("bootstrap")))).isEqualTo(maven + " is Maven 3.6.3," + end);
        program("old/mvn", "echo Error: JAVA_HOME is wrong");
        assertThat(sentence(run("env", path, script("bootstrap"))))
                .isEqualTo(maven + " is Maven of an unknown version (Error: JAVA_HOME is wrong)," + end);
        program("old/mvn", "echo Apache Maven 3.10.0");
        assertThat(run("env", path, script("bootstrap"))).isEqualTo(new Ended(0, ""));
    }

    @Test
    void jreAndOldJdkAreNamed() throws Exception {
        assumeMounts("hides the JDKs");
        Path jre = program("jre/bin/java", "exit 0").resolve("../..").normalize();
        assertThat(run("env", "JAVA_HOME=" + jre, script("bootstrap"), "--check")
                        .said())
                .startsWith("JAVA_HOME is " + jre + ", which is no JDK 17 or newer: it is not used, ");
        program("jdk/bin/java", "exit 0");
        program("jdk/bin/javac", "exit 0");
        Files.writeString(temporary.resolve("jdk/release"), "JAVA_VERSION=\"11.0.22\"\n");
        for (List<String> flaw : List.of(List.of("jre", "a JRE without javac"), List.of("jdk", "Java 11.0.22"))) {
            Path home = temporary.resolve(flaw.get(0));
            Ended ended = run("unshare", "--mount", "bash", "-c", """
                    mount -t tmpfs none /usr/lib/jvm
                    PATH=/usr/bin:/bin JAVA_HOME=$1 exec "$2" --check
                    """, "bash", home.toString(), script("bootstrap"));
            assertThat(ended.code()).as(ended.said()).isEqualTo(1);
            assertThat(ended.said())
                    .startsWith("missing: JDK 17 or newer, here is only " + home + " (" + flaw.get(1)
                            + ") (Debian package default-jdk-headless)\n");
        }
    }

    private Path program(String name, String line) throws IOException {
        Path file = temporary.resolve(name);
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/bin/bash\n" + line + "\n");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
        return file;
    }
}
