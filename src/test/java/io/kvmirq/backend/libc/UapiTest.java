/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The numbers of {@link Uapi} and {@link UapiTable} against the C compiler and against vectors made from the kernel's own
 * headers. A fact is named as C would ask for it: {@code KVM_IRQFD}, {@code sizeof struct kvm_irqfd}, {@code offsetof
 * struct kvm_irqfd.gsi}, {@code sizeof struct kvm_irqfd.gsi}.
 */
class UapiTest {
    /** Constants of structures that are no field of theirs: a size, and registers in an array, of Intel's making. */
    private static final Set<String> NO_FIELDS = Set.of(
            "KvmCpuid2.ENTRY_SIZE",
            "KvmCpuid2.ENTRY_ECX",
            "KvmLapicState.SVR",
            "KvmLapicState.SVR_ENABLE",
            "KvmLapicState.IRR");

    /** Fewer requests than any headers have. */
    private static final int MANY = 80;

    /** What of the project's shared vectors is of use here. */
    private static final Path VECTORS = Machine.root().resolve("src/test/resources/uapi.json");

    private static final List<String> HEADERS = List.of(
            "stddef.h",
            "stdio.h",
            "fcntl.h",
            "poll.h",
            "time.h",
            "sys/epoll.h",
            "sys/eventfd.h",
            "sys/ioctl.h",
            "sys/mman.h",
            "sys/uio.h",
            "linux/fs.h",
            "linux/kvm.h",
            "linux/version.h",
            "linux/vfio.h");

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    // What we say

    private static Stream<Field> constants(Class<?> of, Class<?> type) {
        return Arrays.stream(of.getDeclaredFields())
                .filter(field -> Modifier.isPublic(field.getModifiers()) && field.getType() == type);
    }

    private static long value(Field constant) {
        try {
            return constant.getLong(null);
        } catch (IllegalAccessException e) {
            throw new AssertionError(e);
        }
    }

    private static NavigableMap<String, Long> ours() {
        NavigableMap<String, Long> facts = new TreeMap<>();
        Stream.concat(constants(Uapi.class, long.class), constants(Uapi.class, int.class))
                .forEach(constant -> facts.put(constant.getName(), value(constant)));
        UapiTable.REQUESTS.forEach(request -> facts.put(request.name(), request.number()));
        for (UapiTable.Struct struct : UapiTable.STRUCTS) {
            facts.put("sizeof struct " + struct.tag(), (long) struct.size());
            for (UapiTable.Field field : struct.fields()) {
                facts.put("offsetof struct " + struct.tag() + "." + field.path(), (long) field.offset());
                facts.put("sizeof struct " + struct.tag() + "." + field.path(), (long) field.size());
            }
        }
        facts.put("sizeof struct kvm_cpuid_entry2", (long) Uapi.KvmCpuid2.ENTRY_SIZE);
        return facts;
    }

    @Test
    void everyRequestIsInTheTable() {
        Map<String, Long> constants =
                constants(Uapi.class, long.class).collect(Collectors.toMap(Field::getName, UapiTest::value));
        assertThat(UapiTable.REQUESTS).map(UapiTable.Request::name).containsAll(constants.keySet());
        UapiTable.REQUESTS.forEach(request -> constants.putIfAbsent(request.name(), request.number()));
        assertThat(UapiTable.REQUESTS)
                .allSatisfy(request -> assertThat(constants).containsEntry(request.name(), request.number()));
    }

    @Test
    void numberMeansOneRequestOnOneKindOfFile() {
        assertThat(UapiTable.REQUESTS)
                .map(request -> request.kind() + " " + request.number())
                .doesNotHaveDuplicates();
        Map<UapiTable.FileKind, Long> kinds = UapiTable.REQUESTS.stream()
                .collect(Collectors.groupingBy(UapiTable.Request::kind, TreeMap::new, Collectors.counting()));
        System.out.println("UapiTable's requests: " + kinds);
    }

    @Test
    void requestsEncodeTheSizeOfTheirArgument() {
        assertThat(UapiTable.REQUESTS)
                .filteredOn(request -> request.argument().isPresent())
                .allSatisfy(request -> assertThat(request.number() >> 16 & 0x3fff)
                        .isEqualTo(request.argument().orElseThrow().size()));
    }

    @Test
    void everyOffsetIsInTheTable() {
        Map<String, Long> constants = new TreeMap<>();
        for (Class<?> struct : Uapi.class.getDeclaredClasses()) {
            String tag = struct.getSimpleName()
                    .replaceAll("(?<=[a-z0-9])(?=[A-Z])", "_")
                    .toLowerCase(Locale.ROOT);
            constants(struct, int.class)
                    .filter(constant -> !NO_FIELDS.contains(struct.getSimpleName() + "." + constant.getName()))
                    .forEach(constant -> constants.put(tag + "." + constant.getName(), value(constant)));
        }
        Map<String, Long> table = new TreeMap<>();
        for (UapiTable.Struct struct : UapiTable.STRUCTS) {
            table.put(struct.tag() + ".SIZE", (long) struct.size());
            for (UapiTable.Field field : struct.fields()) {
                String name = field.path().toUpperCase(Locale.ROOT).replace('.', '_');
                table.put(struct.tag() + "." + name, (long) field.offset());
            }
        }
        assertThat(table).isEqualTo(constants);
    }

    // What the compiler says

    /** Structures that headers of 5.10 or 6.1 lack, by the macro that came with them. */
    private static final Map<String, String> CAME_WITH = Map.of(
            "kvm_stats_header", "KVM_GET_STATS_FD", "kvm_userspace_memory_region2", "KVM_SET_USER_MEMORY_REGION2");

    /** {@code printf} of one fact; a macro or structure that the headers lack is left out. */
    private static String line(String fact) {
        if (!fact.contains(" ")) {
            return "#ifdef " + fact + "\n" + print(fact, fact) + "#endif\n";
        }
        String[] words = fact.split("[ .]", 4);
        String macro = CAME_WITH.getOrDefault(words[2], "KVM_API_VERSION");
        return "#ifdef " + macro + "\n" + lineOfStruct(fact, words) + "#endif\n";
    }

    private static String lineOfStruct(String fact, String... words) {
        String struct = "struct " + words[2];
        if (words.length == 3) {
            return print(fact, "sizeof(" + struct + ")");
        }
        return words[0].equals("offsetof")
                ? print(fact, "offsetof(" + struct + ", " + words[3] + ")")
                : print(fact, "sizeof(((" + struct + " *)0)->" + words[3] + ")");
    }

    private static String print(String fact, String expression) {
        return "\tprintf(\"%s\\t%%lld\\n\", (long long)(%s));\n".formatted(fact, expression);
    }

    private Map<String, Long> compiled(String... flags) throws IOException, InterruptedException {
        Path source = temporary.resolve("probe.c");
        Path program = temporary.resolve("probe");
        Files.writeString(
                source,
                "#define _GNU_SOURCE\n"
                        + HEADERS.stream().map("#include <%s>\n"::formatted).collect(Collectors.joining())
                        + "#if __has_include(<linux/iommufd.h>)\n#include <linux/iommufd.h>\n#endif\n"
                        + "int main(void)\n{\n"
                        + ours().keySet().stream().map(UapiTest::line).collect(Collectors.joining())
                        + line("LINUX_VERSION_CODE")
                        + "}\n");
        List<String> compile = new ArrayList<>(List.of("cc", "-std=c11"));
        compile.addAll(List.of(flags));
        compile.addAll(List.of(source.toString(), "-o", program.toString()));
        Program.output(compile);
        return Program.output(List.of(program.toString()))
                .lines()
                .map(line -> line.split("\t", -1))
                .collect(Collectors.toMap(cells -> cells[0], cells -> Long.parseLong(cells[1])));
    }

    private static String release(Map<String, Long> facts) {
        long code = facts.getOrDefault("LINUX_VERSION_CODE", 0L);
        return "Linux " + (code >> 16) + "." + (code >> 8 & 0xff) + "." + (code & 0xff);
    }

    @Test
    void installedHeadersAgree() throws IOException, InterruptedException {
        Machine.assumeX86();
        Machine.assumeProgram("cc");
        Map<String, Long> compiled = compiled();
        compare("the installed headers, " + release(compiled), compiled);
        Set<String> unwitnessed = missing(compiled);
        unwitnessed.removeAll(vectors(VECTORS).keySet());
        // What only names a request may be newer than both; headers of other releases know it.
        UapiRequests.ALL.forEach(request -> unwitnessed.remove(request.name()));
        assertThat(unwitnessed).as("neither in the headers nor in the vectors").isEmpty();
    }

    /** Of other architectures, and what kernels forgot before 6.1. */
    private static final Pattern NOT_OF_X86 = Pattern.compile("KVM_(ARM|PPC|S390|ASSIGN|DEASSIGN)_.*"
            + "|KVM_CREATE_SPAPR_TCE(_64)?|KVM_ALLOCATE_RMA|KVM_DIRTY_TLB|KVM_SET_MEMORY_(REGION|ALIAS)");

    private static final Pattern REQUEST = Pattern.compile("#define (KVM_\\w+) +_IO[WR]*\\(KVMIO,.*");

    /** The requests of KVM that the headers have and the table lacks. */
    private Set<String> unlisted(String... flags) throws IOException, InterruptedException {
        Path source = temporary.resolve("macros.c");
        Files.writeString(source, "#include <linux/kvm.h>\n");
        List<String> preprocess = new ArrayList<>(List.of("cc", "-dM", "-E"));
        preprocess.addAll(List.of(flags));
        preprocess.add(source.toString());
        Set<String> requests = Program.output(preprocess)
                .lines()
                .map(REQUEST::matcher)
                .filter(Matcher::matches)
                .map(macro -> macro.group(1))
                .filter(name -> !NOT_OF_X86.matcher(name).matches())
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(requests).as("requests of the headers").hasSizeGreaterThan(MANY);
        UapiTable.REQUESTS.forEach(request -> requests.remove(request.name()));
        return requests;
    }

    @Test
    void everyRequestOfTheInstalledHeadersIsInTheTable() throws IOException, InterruptedException {
        Machine.assumeX86();
        Machine.assumeProgram("cc");
        assertThat(unlisted()).isEmpty();
    }

    @Test
    void headersOfOtherReleasesAgree() throws IOException, InterruptedException {
        Machine.assumeX86();
        Machine.assumeProgram("cc");
        Path kept = Machine.root().resolve("target/headers");
        assumeTrue(Files.isDirectory(kept), "needs target/headers: make headers-test fetches them");
        try (Stream<Path> suites = Files.list(kept)) {
            for (Path suite : suites.sorted().toList()) {
                Path include = suite.resolve("usr/include");
                if (Files.exists(include.resolve("asm/kvm.h"))) {
                    Map<String, Long> compiled = compiled("-isystem", include.toString());
                    compare("the headers of " + suite.getFileName() + ", " + release(compiled), compiled);
                    assertThat(unlisted("-isystem", include.toString()))
                            .as("requests of " + suite.getFileName())
                            .isEmpty();
                }
            }
        }
    }

    // What the vectors say

    private static Map<String, Long> vectors(Path json) throws IOException {
        Map<String, Long> facts = new HashMap<>();
        Map<String, String> vector = new HashMap<>();
        try (InputStream in = Files.newInputStream(json);
                JsonParser parser = new JsonFactory().createParser(in)) {
            for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
                if (token == JsonToken.START_OBJECT) {
                    vector.clear();
                } else if (token.isScalarValue()) {
                    vector.put(String.valueOf(parser.currentName()), parser.getText());
                } else if (token == JsonToken.END_OBJECT) {
                    add(vector, facts);
                    vector.clear();
                }
            }
        }
        return facts;
    }

    private static void add(Map<String, String> vector, Map<String, Long> facts) {
        String name = vector.getOrDefault("name", "");
        Long number = Long.decode(vector.getOrDefault("dec", "-1"));
        switch (vector.getOrDefault("kind", "")) {
            case "ioctl", "const" -> facts.put(name, number);
            case "sizeof" -> facts.put("sizeof " + name, number);
            case "offsetof" -> {
                facts.put("offsetof " + name, number);
                facts.put("sizeof " + name, Long.decode(vector.getOrDefault("fieldsize", "-1")));
            }
            default -> {} // whole messages and words of interrupt controllers: not Uapi's
        }
    }

    @Test
    void vectorsAgree() throws IOException {
        compare("uapi.json, Linux 7.1.8", vectors(VECTORS));
    }

    @Test
    void sharedVectorsAgree() throws IOException {
        Path shared = Machine.root().resolve("../shared/vectors/uapi.json");
        assumeTrue(Files.exists(shared), "needs ../shared/vectors/uapi.json, from which uapi.json was made");
        Map<String, Long> vectors = vectors(shared);
        compare("../shared/vectors/uapi.json", vectors);
        vectors.keySet().retainAll(ours().keySet());
        assertThat(vectors(VECTORS)).as("uapi.json holds what is of use of it").containsAllEntriesOf(vectors);
    }

    // The comparison

    private static Set<String> missing(Map<String, Long> theirs) {
        Set<String> missing = new TreeSet<>(ours().keySet());
        missing.removeAll(theirs.keySet());
        return missing;
    }

    /** Prints what was compared with whom, and what could not be; a field's size goes with its offset. */
    private static void compare(String whose, Map<String, Long> theirs) {
        Map<String, Long> compared = ours();
        compared.keySet().retainAll(theirs.keySet());
        Map<String, Long> said = new TreeMap<>(theirs);
        said.keySet().retainAll(compared.keySet());
        Set<String> missing = missing(theirs);
        missing.removeIf(fact -> fact.startsWith("sizeof") && fact.contains("."));
        System.out.println("Uapi against " + whose + ": "
                + count(compared, fact -> !fact.contains(" ")) + " numbers, "
                + count(compared, fact -> fact.startsWith("sizeof")) + " sizes, "
                + count(compared, fact -> fact.startsWith("offsetof")) + " offsets; not there: " + missing);
        assertThat(compared).as(whose).isEqualTo(said);
    }

    private static long count(Map<String, Long> facts, Predicate<String> kind) {
        return facts.keySet().stream().filter(kind).count();
    }
}
