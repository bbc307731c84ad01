/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.Golden;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code kvmirq decode} and {@code encode}, as processes. */
class DecodeCommandIT {
    private static final int MANY = 100_000;

    @TempDir
    private Path temporary;

    /** The lines between words and violations, as the golden set has them. */
    private static String fields(String line) {
        return line.replaceAll(".*\"fields\":\\{([^}]*)}.*", "$1").replace(",\"level_assert\":\"0x1\"", "");
    }

    @Test
    void batchAgreesWithTheGoldenSetBothWays() throws Exception {
        Cli.Ended decoded = Cli.run("decode", "--batch", Golden.COPY.toString());
        assertThat(decoded.err()).isEmpty();
        assertThat(decoded.exitCode()).isZero();
        List<String> golden = Files.readAllLines(Golden.COPY);
        List<String> lines = decoded.out().lines().toList();
        assertThat(lines).hasSameSizeAs(golden);
        List<String> encodable = new ArrayList<>();
        for (int i = 0; i < golden.size(); i++) {
            assertThat(fields(lines.get(i))).isEqualTo(fields(golden.get(i)));
            assertThat(lines.get(i).contains("\"violations\":[],"))
                    .isEqualTo(golden.get(i).contains("\"valid\":true"));
            if (!golden.get(i).contains("decodeOnly")) {
                encodable.add(lines.get(i));
            }
        }
        Path file = Files.write(temporary.resolve("lines"), encodable);
        assertThat(Cli.run("encode", "--batch", file.toString()).out().lines()).isEqualTo(encodable);
    }

    @Test
    void manyLinesNeedNoMemory() throws Exception {
        List<String> golden = Files.readAllLines(Golden.COPY);
        List<String> lines = new ArrayList<>();
        while (lines.size() < MANY) {
            lines.addAll(golden);
        }
        Path file = Files.write(temporary.resolve("lines"), lines);
        String heap = "-Xmx16m";
        Cli.Ended ended = Cli.jvm(heap, "-XX:+UseSerialGC").execute("decode", "--batch", file.toString());
        assertThat(ended.err()).isEmpty();
        assertThat(ended.out().lines()).hasSameSizeAs(lines);
    }

    @Test
    void linesAreReadFromStandardInput() throws Exception {
        assertThat(Program.output(List.of(
                        "bash",
                        "-c",
                        "\"$0\" decode --batch < \"$1\" | head -1; exit ${PIPESTATUS[0]}",
                        Machine.root() + "/scripts/kvmirq",
                        Golden.COPY.toString())))
                .startsWith("{\"kind\":\"irte.vtd.remapped\"");
    }

    @Test
    void everyFieldIsALineNextToTheManual() throws Exception {
        Cli.Ended ended = Cli.run("decode", "pid", "0", "2", "0", "0", "2500F10001", "0", "0", "0")
                .exited(0);
        assertThat(ended.out().lines().map(line -> line.strip().replaceAll(" +", " ")))
                .hasSize(19)
                .contains(
                        "[127:64] PIR pir1 0x2 vectors 0x41",
                        "[256] ON on 1 notification outstanding",
                        "[319:288] NDST ndst 0x25 x2APIC id 0x25",
                        "no violations");
    }

    @Test
    void wordsCanBeGivenAsTheKernelPrintsThem() throws Exception {
        String low = "0x28ab000000318001";
        String high = "0x0000000100043b01";
        String out = Cli.run("decode", "irte.vtd.posted", low, high).out();
        assertThat(out).contains("0x128ab0000  descriptor address", "requester 3b:00.1");
        assertThat(Cli.run("decode", "--high-first", "irte.vtd.posted", high, low)
                        .out())
                .isEqualTo(out);
    }

    @Test
    void violationIsPrintedAndExitCode1() throws Exception {
        Cli.Ended ended = Cli.run("decode", "irte.amd.legacy32", "ff300281").exited(ExitCode.FAILED);
        assertThat(ended.out()).contains("violation  rsvd_2: reserved bits 31:24 are 0xff and not 0");
    }

    @Test
    void encodeIsTheReverseOfDecode() throws Exception {
        Cli.Ended tag = Cli.run("encode", "gatag", "vm_id=1", "vcpu_idx=0x3");
        assertThat(tag.err()).isEmpty();
        assertThat(tag.exitCode()).isZero();
        assertThat(tag.out()).isEqualTo("0x00001003\n");
        String[] decode = ("decode gatag " + tag.out().strip()).split(" ", -1);
        assertThat(Cli.run(decode).out()).contains("vm_id", "0x1", "vcpu_idx", "0x3");
    }

    @Test
    void encodedViolationIsPrintedAndExitCode1() throws Exception {
        Cli.Ended ended = Cli.run(("encode irte.amd.legacy32 " + fieldsOfViolation()).split(" ", -1))
                .exited(ExitCode.FAILED);
        assertThat(ended.out())
                .isEqualTo("0xff300281\nviolation  rsvd_1: reserved bit 7 is 0x1 and not 0\n"
                        + "violation  rsvd_2: reserved bits 31:24 are 0xff and not 0\n");
    }

    /** As decode shows them. */
    private static String fieldsOfViolation() throws Exception {
        return Cli.run("decode", "irte.amd.legacy32", "ff300281")
                .out()
                .lines()
                .filter(line -> line.startsWith("  ["))
                .map(line -> line.strip().replaceAll("\\[[^]]*]", "").strip().split(" +", -1))
                .map(cells -> cells[1] + "=" + cells[2])
                .collect(Collectors.joining(" "));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "decode                        | kvmirq: expected a kind and its words, such as 'gatag 0x00001001'."
                        + " See kvmirq decode --help",
                "decode gatag                  | kvmirq: gatag is 1 word of 32 bits: got 0. See kvmirq decode --help",
                "decode gatag 1 2              | kvmirq: gatag is 1 word of 32 bits: got 2. See kvmirq decode --help",
                "decode gatag 123456789        | kvmirq: word 1 of gatag is '123456789': expected 1 to 8 hex digits,"
                        + " with or without 0x. See kvmirq decode --help",
                "decode pid.pointer 0x1g       | kvmirq: word 1 of pid.pointer is '0x1g': expected 1 to 16 hex digits,"
                        + " with or without 0x. See kvmirq decode --help",
                "decode gatag +1               | kvmirq: word 1 of gatag is '+1': expected 1 to 8 hex digits, with or"
                        + " without 0x. See kvmirq decode --help",
                "decode gatag -1               | kvmirq: word 1 of gatag is '-1': expected 1 to 8 hex digits, with or"
                        + " without 0x. See kvmirq decode --help",
                "decode gatag 1_0              | kvmirq: word 1 of gatag is '1_0': expected 1 to 8 hex digits, with or"
                        + " without 0x. See kvmirq decode --help",
                "decode gatag 0x               | kvmirq: word 1 of gatag is '0x': expected 1 to 8 hex digits, with or"
                        + " without 0x. See kvmirq decode --help",
                "decode irte.vtd.posted 1 x    | kvmirq: word 2 of irte.vtd.posted is 'x': expected 1 to 16 hex"
                        + " digits, with or without 0x. See kvmirq decode --help",
                "decode --high-first irte.vtd.posted 1 x | kvmirq: word 2 of irte.vtd.posted is 'x': expected 1 to 16"
                        + " hex digits, with or without 0x. See kvmirq decode --help",
                "decode irte.vtd 1 2           | kvmirq: kind 'irte.vtd' is unknown: did you mean irte.vtd.remapped,"
                        + " irte.vtd.posted? See kvmirq decode --help",
                "decode vgic-its-state@8080000 x | kvmirq: kind 'vgic-its-state@8080000' is unknown: did you mean"
                        + " vgic-its-state? See kvmirq decode --help",
                "decode vgic-state             | kvmirq: vgic-state is a debugfs file: expected its name, such as"
                        + " /sys/kernel/debug/kvm/TID-FD/vgic-state, or - for standard input. See kvmirq decode --help",
                "decode --batch vgic-state x   | kvmirq: --batch takes words: expected kvmirq decode [--json]"
                        + " vgic-state FILE. See kvmirq decode --help",
                "encode vgic-state x=1         | kvmirq: kind 'vgic-state' has no words and fields: expected kvmirq"
                        + " decode [--json] vgic-state FILE. See kvmirq encode --help",
                "decode --batch a b            | kvmirq: argument 'b' is unexpected: expected one FILE, or none for"
                        + " standard input. See kvmirq decode --help",
                "decode --batch --high-first   | kvmirq: --high-first is for typed words: leave it out with --batch."
                        + " See kvmirq decode --help",
                "decode --bach                 | kvmirq: Unknown option: '--bach'. Did you mean --batch? See kvmirq"
                        + " decode --help",
                "encode                        | kvmirq: expected a kind and the values of its fields, such as 'gatag"
                        + " vm_id=1 vcpu_idx=3'. See kvmirq encode --help",
                "encode gatag                  | kvmirq: fields 'vm_id', 'vcpu_idx' of gatag are missing: expected"
                        + " vm_id, vcpu_idx. See kvmirq encode --help",
                "encode gatag vm_id=1          | kvmirq: field 'vcpu_idx' of gatag is missing: expected vm_id,"
                        + " vcpu_idx. See kvmirq encode --help",
                "encode gatag vm_id            | kvmirq: 'vm_id' is not a field: expected FIELD=HEX, such as vm_id=1."
                        + " See kvmirq encode --help",
                "encode gatag vm_id=x          | kvmirq: field 'vm_id' of gatag is 'x': expected 1 to 16 hex digits,"
                        + " with or without 0x. See kvmirq encode --help",
                "encode gatag vm_id=1 vm_id=1  | kvmirq: field 'vm_id' is given twice. See kvmirq encode --help",
                "encode gatag x=1              | kvmirq: field 'x' is not one of gatag: expected vm_id, vcpu_idx. See"
                        + " kvmirq encode --help",
                "encode vtd.cap_ecap x=1       | kvmirq: vtd.cap_ecap cannot be encoded: its fields are computed and"
                        + " leave bits out; give its words. See kvmirq encode --help"
            })
    void wrongUsageIsOneSentenceAndExitCode2(String arguments, String sentence) throws Exception {
        Cli.Ended ended = Cli.run(arguments.strip().split(" +"));
        assertThat(ended.err().strip()).isEqualTo(sentence);
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.out()).isEmpty();
    }

    @Test
    void badLineIsExitCode2AndTheOnesBeforeAreWritten() throws IOException, InterruptedException {
        Path file = Files.writeString(
                temporary.resolve("lines"), "{\"kind\":\"gatag\",\"words\":[\"1\"]}\n{\"kind\":\"gatag\"}\n");
        Cli.Ended ended = Cli.run("decode", "--batch", file.toString()).exited(ExitCode.USAGE);
        assertThat(ended.err().strip())
                .isEqualTo("kvmirq: line 2: 'words' is missing: expected an array of 1 word of 32 bits."
                        + " See kvmirq decode --help");
        assertThat(ended.out().lines()).hasSize(1);
    }

    @Test
    void fileThatCannotBeReadIsExitCode3() throws Exception {
        Cli.Ended missing = Cli.run("decode", "--batch", "/nonexistent/file").exited(ExitCode.COULD_NOT_RUN);
        assertThat(missing.err().strip()).isEqualTo("kvmirq: cannot read /nonexistent/file: no such file");
        Cli.Ended directory = Cli.run("encode", "--batch", temporary.toString()).exited(ExitCode.COULD_NOT_RUN);
        assertThat(directory.err())
                .isEqualTo("kvmirq: cannot read " + temporary + ": it is a directory; name a file in it\n");
        String file = "/sys/kernel/debug/kvm/1-2/vgic-state";
        Cli.Ended ended = Cli.run("decode", "vgic-state", file).exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err())
                .matches("kvmirq: cannot read " + file + ": (no such file|permission denied); debugfs must be mounted,"
                        + " only root may read it, and kvm/TID-FD is there while the VM runs\n");
    }

    @Test
    void whatIsAllowedAndStrangeIsRemarkedOn() throws Exception {
        Cli.Ended swapped =
                Cli.run("decode", "irte.vtd.remapped", "43b00", "400220009").exited(0);
        assertThat(swapped.out()).contains("no violations\nremark  P is 0: hardware reads nothing else");
        assertThat(Cli.run("decode", "irte.vtd.remapped", "400220009", "43b00").out())
                .doesNotContain("remark");
        assertThat(Cli.run("decode", "pid", "0x1000", "0", "0", "0", "0x2500f20000", "0", "0", "0")
                        .out())
                .contains("remark  PIR is not empty while ON and SN are clear");
    }

    @Test
    void helpListsTheKindsWithTheirWords() throws Exception {
        assertThat(Cli.run("decode", "--help").out())
                .contains(
                        "pid                 posted-interrupt descriptor: 8 words of 64 bits",
                        "MSI of compatibility format: address, high address, data",
                        "--high-first")
                .contains(Formats.ALL.stream()
                        .map(format -> "  " + format.kind() + " ")
                        .toList());
    }

    @Test
    void fileOfDebugfsTellsWhatIsForwarded() throws Exception {
        Path file = Machine.root().resolve("src/test/resources/io/kvmirq/arch/gic/vgic-state-gicv4.txt");
        Cli.Ended ended = Cli.run("decode", "vgic-state", file.toString()).exited(0);
        assertThat(ended.out().lines().map(line -> line.strip().replaceAll(" +", " ")))
                .startsWith("GICv3, enabled: 64 SPIs, 47 LPIs")
                .contains(
                        "vCPU 0 PPI 27 vCPU 0 disabled level 0 KVM, deactivates physical 27",
                        "- LPI 8257 vCPU 0 in hardware edge 160 GICv4 (vLPI)",
                        "136 others are idle")
                .endsWith("5 of 47 LPIs are forwarded: GICv4 delivers without KVM.");
    }

    @Test
    void fileOfAnotherKindIsRefused() throws Exception {
        String file = Machine.root().resolve("README.md").toString();
        Cli.Ended ended = Cli.run("decode", "vgic-its-state", file).exited(ExitCode.COULD_NOT_RUN);
        assertThat(ended.out()).isEmpty();
        assertThat(ended.err())
                .isEqualTo("kvmirq: cannot read " + file + ": line 1 of vgic-its-state is '# kvmirq: see and wire KVM"
                        + " guest interrupts': expected a row of 6 numbers such as '0 8192 0 0 0 1'\n");
    }

    @Test
    void jsonOfWordsIsALineOfABatch() throws Exception {
        Cli.Ended ended = Cli.run("decode", "--json", "gatag", "0x1003").exited(0);
        assertThat(ended.out())
                .isEqualTo(
                        "{\"kind\":\"gatag\",\"words\":[\"0x00001003\"],"
                                + "\"fields\":{\"vm_id\":\"0x1\",\"vcpu_idx\":\"0x3\"},\"leftOut\":[],\"violations\":[],\"remarks\":[]}\n");
        assertThat(Cli.run("decode", "--json", "msi.compat", "0xfee01000", "0", "0x41")
                        .out())
                .contains("\"leftOut\":[");
        Cli.Ended bad =
                Cli.run("decode", "irte.amd.legacy32", "ff300281", "--json").exited(ExitCode.FAILED);
        assertThat(bad.out()).contains("\"violations\":[\"rsvd_1: ");
    }
}
