/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

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
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
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
 * The numbers of {@link Uapi} and {@link UapiTable} against the C compiler and against vectors made from the kernel's
 * own headers. A fact is named as C would ask for it: {@code KVM_IRQFD}, {@code sizeof struct kvm_irqfd}, {@code
 * offsetof struct kvm_irqfd.gsi}, {@code sizeof struct kvm_irqfd.gsi}. What is {@link Declared.Inferred} has no header to
 * compare with.
 */
class UapiTest {
    /** Constants of structures that are no field of theirs: a size, and registers in an array, of Intel's making. */
    private static final Set<String> NO_FIELDS =
            Set.of("KvmLapicState.SVR", "KvmLapicState.SVR_ENABLE", "KvmLapicState.IRR");

    /** Fewer requests than any headers have. */
    private static final int MANY = 80;

    /** The part of the project's shared vectors that is of use here. */
    private static final Path VECTORS = Machine.root().resolve("src/test/resources/uapi.json");

    @TempDir
    private Path temporary;

    // What we say

    private static final List<Class<?>> CLASSES = List.of(Uapi.class, UapiVfio.class, UapiIommufd.class);

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

    /** Structures that only the headers of arm64 have. */
    private static boolean isOfX86(UapiTable.Struct struct) {
        return !struct.tag().isEmpty()
                && Arrays.stream(UapiArm64.class.getDeclaredClasses())
                        .noneMatch(type -> tag(type).equals(struct.tag()));
    }

    private static String tag(Class<?> struct) {
        return struct.getSimpleName().replaceAll("(?<=[a-z0-9])(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
    }

    private static NavigableMap<String, Long> ours() {
        NavigableMap<String, Long> facts = new TreeMap<>();
        CLASSES.stream()
                .flatMap(type -> Stream.concat(constants(type, long.class), constants(type, int.class)))
                .forEach(constant -> facts.put(constant.getName(), value(constant)));
        // The headers of every architecture have all capabilities.
        constants(UapiArm64.class, int.class)
                .filter(constant -> constant.getName().startsWith("KVM_CAP_"))
                .forEach(constant -> facts.put(constant.getName(), value(constant)));
        UapiTable.REQUESTS.forEach(request -> facts.put(request.name(), request.number()));
        UapiTable.structs().stream().filter(UapiTest::isOfX86).forEach(struct -> {
            facts.put("sizeof struct " + struct.tag(), (long) struct.size());
            // What lies beyond the structure has no name in C.
            struct.fields().stream()
                    .filter(field -> field.offset() < struct.size())
                    .forEach(field -> {
                        facts.put("offsetof struct " + struct.tag() + "." + field.path(), (long) field.offset());
                        facts.put("sizeof struct " + struct.tag() + "." + field.path(), (long) field.size());
                    });
        });
        return facts;
    }

    /** A request without {@code @Ioctl}, or a field without its width, would not be in the table. */
    @Test
    void everyConstantHasItsFactsBesideIt() {
        List<String> bare = new ArrayList<>();
        for (Class<?> type : CLASSES) {
            constants(type, long.class)
                    .filter(constant -> !constant.isAnnotationPresent(Declared.Ioctl.class))
                    .forEach(constant -> bare.add(constant.getName()));
            for (Class<?> struct : type.getDeclaredClasses()) {
                constants(struct, int.class)
                        .filter(constant -> constant.getAnnotations().length == 0
                                && !constant.getName().equals("SIZE"))
                        .forEach(constant -> bare.add(struct.getSimpleName() + "." + constant.getName()));
            }
        }
        assertThat(bare).containsExactlyInAnyOrderElementsOf(NO_FIELDS);
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
                .filteredOn(request -> request.argument().isPresent() && (request.number() >> 16 & 0x3fff) != 0)
                .allSatisfy(request -> assertThat(request.number() >> 16 & 0x3fff)
                        .isEqualTo(request.argument().orElseThrow().size()));
    }

    /** Constants that were proposed and never merged. */
    private static Set<String> inferred() {
        Set<String> facts = new TreeSet<>();
        CLASSES.stream()
                .flatMap(type -> constants(type, int.class))
                .filter(constant -> constant.isAnnotationPresent(Declared.Inferred.class))
                .forEach(constant -> facts.add(constant.getName()));
        CLASSES.stream()
                .flatMap(type -> Arrays.stream(type.getDeclaredClasses()))
                .filter(type -> type.isAnnotationPresent(Declared.Inferred.class))
                .map(UapiTest::tag)
                .forEach(tag -> ours().keySet().stream()
                        .filter(fact -> fact.endsWith("struct " + tag) || fact.contains("struct " + tag + "."))
                        .forEach(facts::add));
        return facts;
    }

    /** The image is inferred as well, by others. */
    @Test
    void inferredLayoutMakesTheInferredImage() throws IOException {
        ByteBuffer structure = ByteBuffer.allocate(Uapi.KvmArchForwardedIrq.SIZE)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(Uapi.KvmArchForwardedIrq.FD, 12)
                .putInt(Uapi.KvmArchForwardedIrq.INDEX, 0)
                .putInt(Uapi.KvmArchForwardedIrq.SUBINDEX, 0)
                .putInt(Uapi.KvmArchForwardedIrq.GSI, 42);
        assertThat(Files.readString(VECTORS))
                .contains("\"seed003_fwd_noargsz_INFERRED\"")
                .contains("\"le_hex\": \"" + HexFormat.of().formatHex(structure.array()) + "\"");
    }

    // What the compiler says

    /** {@code printf} of one fact; what the headers lack is left out. */
    private static String line(String fact, Headers headers) {
        if (!fact.contains(" ")) {
            return headers.enumerates(fact)
                    ? print(fact, fact)
                    : "#ifdef " + fact + "\n" + print(fact, fact) + "#endif\n";
        }
        String[] words = fact.split("[ .]", 4);
        boolean known = words.length == 3 ? headers.hasAllOf(words[2]) : headers.has(words[2], words[3]);
        return known ? lineOfStruct(fact, words) : "";
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
        Headers headers = Headers.of(temporary, flags);
        Files.writeString(
                source,
                Headers.INCLUDES
                        + "int main(void)\n{\n"
                        + ours().keySet().stream()
                                .map(fact -> line(fact, headers))
                                .collect(Collectors.joining())
                        + line("LINUX_VERSION_CODE", headers)
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
        assertThat(unwitnessed).as("neither in the headers nor in the vectors").isEqualTo(inferred());
    }

    /** Requests of other architectures, and requests that kernels dropped before 6.1. */
    private static final Pattern NOT_OF_X86 = Pattern.compile("KVM_(ARM|PPC|S390|ASSIGN|DEASSIGN)_.*"
            + "|KVM_CREATE_SPAPR_TCE(_64)?|KVM_ALLOCATE_RMA|KVM_DIRTY_TLB|KVM_SET_MEMORY_(REGION|ALIAS)"
            + "|VFIO_IOMMU_SPAPR_.*|VFIO_EEH_PE_OP");

    /** The requests that the headers have and the table lacks. */
    private Set<String> unlisted(String... flags) throws IOException, InterruptedException {
        Set<String> requests = Headers.of(temporary, flags).requests();
        requests.removeIf(name -> NOT_OF_X86.matcher(name).matches());
        assertThat(requests).as("requests of the headers").hasSizeGreaterThan(MANY);
        UapiTable.REQUESTS.forEach(request -> requests.remove(request.name()));
        return requests;
    }

    private static final Pattern CAPABILITY_OF_OTHERS =
            Pattern.compile("KVM_CAP_((PPC|S390|SPAPR|MIPS|RISCV)_.*|SPAPR_TCE|SW_TLB|IRQ_MPIC|IRQ_XICS)");

    /** Capabilities that a VMM may ask for and never enables: the kernel's KVM_ENABLE_CAP of x86 and arm64 has none. */
    private static final Set<String> ONLY_ASKED = Set.of("""
            ADJUST_CLOCK ARM_CACHEABLE_PFNMAP_SUPPORTED ARM_EL1_32BIT ARM_EL2 ARM_EL2_E2H0 ARM_INJECT_EXT_DABT
            ARM_INJECT_SERROR_ESR ARM_IRQ_LINE_LAYOUT_2 ARM_PSCI ARM_PSCI_0_2 ARM_SET_DEVICE_ADDR ARM_SUPPORTED_BLOCK_SIZES
            ARM_SUPPORTED_REG_MASK_RANGES ARM_USER_IRQ ASSIGN_DEV_IRQ ASYNC_PF ASYNC_PF_INT CLOCKSOURCE COALESCED_PIO
            COUNTER_OFFSET DEBUGREGS DESTROY_MEMORY_REGION_WORKS EXT_CPUID EXT_EMUL_CPUID GET_MSR_FEATURES GET_TSC_KHZ
            GUEST_DEBUG_HW_BPS GUEST_DEBUG_HW_WPS GUEST_MEMFD_FLAGS HLT HYPERV HYPERV_CPUID HYPERV_EVENTFD HYPERV_SEND_IPI
            HYPERV_SPIN HYPERV_TIME HYPERV_TLBFLUSH HYPERV_VAPIC HYPERV_VP_INDEX INTERNAL_ERROR_DATA INTR_SHADOW
            IOAPIC_POLARITY_IGNORED IOMMU JOIN_MEMORY_REGIONS_WORKS KVMCLOCK_CTRL LAST_CPU MANUAL_DIRTY_LOG_PROTECT MCE
            MEMORY_ATTRIBUTES MMU_SHADOW_CACHE_CONTROL MP_STATE NESTED_STATE NOP_IO_DELAY ONE_REG PCI_2_3 PCI_SEGMENT PIT
            PIT_STATE2 PMU_EVENT_FILTER PMU_EVENT_MASKED_EVENTS PRE_FAULT_MEMORY PTP_KVM PV_MMU REINJECT_CONTROL
            SET_BOOT_CPU_ID SET_GUEST_DEBUG SET_GUEST_DEBUG2 SET_IDENTITY_MAP_ADDR SET_TSS_ADDR SMALLER_MAXPHYADDR SREGS2
            STEAL_TIME SYNC_MMU SYSTEM_EVENT_DATA SYS_ATTRIBUTES SYS_HYPERV_CPUID USER_NMI VAPIC VCPU_ATTRIBUTES VCPU_EVENTS
            VM_GPA_BITS VM_TSC_CONTROL X86_GUEST_MODE X86_ROBUST_SINGLESTEP XCRS XSAVE
            """.trim().split("\\s+"));

    private static Set<String> unknownCapabilities(Headers headers) {
        Set<String> unknown = new TreeSet<>(headers.capabilities());
        unknown.removeIf(name -> CAPABILITY_OF_OTHERS.matcher(name).matches()
                || ONLY_ASKED.contains(name.substring("KVM_CAP_".length())));
        unknown.removeAll(ours().keySet());
        return unknown;
    }

    @Test
    void everyCapabilityOfTheHeadersIsAConstantOrOnlyAsked() throws IOException, InterruptedException {
        Machine.assumeX86();
        Machine.assumeProgram("cc");
        Headers installed = Headers.of(temporary);
        assertThat(installed.capabilities()).hasSizeGreaterThan(MANY);
        assertThat(unknownCapabilities(installed)).isEmpty();
        assertThat(ONLY_ASKED).map("KVM_CAP_"::concat).doesNotContainAnyElementsOf(ours().keySet());
    }

    private static final Pattern NAMED = Pattern.compile("\\b(KVM_[A-Z0-9_]*[A-Z0-9])(_\\*)?");

    /** A user must type a capability that a page, comment or error names, and the constants behind {@code KVM_HC_*}. */
    @Test
    void everyNamedCapabilityIsAConstant() throws IOException {
        Set<String> ours = new TreeSet<>(ours().keySet());
        constants(UapiArm64.class, int.class).forEach(constant -> ours.add(constant.getName()));
        List<Path> texts = new ArrayList<>(List.of(Machine.root().resolve("README.md")));
        for (String folder : List.of("src/kvmirq", "src/vmm", "src/testkit", "src/command", "src/docs")) {
            try (Stream<Path> files = Files.walk(Machine.root().resolve(folder))) {
                files.filter(file -> file.toString().matches(".*\\.(java|md)")).forEach(texts::add);
            }
        }
        Set<String> absent = new TreeSet<>();
        for (Path text : texts) {
            NAMED.matcher(Files.readString(text)).results().forEach(name -> {
                boolean known = name.group(2) == null
                        ? !name.group(1).startsWith("KVM_CAP_") || ours.contains(name.group(1))
                        : ours.stream().anyMatch(line -> line.startsWith(name.group(1) + "_"));
                if (!known) {
                    absent.add(name.group() + " in " + text.getFileName());
                }
            });
        }
        assertThat(absent).isEmpty();
    }

    /** A field of 64 bits by its declaration, that could be an address by its name or type. */
    private static final Pattern LIKE_AN_ADDRESS =
            Pattern.compile("(?:__u64|unsigned long long|unsigned long|void \\*|__u8 \\*|__u32 \\*)\\s*(\\*?\\s*\\w*"
                    + "(?:addr|ptr|bitmap|user_va|vaddr|iovas|ranges|uaddr|blob)\\w*|\\*\\s*\\w+|data)\\s*;");

    /** Fields that look like an address of the process: a guest's address, or a number. */
    private static final Set<String> NO_ADDRESSES = Set.of(
            "kvm_userspace_memory_region.guest_phys_addr",
            "kvm_userspace_memory_region2.guest_phys_addr",
            "kvm_coalesced_mmio_zone.addr",
            "kvm_ioeventfd.addr",
            "kvm_translation.linear_address",
            "kvm_translation.physical_address",
            "kvm_memory_attributes.address",
            "kvm_vapic_addr.vapic_addr",
            "kvm_arm_device_addr.addr",
            "kvm_x86_mce.addr",
            "vfio_device_ioeventfd.data",
            "kvm_debugregs.dr6");

    /** Whether what a request's structure has for addresses in the headers is one in the table. */
    private static List<String> unmasked(Headers headers) {
        List<String> unmasked = new ArrayList<>();
        Set<String> tags = new TreeSet<>();
        headers.requests().stream()
                .filter(request -> !NOT_OF_X86.matcher(request).matches())
                .forEach(request -> tags.add(headers.structOf(request)));
        UapiTable.REQUESTS.stream()
                .flatMap(request -> request.argument().stream())
                .forEach(struct -> tags.add(struct.tag()));
        int looked = 0;
        for (String tag : tags) {
            Matcher members = LIKE_AN_ADDRESS.matcher(headers.body(tag));
            while (members.find()) {
                String name = members.group(1).replaceAll("[*\\s]", "");
                looked++;
                boolean address = UapiTable.structs().stream()
                        .filter(struct -> struct.tag().equals(tag))
                        .flatMap(struct -> struct.fields().stream())
                        .anyMatch(field -> field.role() == UapiTable.Role.ADDRESS
                                && (field.path().equals(name) || field.path().endsWith("." + name)));
                if (!address && !NO_ADDRESSES.contains(tag + "." + name)) {
                    unmasked.add(tag + "." + name);
                }
            }
        }
        System.out.println("requests compared " + headers.requests().size() + ", fields like addresses " + looked
                + ", differences " + unmasked.size());
        return unmasked;
    }

    @Test
    void everyAddressInTheHeadersIsOneInTheTable() throws IOException, InterruptedException {
        Machine.assumeX86();
        Machine.assumeProgram("cc");
        assertThat(unmasked(Headers.of(temporary))).isEmpty();
        Path later = Machine.root().resolve("target/headers/forky/usr/include");
        if (Files.isDirectory(later)) {
            assertThat(unmasked(Headers.of(temporary, "-isystem", later.toString())))
                    .isEmpty();
        }
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
                    assertThat(unknownCapabilities(Headers.of(temporary, "-isystem", include.toString())))
                            .as("capabilities of " + suite.getFileName())
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
        List<String> differences = compared.entrySet().stream()
                .filter(fact -> !fact.getValue().equals(said.get(fact.getKey())))
                .map(fact -> fact + " but there " + said.get(fact.getKey()))
                .toList();
        assertThat(differences).as(whose).isEmpty();
    }

    private static long count(Map<String, Long> facts, Predicate<String> kind) {
        return facts.keySet().stream().filter(kind).count();
    }
}
