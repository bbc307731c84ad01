/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code make install} and {@code make uninstall}, below directories of a test. */
class InstallIT {
    /** Bash makes the letter, which this JVM's locale may not have. */
    private static final String PREPARE = """
        set -e
        unset MAKEFLAGS MAKELEVEL MFLAGS
        destination="$2/a b "$'\\xc3\\xa9'
        mkdir "$destination"
        run() { make -s --no-print-directory -C "$1" "$2" DESTDIR="$destination" PREFIX=/opt/kv; }
        bin="$destination/opt/kv/bin"
        share="$destination/opt/kv/share"
        cp -a "$3/." "$destination"
        """;

    /** Where the command was installed once, of which each test has a copy. */
    @TempDir
    private static Path installed;

    @BeforeAll
    static void install() throws Exception {
        Machine.assumeProgram("make");
        ProcessBuilder make = new ProcessBuilder(
                        "make",
                        "-s",
                        "-C",
                        Machine.root().toString(),
                        "install",
                        "DESTDIR=" + installed,
                        "PREFIX=/opt/kv")
                .redirectErrorStream(true);
        make.environment().put("JAVA_HOME", System.getProperty("java.home"));
        Process process = make.start();
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(out).isZero();
    }

    @TempDir
    private Path temporary;

    private List<String> installed(String script) throws Exception {
        Machine.assumeProgram("make");
        ProcessBuilder builder = new ProcessBuilder(
                        "bash",
                        "-c",
                        PREPARE + script,
                        "bash",
                        Machine.root().toString(),
                        temporary.toString(),
                        installed.toString())
                .redirectErrorStream(true);
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        Process process = builder.start();
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(out).isZero();
        return out.lines().toList();
    }

    @Test
    void uninstallTakesAwayExactlyWhatWasInstalled() throws Exception {
        List<String> lines = installed("""
            touch "$share/another"
            run "$1" install > /dev/null
            (cd "$destination/opt/kv" && find . -type f | sort)
            echo --
            run "$1" uninstall
            (cd "$destination" && find . -mindepth 1 | sort)
            """);
        assertThat(lines)
                .contains(
                        "./share/another",
                        "./bin/kvmirq",
                        "./lib/kvmirq/kvmirq.jar",
                        "./share/bash-completion/completions/kvmirq",
                        "./share/zsh/site-functions/_kvmirq",
                        "./share/man/man1/kvmirq.1",
                        "./share/man/man1/kvmirq-list.1",
                        "./lib/systemd/system/kvmirq-textfile.timer",
                        "./lib/sysusers.d/kvmirq.conf",
                        "./share/kvmirq/prometheus/kvmirq-alerts.yml",
                        "./share/doc/kvmirq/daemonset.yaml")
                .noneMatch(line -> line.contains("generate-files"));
        assertThat(lines.subList(lines.indexOf("--") + 1, lines.size()))
                .containsExactly("./opt", "./opt/kv", "./opt/kv/share", "./opt/kv/share/another");
    }

    @Test
    void unitStartsTheInstalledCommand() throws Exception {
        assertThat(
                        installed(
                                "grep -h '^ExecStart=[^+]' \"$destination\"/opt/kv/{lib/systemd/system/*.service,share/doc/kvmirq/*.conf}"))
                .isNotEmpty()
                .allMatch(line -> line.startsWith("ExecStart=/opt/kv/bin/kvmirq list "));
    }

    /** The list is a file like any other: who can write it must not have root remove more than was installed. */
    @Tag("long")
    @Test
    void uninstallRemovesNothingOutsideOfItsPrefix() throws Exception {
        List<String> lines = installed("""
            list="$destination/opt/kv/lib/kvmirq/installed"
            mkdir -p "$destination/etc" "$destination/opt/kv-other"
            touch "$destination/etc/kept" "$destination/opt/kv-other/kept"
            cp "$list" "$2/whole"
            for line in ../../etc/kept share/../../kv-other/kept ../../etc/; do
                { cat "$2/whole"; echo "$line"; } > "$list"
                ! run "$1" uninstall 2>&1 | grep -v '^make'
                ! run "$1" install 2>&1 | grep -v '^make'
                "$bin/kvmirq" --version > /dev/null
            done
            echo -- link
            cp "$2/whole" "$list"
            mv "$share" "$2/share"
            ln -s "$2/share" "$share"
            ! run "$1" uninstall 2>&1 | grep -v '^make'
            ! run "$1" install 2>&1 | grep -v '^make'
            ls "$2/share/man/man1/kvmirq.1" "$destination/etc/kept" "$destination/opt/kv-other/kept" > /dev/null
            """);
        int link = lines.indexOf("-- link");
        assertThat(lines.subList(0, link))
                .hasSize(6)
                .allMatch(line -> line.endsWith(": take this line out; nothing was removed"))
                .anyMatch(line -> line.contains(": ../../etc/kept leads out of "));
        assertThat(lines.subList(link + 1, lines.size()))
                .hasSize(2)
                .allMatch(line -> line.contains(": share/ leads out of "));
    }

    /** As a distribution that has share/man in another place. */
    @Tag("long")
    @Test
    void linkInsideOfThePrefixIsFollowed() throws Exception {
        List<String> lines = installed("""
            run "$1" uninstall > /dev/null
            mkdir -p "$destination/opt/kv/share" "$destination/opt/kv/man"
            ln -s ../man "$destination/opt/kv/share/man"
            run "$1" install > /dev/null
            ls "$destination/opt/kv/man/man1/kvmirq.1" > /dev/null && echo there
            run "$1" uninstall
            ls "$destination/opt/kv/man"
            """);
        assertThat(lines).contains("there").noneMatch(line -> line.contains("kvmirq.1"));
    }

    @Tag("long")
    @Test
    void upgradeRemovesFilesThatTheNewVersionDoesNotHave() throws Exception {
        List<String> lines = installed("""
            echo old > "$share/man/man1/kvmirq-gone.1"
            echo share/man/man1/kvmirq-gone.1 >> "$destination/opt/kv/lib/kvmirq/installed"
            run "$1" install > /dev/null
            (cd "$destination" && find . -name '*gone*' -o -name '*new*')
            "$bin/kvmirq" --version
            run "$1" uninstall
            (cd "$destination" && find . -mindepth 1)
            """);
        assertThat(lines).hasSize(2).first().asString().startsWith("kvmirq ");
    }

    @Test
    void fileOfAnotherProgramIsNotReplacedAndNothingIsHalfDone() throws Exception {
        List<String> lines = installed("""
            run "$1" uninstall
            mkdir -p "$share/man/man1"
            echo other > "$share/man/man1/kvmirq.1"
            ! run "$1" install 2>&1 | grep -v '^make'
            (cd "$destination" && find . -type f)
            cat "$share/man/man1/kvmirq.1"
            """);
        assertThat(lines.get(0))
                .contains("/opt/kv/share/man/man1/kvmirq.1 exists and make install did not put it there");
        assertThat(lines.get(1)).startsWith("not installed: no file of ");
        assertThat(lines.subList(2, lines.size())).containsExactly("./opt/kv/share/man/man1/kvmirq.1", "other");
    }

    @Test
    void uninstallOfAllLeavesWhatIsAboveItsPrefix() throws Exception {
        assertThat(installed("""
            run "$1" uninstall
            (cd "$destination" && find . -mindepth 1)
            """)).containsExactly("./opt");
    }

    @Test
    void launcherWorksFromAnyPathThroughALinkAndWithoutALocale() throws Exception {
        List<String> lines = installed("""
            "$bin/kvmirq" --version
            LANG= LC_ALL= LC_CTYPE= "$bin/kvmirq" backends | grep -c jni
            ln -s "$bin/kvmirq" "$2/link"
            cd /
            CDPATH=/tmp LANG= LC_ALL=C "$2/link" decode gatag $(LC_ALL=POSIX "$2/link" encode gatag vm_id=1 vcpu_idx=3)
            cd "$bin"
            PATH=$bin:$PATH kvmirq help encode
            """);
        assertThat(lines.get(0)).startsWith("kvmirq ");
        assertThat(lines.get(1)).isEqualTo("1");
        assertThat(lines).contains("no violations", "Usage: kvmirq encode [-h] [--batch] KIND [FIELD=HEX...]");
    }

    @Test
    void installWhereNothingMayBeWrittenSaysSo() throws Exception {
        Machine.assumeProgram("make");
        Process process = new ProcessBuilder(
                        "make", "-s", "-C", Machine.root().toString(), "install", "PREFIX=/proc/nothing")
                .redirectErrorStream(true)
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).isNotZero();
        assertThat(out).contains("/proc/nothing").doesNotContain("installed /proc");
    }

    @Test
    void bashCompletesCommandsOptionsAndNames() throws Exception {
        assertThat(installed("""
            . "$share/bash-completion/completions/kvmirq"
            # Bash has it while it completes only.
            compopt() { :; }
            complete_last() {
                COMP_WORDS=("$@")
                COMP_CWORD=$(($# - 1))
                COMPREPLY=()
                _complete_kvmirq
                echo "${COMPREPLY[*]}"
            }
            complete_last kvmirq sel
            complete_last kvmirq help li
            complete_last kvmirq errno vcpu-r
            complete_last kvmirq errno irqfd-assign EINVAL sp
            complete_last kvmirq decode gat
            complete_last kvmirq encode msi.c
            complete_last kvmirq selftest --profile 7
            complete_last kvmirq selftest --scenario gu
            complete_last kvmirq vfio --fake 6.12
            complete_last kvmirq forward --kind i
            complete_last kvmirq gen
            """))
                .containsExactly(
                        "selftest",
                        "list",
                        "vcpu-run",
                        "split",
                        "gatag gatag.6.1 gatag.6.0",
                        "msi.compat",
                        "7.1",
                        "guestless",
                        "6.12",
                        "intx",
                        "generate-completion");
    }

    @Test
    void zshLoadsItsCompletion() throws Exception {
        Machine.assumeProgram("zsh");
        assertThat(installed("zsh -n \"$share/zsh/site-functions/_kvmirq\"")).isEmpty();
    }

    @Tag("long")
    @Test
    void manualPagesHaveNoWarningsAndSayWhatHelpSays() throws Exception {
        Machine.assumeProgram("groff");
        List<String> lines = installed("""
            ! grep -P "[^\\x00-\\x7f]" "$share"/man/man1/*.1
            for page in "$share"/man/man1/*.1; do groff -man -Tascii -ww -z "$page"; done
            echo --
            for page in "$share"/man/man1/*.1; do groff -man -Tutf8 -P-bou -rLL=9000n "$page"; done
            """);
        assertThat(lines.get(0)).as("warnings of groff").isEqualTo("--");
        String pages = String.join("\n", lines).toLowerCase(Locale.ROOT);
        List<String> commands = Cli.run("help")
                .out()
                .lines()
                .takeWhile(line -> !line.equals("Exit codes:"))
                .filter(line -> line.matches("  [a-z].*"))
                .map(line -> line.strip().split(" ", 2)[0])
                .toList();
        assertThat(commands).contains("selftest", "help");
        for (String command : commands) {
            String help = Cli.run(9000, "help", command).out();
            // Headings have no colon there.
            String words = help.replaceFirst("Usage:", "")
                    .replaceAll("(?m)^([\\w, ]+):$", "$1")
                    .toLowerCase(Locale.ROOT);
            assertThat(words.strip().split("\\s+"))
                    .allSatisfy(word -> assertThat(pages).contains(word));
        }
    }

    /** The archive of classes is for one Java; another one ignores it, and so does a link to the command. */
    @Test
    void archiveOfClassesIsUsedWhereItWasMadeAndNowhereElse() throws Exception {
        assertThat(installed("""
            prefix="$2/archived"
            install() { make -s --no-print-directory -C "$1" install PREFIX="$prefix" 2>&1; }
            uninstall() { make -s --no-print-directory -C "$1" uninstall PREFIX="$prefix"; }
            install "$1" > /dev/null
            stat -c %a "$prefix/lib/kvmirq/kvmirq.jsa"
            shared() { grep -c 'io.kvmirq.*shared objects file' || true; }
            loads() { JAVA_TOOL_OPTIONS=-Xlog:class+load "$@" --version 2> /dev/null; }
            echo "shared $(($(loads "$prefix/bin/kvmirq" | shared) > 0))"
            "$prefix/bin/kvmirq" --version 2>&1 | wc -l
            (cd "$2" && archived/bin/kvmirq --version 2>&1 | wc -l)
            touch -d 2001-01-01 "$prefix/lib/kvmirq/kvmirq.jar"
            echo "shared $(($(loads "$prefix/bin/kvmirq" | shared) > 0))"
            "$prefix/bin/kvmirq" --version 2>&1 | wc -l
            uninstall "$1"
            [ ! -e "$prefix" ] && echo gone
            mkdir -p "$prefix/lib/kvmirq"
            chmod 777 "$prefix/lib/kvmirq"
            install "$1" | grep -c 'others may write to .*/archived/lib/kvmirq: no archive of classes is made'
            [ ! -e "$prefix/lib/kvmirq/kvmirq.jsa" ] && echo none
            uninstall "$1"
            find "$destination" -name '*.jsa' | wc -l
            """))
                .containsExactly("444", "shared 1", "1", "1", "shared 0", "1", "gone", "1", "none", "0");
    }
}
