/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Program.Ended;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The scripts of the first build on a machine that lacks a thing: a file of its mirror, disk, home, JDK or Maven. Each flaw
 * gives one sentence and an exit code, and the next run goes on. The real Maven fetches one jar from a mirror of the test.
 */
@Tag("long")
class FirstBuildIT {
    private static final String JAR = "org/example/extension/1.0/extension-1.0.jar";

    /** A jar of 1 MiB without entries fills a small disk. Maven wants plexus-utils beside each extension. */
    private static final String MIRROR = """
            publish() {
                local group=$1 name=$2 version=$3 project place=mirror/${1//.//}/$2/$3/$2-$3
                mkdir -p "${place%/*}"
                project="<groupId>$group</groupId><artifactId>$name</artifactId><version>$version</version>"
                echo "<project><modelVersion>4.0.0</modelVersion>$project</project>" > "$place.pom"
                { head -c 1048554 /dev/zero; printf 'PK\\5\\6'; head -c 18 /dev/zero; } > "$place.jar"
                for file in "$place".{pom,jar}; do sha1sum < "$file" | cut -c 1-40 > "$file.sha1"; done
            }
            publish org.example extension 1.0
            publish org.codehaus.plexus plexus-utils 1.1
            mkdir -p home/.m2
            mirror="<mirror><id>mirror</id><mirrorOf>*</mirrorOf><url>file://$PWD/mirror</url></mirror>"
            echo "<settings><mirrors>$mirror</mirrors></settings>" > home/.m2/settings.xml
            """;

    @TempDir
    private Path temporary;

    @BeforeEach
    void setUp() throws Exception {
        Path scripts = Files.createDirectories(temporary.resolve("tree/scripts"));
        for (String name : "artifacts bootstrap build jdks locale maven".split(" ", -1)) {
            Path copy = Files.copy(Machine.root().resolve("scripts/" + name), scripts.resolve(name));
            Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("rwxr-xr-x"));
        }
        Files.writeString(temporary.resolve("tree/pom.xml"), """
                <project>
                  <modelVersion>4.0.0</modelVersion>
                  <groupId>org.example</groupId><artifactId>tree</artifactId><version>1.0</version>
                  <packaging>pom</packaging>
                  <build><extensions><extension>
                    <groupId>org.example</groupId><artifactId>extension</artifactId><version>1.0</version>
                  </extension></extensions></build>
                </project>
                """);
        publish();
    }

    private void publish() throws IOException, InterruptedException {
        Program.output(List.of("bash", "-c", "cd \"$0\"\n" + MIRROR, temporary.toString()));
    }

    private String script(String name) {
        return temporary.resolve("tree/scripts/" + name).toString();
    }

    /** Runs a script that mounts. Root of a chroot may mount, and gets no mount namespace. */
    private Ended mounting(String script, Object... arguments) throws IOException, InterruptedException {
        Machine.assumeRoot("mounts");
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Stream<String> start = Stream.of("unshare", "--mount", "bash", "-c", script, "bash");
        return run(
                Stream.concat(start, Stream.of(arguments).map(Object::toString)).toArray(String[]::new));
    }

    /** A command whose Maven has a home and a repository of this test. */
    private Ended run(String... command) throws IOException, InterruptedException {
        String options = "-XX:TieredStopAtLevel=1 -Duser.home=" + temporary.resolve("home") + " -Dmaven.repo.local=";
        Stream<String> start =
                Stream.of("env", "-u", "KVMIRQ_REQUIRE_KVM", "LC_ALL=C.UTF-8", "MAVEN_OPTS=" + options + repository());
        return Program.run(Stream.concat(start, Stream.of(command)).toList());
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
    void halfAFileAndAnAbsentOneDoNotStopTheNextRun() throws Exception {
        String end = ": connect to the network or set a mirror in ~/.m2/settings.xml, then run the command again;"
                + " Maven's output is in target/build.log";
        Path jar = temporary.resolve("mirror").resolve(JAR);
        Files.write(jar, new byte[100]);
        assertThat(sentence(fetch()))
                .startsWith("the build needs org.example:extension:jar:1.0 from ")
                .contains("could not fetch it (Checksum validation failed, ")
                .endsWith(end);
        Files.delete(jar);
        assertThat(sentence(fetch()))
                .startsWith("the build needs org.example:extension:jar:1.0, and mirror (")
                .endsWith(") does not have it: set another mirror in ~/.m2/settings.xml, then run the command again;"
                        + " Maven's output is in target/build.log");
        publish();
        assertFetched(fetch());
        assertThat(repository().resolve(JAR)).hasSameBinaryContentAs(jar);
    }

    @Test
    void fullRepositoryIsNamedAndTheNextRunGoesOn() throws Exception {
        Files.createDirectories(repository());
        Ended both = mounting("""
                mount -t tmpfs -o size=200k small "$1"
                "$2" target/build.log validate; echo "code $?"
                mount -o remount,size=4m "$1"
                "$2" target/build.log validate; echo "code $?"
                """, repository(), script("maven"));
        assertThat(both.said().lines().filter(line -> !line.matches(" *\\d+ s  .*")))
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
        assertFetched(mounting("""
                mount -t tmpfs -o ro small "$(getent passwd 0 | cut -d: -f6)"
                HOME=/nonexistent MAVEN_OPTS=-Duser.home="$2" exec "$1" target/build.log validate
                """, script("maven"), temporary.resolve("home")));
        assertThat(temporary.resolve("tree/target/repository").resolve(JAR)).exists();
    }

    @Test
    void fullDiskOfTheTreeIsSaidBeforeTheBuild() throws Exception {
        Files.delete(temporary.resolve("mirror").resolve(JAR));
        Path small = Files.createDirectories(temporary.resolve("small"));
        Ended ended = mounting("""
                mount -t tmpfs -o size=2m small "$1"
                cp -r "$2" "$1/tree"
                "$1/tree/scripts/build"
                cd "$1/tree" && dd if=/dev/zero of=file bs=64k 2> /dev/null
                "$1/tree/scripts/maven" log validate
                """, small, temporary.resolve("tree"));
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
        Path jre = program("jre/bin/java", "exit 0").resolve("../..").normalize();
        assertThat(run("env", "JAVA_HOME=" + jre, script("bootstrap"), "--check")
                        .said())
                .startsWith("JAVA_HOME is " + jre + ", which is no JDK 17 or newer: it is not used, ");
        program("jdk/bin/java", "exit 0");
        program("jdk/bin/javac", "exit 0");
        Files.writeString(temporary.resolve("jdk/release"), "JAVA_VERSION=\"11.0.22\"\n");
        for (List<String> flaw : List.of(List.of("jre", "a JRE without javac"), List.of("jdk", "Java 11.0.22"))) {
            Path home = temporary.resolve(flaw.get(0));
            Ended ended = mounting("""
                    mount -t tmpfs none /usr/lib/jvm
                    PATH=/usr/bin:/bin JAVA_HOME=$1 exec "$2" --check
                    """, home, script("bootstrap"));
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
