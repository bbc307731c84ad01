/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.trace.Btf.Kind;
import io.kvmirq.host.trace.Btf.Member;
import io.kvmirq.host.trace.Btf.Parameter;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** BTF that pahole made, read as the compiler laid it out; and BTF that is damaged. */
class BtfTest {
    private static final String VMLINUX = "sys/kernel/btf/vmlinux";
    private static final String MODULE = "sys/kernel/btf/module";

    /** Where the types begin: behind the header. */
    private static final int TYPES = 24;
    /** The number of struct outer in kernel.btf. */
    private static final int OUTER = 19;

    static byte[] bytes(String name) throws IOException {
        try (InputStream in = BtfTest.class.getResourceAsStream("btf/" + name)) {
            return in.readAllBytes();
        }
    }

    private static HostFiles host() throws IOException {
        return HostFiles.of(Map.of(VMLINUX, bytes("kernel.btf"), MODULE, bytes("module.btf")), Map.of());
    }

    private static Btf module() throws IOException {
        return Btf.read(host(), "module").known().orElseThrow();
    }

    private static String unknown(Known<?> fact) {
        assertThat(fact).isInstanceOf(Known.Unknown.class);
        return ((Known.Unknown<?>) fact).why() + "; " + ((Known.Unknown<?>) fact).remedy();
    }

    static List<String> layout() throws IOException {
        return new String(bytes("layout.txt"), StandardCharsets.UTF_8).lines().toList();
    }

    @ParameterizedTest
    @MethodSource("layout")
    void membersLieWhereTheCompilerPutsThem(String line) throws IOException {
        String[] words = line.split(" ");
        Member member = module().member(Kind.STRUCT, words[0], words[1]).known().orElseThrow();
        assertThat(member.offset()).isEqualTo(Long.parseLong(words[2]));
        assertThat(member.bits()).isEqualTo(Long.parseLong(words[3]) * 8);
        assertThat(member.isWhole()).isTrue();
    }

    /** bpftool's dump of the same file says so. */
    @ParameterizedTest
    @CsvSource({
        "irte_like, present, 0, 1", "irte_like, vector, 8, 8", "irte_like, pad, 16, 48", "irte_like, high, 64, 64",
        "outer, entry.avail, 834, 6", "outer, low, 960, 3", "outer, high, 963, 7", "inner, outer.high, 963, 7"
    })
    void bitFieldsHaveTheirBits(String type, String path, long bit, long bits) throws IOException {
        Member member = module().member(Kind.STRUCT, type, path).known().orElseThrow();
        assertThat(List.of(member.bit(), member.bits())).containsExactly(bit, bits);
        assertThat(member.isWhole()).isEqualTo(bit % 8 == 0 && bits % 8 == 0);
    }

    @Test
    void kindTellsTypesOfOneNameApart() throws IOException {
        assertThat(module().size(Kind.UNION, "twice").known()).contains(8L);
        assertThat(module().size(Kind.STRUCT, "twice").known()).contains(16L);
    }

    @Test
    void memberOnWhichTypesOfOneNameDifferIsUnknown() throws IOException {
        assertThat(unknown(module().member(Kind.STRUCT, "differs", "both")))
                .isEqualTo("this kernel has different types named struct differs with both; look up another member");
        assertThat(module().member(Kind.STRUCT, "differs", "two").known().map(Member::offset))
                .contains(4L);
    }

    @Test
    void parametersAreThoseOfTheSource() throws IOException {
        assertThat(module().parameters("wake").known())
                .contains(List.of(
                        new Parameter("waiter", true),
                        new Parameter("unsigned int", false),
                        new Parameter("int", false),
                        new Parameter("", true)));
        assertThat(module().parameters("signal_one").known())
                .contains(List.of(new Parameter("outer", true), new Parameter("irte_like", true)));
        assertThat(module().parameters("inner_wake").known())
                .contains(List.of(
                        new Parameter("inner", true), new Parameter("waiter", true), new Parameter("twice", true)));
    }

    @Test
    void functionsOfOneNameAgreeByTheirTypes() throws IOException {
        assertThat(module().parameters("renamed").known()).contains(List.of(new Parameter("waiter", true)));
    }

    @Test
    void anythingThatIsAbsentIsNamed() throws IOException {
        assertThat(unknown(module().member(Kind.STRUCT, "inner", "outer.none")))
                .isEqualTo("this kernel has no struct inner with outer.none; use a kernel that has it");
        assertThat(unknown(module().member(Kind.UNION, "inner", "gsi"))).startsWith("this kernel has no union inner");
        assertThat(unknown(module().parameters("inlined")))
                .isEqualTo("this kernel has no function inlined; use a kernel that has it");
        assertThat(unknown(module().member(Kind.STRUCT, "outer", ""))).startsWith("this kernel has no struct outer");
        assertThat(unknown(module().member(Kind.STRUCT, "outer", "count.x"))).startsWith("this kernel has no");
    }

    @Test
    void moduleThatIsBuiltInHasTheTypesOfTheKernel() throws IOException {
        Btf kernel = Btf.read(host(), "built_in").known().orElseThrow();
        assertThat(kernel.size(Kind.STRUCT, "outer").known()).contains(128L);
        assertThat(kernel.size(Kind.STRUCT, "inner").known()).isEmpty();
    }

    @Test
    void hostWithoutBtfSaysSo() {
        assertThat(unknown(Btf.read(HostFiles.of(Map.of(), Map.of()), "kvm")))
                .isEqualTo("/sys/kernel/btf/vmlinux does not exist; use a kernel with CONFIG_DEBUG_INFO_BTF");
    }

    @ParameterizedTest
    @CsvSource({
        "0, 0, 'begins with 0xeb00, expected 0xeb9f in this machine''s byte order'",
        "2, 2, 'has version 2, expected 1'",
        "7, 1, 'has a header of 16777240 bytes'",
        "31, 0x1f, 'has kind 31 in type 1, expected 1 to 19'"
    })
    void damageIsNamed(int at, String value, String why) throws IOException {
        byte[] content = bytes("kernel.btf");
        content[at] = Integer.decode(value).byteValue();
        assertThat(unknown(Btf.parse(content))).isEqualTo("BTF " + why + "; read it on the host that it describes");
    }

    @Test
    void everyTruncationIsSaid() throws IOException {
        byte[] content = bytes("kernel.btf");
        for (int length = 0; length < content.length; length++) {
            assertThat(unknown(Btf.parse(Arrays.copyOf(content, length)))).contains("BTF ");
        }
        assertThat(Btf.parse(content).known()).isPresent();
    }

    /** Each answer is a value or a sentence, also where types hold themselves. */
    @Test
    void damagedTypesEndEachQuestion() throws IOException {
        Btf kernel = Btf.parse(bytes("kernel.btf")).known().orElseThrow();
        Random random = new Random(48);
        int refused = 0;
        for (int i = 0; i < 20_000; i++) {
            byte[] content = bytes(i % 2 == 0 ? "kernel.btf" : "module.btf");
            for (int change = random.nextInt(4); change >= 0; change--) {
                content[24 + random.nextInt(content.length - 24)] = (byte) random.nextInt(64);
            }
            Known<Btf> read = i % 2 == 0 ? Btf.parse(content) : Btf.parse(kernel, content);
            if (read.known().isEmpty()) {
                refused++;
                continue;
            }
            ask(read.known().get());
        }
        assertThat(refused).isPositive().isLessThan(20_000);
    }

    /** Asks all that a caller may ask. */
    static void ask(Btf types) {
        for (String type : List.of("outer", "inner", "twice", "irte_like")) {
            for (String path : List.of("gsi", "wait.func", "outer.pin", "entry.vector", "name", "waiters")) {
                types.member(Kind.STRUCT, type, path).known().ifPresent(member -> assertThat(member.bits())
                        .isNotNegative());
            }
            types.size(Kind.UNION, type);
        }
        types.parameters("wake");
        types.parameters("inner_wake");
    }

    @Test
    void typedefOfItselfIsRefused() throws IOException {
        byte[] content = bytes("kernel.btf");
        content[TYPES + 8] = 1;
        Btf types = Btf.parse(content).known().orElseThrow();
        assertThat(unknown(types.member(Kind.STRUCT, "outer", "count"))).contains("BTF has types that name themselves");
    }

    /** As if the compiler had written restrict in place of const, and a bit-field lay 8 KiB further on. */
    @Test
    void restrictIsSkippedAndABitFieldMayBeFar() throws IOException {
        byte[] content = bytes("kernel.btf");
        ByteBuffer words = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
        for (int at = TYPES; at + 4 <= content.length; at += 4) {
            int word = words.getInt(at);
            words.putInt(at, word == 0x0a00_0000 ? 0x0b00_0000 : word == 0x0700_03c3 ? 0x0701_03c3 : word);
        }
        Btf types = Btf.parse(content).known().orElseThrow();
        assertThat(types.parameters("signal_one").known())
                .contains(List.of(new Parameter("outer", true), new Parameter("irte_like", true)));
        assertThat(types.member(Kind.STRUCT, "outer", "high").known().map(Member::bit))
                .contains(0x1_03c3L);
    }

    /** The anonymous structure of struct outer becomes struct outer. The search for a member then never ends. */
    @Test
    void structureThatHoldsItselfIsRefused() throws IOException {
        Btf types = Btf.parse(withAnonymousMemberOf(OUTER)).known().orElseThrow();
        assertThat(unknown(types.member(Kind.STRUCT, "outer", "none")))
                .contains("BTF has types that contain themselves");
        assertThat(types.member(Kind.STRUCT, "outer", "count").known()).isPresent();
    }

    private static byte[] withAnonymousMemberOf(int type) throws IOException {
        byte[] content = bytes("kernel.btf");
        ByteBuffer words = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
        int replaced = 0;
        for (int at = TYPES; at + 12 <= content.length; at += 4) {
            if (words.getInt(at) == 0 && words.getInt(at + 4) == OUTER - 1 && words.getInt(at + 8) == 256) {
                words.putInt(at + 4, type);
                replaced++;
            }
        }
        assertThat(replaced).isOne();
        return content;
    }

    @Test
    void thisKernelsOwnTypesAnswer() {
        HostFiles files = HostFiles.at(Path.of("/"));
        assumeTrue(!files.list("sys/kernel/btf").isEmpty(), "this kernel shows no BTF");
        Btf types = Btf.read(files, "kvm").known().orElseThrow();
        assertThat(types.member(Kind.STRUCT, "task_struct", "comm").known().map(Member::bits))
                .contains(128L);
        assertThat(types.member(Kind.STRUCT, "kvm_kernel_irqfd", "irq_entry.gsi")
                        .known())
                .isPresent();
    }
}
