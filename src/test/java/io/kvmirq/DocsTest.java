/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import io.kvmirq.testing.RealKvm;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.platform.launcher.core.LauncherConfig;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/**
 * README, CONTRIBUTING and the pages of src/docs: their links lead somewhere, the names in them exist, and a block of
 * Java is an example that prints what is shown, a test class that passes, or an excerpt of a source. {@code ReadmeIT}
 * runs the commands.
 */
class DocsTest {
    /** The kinds of blocks that a test runs, here or in {@code ReadmeIT}; the name of an example may follow. */
    private static final Set<String> KINDS = Set.of(
            "java",
            "java kvm",
            "text",
            "sh",
            "sh kvm",
            "console",
            "console kvm",
            "console arm64",
            "console lab",
            "console maven",
            "xml");

    private static final Pattern CLASS = Pattern.compile("^class (\\w+)", Pattern.MULTILINE);
    private static final Pattern LINK = Pattern.compile("\\[[^]]+]\\(([^)#]*)(?:#([^)]*))?\\)");
    private static final Pattern SPAN = Pattern.compile("`([^`]+)`");
    private static final Pattern TYPE = Pattern.compile("(?<![-\\w/*])[A-Z][a-z]\\w*[a-z]\\b(?!\\*)");
    private static final Pattern DECLARATION = Pattern.compile("\\b(?:class|interface|enum|record) (\\w+)");
    private static final Set<String> OF_OTHERS = Set.of(
            "ArchiveClassesAtExit",
            "Kvmirq",
            "Logger",
            "Path",
            "SharedArchiveFile",
            "SpuriousInterrupt",
            "System",
            "Test",
            "UnsupportedOperationException",
            "VarHandle",
            "VcpuExits");
    private static final Pattern TARGET = Pattern.compile("(?m)(?:^|`)make ([a-z-]+)([^`\n]*)");
    private static final Path EXAMPLES = Machine.root().resolve("src/examples");

    /** Where a path may begin that a page names. */
    private static final List<Path> ROOTS = Stream.concat(
                    Stream.of("", "src/test/java/io/kvmirq").map(Machine.root()::resolve),
                    Stream.of(Artifacts.values())
                            .map(artifact -> artifact.sources().resolve("io/kvmirq")))
            .toList();

    /** Between the launcher and the command, and not for users. */
    private static final List<String> OF_THE_LAUNCHER =
            List.of("kvmirq.terminal", "kvmirq.columns", "kvmirq.rows", "kvmirq.progress", "kvmirq.root");

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private static Path classes;

    /** A program of src/examples and what it prints. */
    private record Example(String name, Block output) {
        @Override
        public String toString() {
            return name;
        }
    }

    @BeforeAll
    static void compile() throws IOException {
        List<String> arguments = new ArrayList<>(
                List.of("-proc:none", "-cp", System.getProperty("java.class.path"), "-d", classes.toString()));
        Set<String> names = new TreeSet<>();
        try (Stream<Path> examples = Files.list(EXAMPLES)) {
            examples.filter(Files::isRegularFile).map(Path::toString).forEach(arguments::add);
        }
        for (Block block : javaBlocks(DocsTest::isClass)) {
            assertThat(names.add(nameOf(block))).as(block.where()).isTrue();
            arguments.add(Files.writeString(classes.resolve(nameOf(block) + ".java"), block.text())
                    .toString());
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        int result = compiler.run(null, said, said, arguments.toArray(String[]::new));
        assertThat(result).as(said.toString(StandardCharsets.UTF_8)).isZero();
    }

    private static List<Block> javaBlocks(Predicate<Block> wanted) throws IOException {
        return Page.allBlocks().stream()
                .filter(block -> block.kind().startsWith("java"))
                .filter(wanted)
                .toList();
    }

    private static boolean isClass(Block block) {
        return CLASS.matcher(block.text()).find();
    }

    private static String nameOf(Block block) {
        return CLASS.matcher(block.text()).results().findFirst().orElseThrow().group(1);
    }

    @Test
    void everyBlockIsOfAKindThatIsRun() throws IOException {
        assertThat(Page.allBlocks()).allSatisfy(block -> assertThat(KINDS)
                .as(block.where())
                .contains(block.kind().replaceFirst(" ?" + block.example() + "$", "")));
    }

    /** A block of XML is the whole pom.xml of an example. */
    @Test
    void everyPomShownIsAFile() throws IOException {
        assertThat(Page.blocks("xml").map(Block::text))
                .containsExactlyInAnyOrderElementsOf(texts("src/examples", "/pom.xml"));
    }

    /** What the examples need is then fetched with what the build of kvmirq needs. */
    @Test
    void versionsOfEveryPomShownAreOfThisPom() throws IOException {
        String pom = Files.readString(Machine.root().resolve("pom.xml"));
        Map<String, String> versions = versions(pom);
        versions.put("junit-jupiter", value(pom, "junit.version"));
        for (Artifacts artifact : Artifacts.values()) {
            versions.put(artifact.artifact(), versions.get("kvmirq-parent"));
        }
        for (String example : texts("src/examples", "/pom.xml")) {
            Map<String, String> used = versions(example);
            used.remove(value(example, "artifactId"));
            assertThat(used).containsKey("kvmirq");
            assertThat(versions).containsAllEntriesOf(used);
        }
    }

    /** Versions by artifact, properties resolved. */
    private static Map<String, String> versions(String pom) {
        Map<String, String> versions = new HashMap<>();
        Pattern.compile("<artifactId>([^<]*)</artifactId>\\s*<version>(?:\\$\\{(.*)}|(.*))</version>")
                .matcher(pom)
                .results()
                .forEach(found -> versions.put(
                        found.group(1), found.group(2) == null ? found.group(3) : value(pom, found.group(2))));
        return versions;
    }

    /** The text of the first element of that name. */
    private static String value(String pom, String element) {
        Matcher found =
                Pattern.compile("<" + Pattern.quote(element) + ">([^<]*)<").matcher(pom);
        assertThat(found.find()).as(element).isTrue();
        return found.group(1);
    }

    /** An output that no example precedes would be compared with nothing. */
    @Test
    void everyOutputFollowsItsExample() throws IOException {
        Set<Block> outputs = examples("").map(Example::output).collect(Collectors.toSet());
        outputs.addAll(examples(" kvm").map(Example::output).toList());
        assertThat(Page.blocks("text").collect(Collectors.toSet())).isEqualTo(outputs);
    }

    /** The examples that need real KVM, or those that do not. */
    private static Stream<Example> examples(String need) throws IOException {
        List<Block> all = Page.allBlocks();
        return all.stream()
                .filter(block -> !block.example().isEmpty())
                .filter(block -> block.kind().equals("java" + need + " " + block.example()))
                .map(block -> new Example(block.example(), all.get(all.indexOf(block) + 1)));
    }

    private static Stream<Example> examplesOnTheFake() throws IOException {
        return examples("");
    }

    private static Stream<Example> examplesOnKvm() throws IOException {
        return examples(" kvm");
    }

    @ParameterizedTest
    @MethodSource("examplesOnTheFake")
    void examplePrintsWhatIsShown(Example example) throws Exception {
        Block.assertShown(example.output().text(), printed(example));
    }

    @ParameterizedTest
    @MethodSource("examplesOnKvm")
    @RealKvm(fullIrqchip = true)
    void examplePrintsWhatIsShownOnKvm(Example example) throws Exception {
        Block.assertShown(example.output().text(), printed(example));
    }

    /** Examples that take the name of a binding. */
    private static Stream<Example> examplesOfAnyBinding() throws IOException {
        List<Example> all = new ArrayList<>();
        for (Example example : examples(" kvm").toList()) {
            if (Files.readString(EXAMPLES.resolve(example + ".java")).contains("Kernel.open(args[0])")) {
                all.add(example);
            }
        }
        return all.stream();
    }

    @ParameterizedTest
    @MethodSource("examplesOfAnyBinding")
    void exampleOfAnyBindingPrintsTheSameOnTheFake(Example example) throws Exception {
        Block.assertShown(example.output().text(), printed(example, "fake"));
    }

    private static String printed(Example example, String... arguments) throws Exception {
        PrintStream before = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        try (URLClassLoader loader = loader()) {
            Method main = loader.loadClass(example.name()).getDeclaredMethod("main", String[].class);
            main.setAccessible(true);
            System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
            main.invoke(null, (Object) arguments);
        } finally {
            System.setOut(before);
        }
        return printed.toString(StandardCharsets.UTF_8);
    }

    private static URLClassLoader loader() throws IOException {
        return new URLClassLoader(new URL[] {classes.toUri().toURL()});
    }

    @Test
    void everyExampleIsShownOnce() throws IOException {
        List<String> shown = Page.allBlocks().stream()
                .map(Block::example)
                .filter(name -> !name.isEmpty())
                .toList();
        try (Stream<Path> examples = Files.list(EXAMPLES)) {
            assertThat(examples.filter(Files::isRegularFile)
                            .map(file -> file.getFileName().toString().replace(".java", "")))
                    .containsExactlyInAnyOrderElementsOf(shown);
        }
    }

    @Test
    void everyTestShownPasses() throws Exception {
        List<Block> tests = javaBlocks(DocsTest::isClass);
        assertThat(tests).hasSizeGreaterThan(2);
        SummaryGeneratingListener summary = new SummaryGeneratingListener();
        try (URLClassLoader loader = loader()) {
            LauncherDiscoveryRequestBuilder request = LauncherDiscoveryRequestBuilder.request();
            for (Block test : tests) {
                request.selectors(selectClass(loader.loadClass(nameOf(test))));
            }
            LauncherFactory.create(LauncherConfig.builder()
                            .enableTestExecutionListenerAutoRegistration(false)
                            .build())
                    .execute(request.build(), summary);
        }
        StringWriter failures = new StringWriter();
        summary.getSummary()
                .getFailures()
                .forEach(failure -> failures.write(
                        failure.getTestIdentifier().getDisplayName() + ": " + failure.getException() + "\n"));
        assertThat(failures.toString()).isEmpty();
        assertThat(summary.getSummary().getTestsSucceededCount()).isGreaterThanOrEqualTo(tests.size());
    }

    /** An empty line of an excerpt, or one with … alone, stands for lines that are left out. */
    @Test
    void everyExcerptIsInASource() throws IOException {
        String sources = unindented(
                String.join("", mainSources()) + String.join("", texts("src/test/java/io/kvmirq/contract", ".java")));
        for (Block block : javaBlocks(block -> !isClass(block))) {
            String source = block.example().isEmpty()
                    ? sources
                    : unindented(Files.readString(EXAMPLES.resolve(block.example() + ".java")));
            for (String excerpt : block.text().split("\n( *…)?\n")) {
                assertThat(source.contains(unindented(excerpt.strip())))
                        .as(block.where() + "\n" + excerpt)
                        .isTrue();
            }
        }
    }

    /** On one line; the last resource of a try ends as the others do. */
    private static String unindented(String java) {
        return java.replaceAll("\\s+", " ").replace(")) {", ");");
    }

    /** The files of a directory, and of those in it, with names that end so. */
    private static List<String> mainSources() throws IOException {
        List<String> texts = new ArrayList<>();
        for (Path file : Artifacts.allSources("")) {
            texts.add(Files.readString(file));
        }
        return texts;
    }

    private static List<String> texts(String directory, String end) throws IOException {
        List<String> texts = new ArrayList<>();
        try (Stream<Path> files = Files.walk(Machine.root().resolve(directory))) {
            for (Path file : files.filter(path -> path.toString().endsWith(end) && Files.isRegularFile(path))
                    .toList()) {
                texts.add(Files.readString(file));
            }
        }
        return texts;
    }

    @ParameterizedTest
    @MethodSource("pages")
    void everyLinkLeadsToAFileAndAHeading(Page page) throws IOException {
        for (MatchResult link :
                LINK.matcher(String.join("\n", page.text())).results().toList()) {
            Path file = page.file().getParent().resolve(link.group(1)).normalize();
            Path target = link.group(1).isEmpty() ? page.file() : file;
            assertThat(target).as(link.group()).exists();
            if (link.group(2) != null) {
                assertThat(Page.all())
                        .as(link.group())
                        .anyMatch(other ->
                                other.file().equals(target) && other.anchors().contains(link.group(2)));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("pages")
    void everyPathNamedExists(Page page) {
        // A user's project has a src/main.
        Pattern path =
                Pattern.compile("(src(?!/main/java)|native|scripts|\\.ci)/[\\w./-]+|[\\w./-]+\\.(java|c|h|map|md)");
        assertThat(SPAN.matcher(String.join("\n", page.text()))
                        .results()
                        .map(span -> span.group(1).split(" ", -1)[0])
                        .filter(path.asMatchPredicate())
                        .filter(name -> ROOTS.stream().noneMatch(root -> Files.exists(root.resolve(name)))))
                .as("paths that do not exist")
                .isEmpty();
    }

    @Test
    void everyTypeNamedExists() throws IOException {
        Set<String> types = texts("src", ".java").stream()
                .flatMap(source -> DECLARATION.matcher(source).results())
                .map(declaration -> declaration.group(1))
                .collect(Collectors.toSet());
        assertThat(SPAN.matcher(allText())
                        .results()
                        .flatMap(span -> TYPE.matcher(span.group(1)).results())
                        .map(MatchResult::group)
                        .filter(name -> !OF_OTHERS.contains(name) && !types.contains(name)))
                .as("types that do not exist")
                .isEmpty();
    }

    private static Stream<Page> pages() throws IOException {
        return Page.all().stream();
    }

    @ParameterizedTest
    @MethodSource("pages")
    void everyTargetNamedExists(Page page) throws IOException {
        String makefile = Files.readString(Machine.root().resolve("Makefile"));
        String read = makefile + String.join("", texts("scripts", ""));
        String whole = String.join("\n", page.text())
                + page.blocks().stream().map(Block::text).collect(Collectors.joining());
        for (MatchResult target : TARGET.matcher(whole).results().toList()) {
            assertThat(makefile).containsPattern("(?m)^" + target.group(1) + ":");
            Pattern.compile("\\b([A-Z]+)=").matcher(target.group(2)).results().forEach(variable -> assertThat(read)
                    .containsPattern("\\b" + variable.group(1) + "\\b"));
        }
    }

    @Test
    void picturedPackagesAreAllThereAre() throws IOException {
        String picture = Files.readString(Artifacts.sourcesOf("io.kvmirq").resolve("package-info.java"));
        for (Artifacts artifact : Artifacts.values()) {
            try (Stream<Path> files = Files.list(artifact.sources().resolve("io/kvmirq"))) {
                assertThat(files.filter(Files::isDirectory)
                                .map(directory -> directory.getFileName().toString())
                                .filter(name -> !picture.matches("(?s).*\\b" + name + "\\b.*")))
                        .as("packages that the picture leaves out")
                        .isEmpty();
            }
        }
    }

    private static String allText() throws IOException {
        return Page.all().stream().flatMap(page -> page.text().stream()).collect(Collectors.joining("\n"));
    }

    @Test
    void propertiesAndLoggerAreNamed() throws IOException {
        Pattern name = Pattern.compile("\"(kvmirq\\.[a-z._]+)\"");
        Set<String> properties = new TreeSet<>();
        Set<String> loggers = new TreeSet<>();
        for (String source : mainSources()) {
            if (Stream.of(
                            "System.getProperty",
                            "Integer.getInteger",
                            "Boolean.getBoolean",
                            " PROPERTY = ",
                            " PROFILE = ")
                    .anyMatch(source::contains)) {
                name.matcher(source).results().map(found -> found.group(1)).forEach(properties::add);
            }
            Pattern.compile("getLogger\\(\"([^\"]*)\"")
                    .matcher(source)
                    .results()
                    .map(found -> found.group(1))
                    .forEach(loggers::add);
        }
        properties.removeAll(OF_THE_LAUNCHER);
        String text = allText();
        assertThat(properties).contains("kvmirq.backend", "kvmirq.cache").allSatisfy(property -> assertThat(text)
                .contains("| `" + property + "`"));
        assertThat(loggers).isNotEmpty().allSatisfy(logger -> assertThat(text)
                .contains("`System.Logger` named `" + logger + "`"));
    }
}
