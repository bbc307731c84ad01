/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The metadata of the library for GraalVM's native-image names what the code reaches by reflection, JNI and downcalls. */
class NativeImageTest {
    private static final String METADATA =
            "src/kvmirq/resources/META-INF/native-image/io.kvmirq/kvmirq/reachability-metadata.json";

    private static final List<String> RESOURCES =
            List.of("META-INF/native/**", "io/kvmirq/fake/arm64/*.txt", "io/kvmirq/diag/rules/*.txt");

    /** The nested types are the structures, and the annotations of their fields. */
    private static final Pattern UAPI =
            Pattern.compile("io\\.kvmirq\\.uapi\\.(Declared|Uapi(Arm64|Iommufd|Vfio)?)(\\$.*)?");

    private static final Pattern NATIVE = Pattern.compile("(?m)^ +[a-z ]*\\bnative \\w+ \\w+\\(");

    private static final List<Class<?>> PROXIES = List.of(KernelBackend.class, Libc.class);

    @Test
    void metadataNamesWhatTheCodeReaches() throws IOException {
        List<String> reflection = new ArrayList<>();
        for (Class<?> proxy : PROXIES) {
            reflection.add("{\"type\": {\"proxy\": [\"" + proxy.getName() + "\"]}}");
            reflection.add("{\"type\": \"" + proxy.getName() + "\", \"allPublicMethods\": true}");
        }
        uapi().forEach(type -> reflection.add(
                "{\"type\": \"" + type + "\", \"allDeclaredFields\": true, \"allDeclaredMethods\": true}"));
        reflection.add("{\"type\": \"java.lang.NoSuchMethodError\", \"jniAccessible\": true}");
        reflection.add(
                "{\"type\": \"java.lang.Thread\", \"methods\": [{\"name\": \"isVirtual\", \"parameterTypes\": []}]}");
        Set<String> withNatives = withNativeMethods();
        assertThat(withNatives).contains("io.kvmirq.backend.jni.JniBackend", "io.kvmirq.backend.jni.JniLibc");
        withNatives.forEach(type ->
                reflection.add("{\"type\": \"" + type + "\", \"jniAccessible\": true, \"allDeclaredMethods\": true}"));
        List<String> resources =
                RESOURCES.stream().map(glob -> "{\"glob\": \"" + glob + "\"}").toList();
        List<String> lines = new ArrayList<>(List.of("{"));
        section(lines, "\"reflection\": [", reflection, "],");
        section(lines, "\"resources\": [", resources, "],");
        section(
                lines,
                "\"foreign\": {\"downcalls\": [",
                List.of(downcall(""), downcall(", \"options\": {\"captureCallState\": true}")),
                "]}");
        lines.add("}");
        Recorded.compare(METADATA, lines, "so that a native image has too much", NativeImageTest.class);
    }

    private static void section(List<String> lines, String opening, List<String> items, String closing) {
        lines.add("  " + opening);
        for (int i = 0; i < items.size(); i++) {
            lines.add("    " + items.get(i) + (i < items.size() - 1 ? "," : ""));
        }
        lines.add("  " + closing);
    }

    private static Set<String> uapi() throws IOException {
        Set<String> types = new TreeSet<>();
        try (Stream<Path> files = Files.list(Artifacts.classesOf("io.kvmirq.uapi"))) {
            files.map(file -> "io.kvmirq.uapi." + file.getFileName().toString().replace(".class", ""))
                    .filter(name -> UAPI.matcher(name).matches())
                    .forEach(types::add);
        }
        return types;
    }

    /** The types whose native methods {@code libkvmirq.so} binds: JNA registers those of its direct mapping itself. */
    private static Set<String> withNativeMethods() throws IOException {
        Path sources = Artifacts.KVMIRQ.sources();
        Set<String> types = new TreeSet<>();
        for (Path file : Artifacts.allSources("")) {
            if (NATIVE.matcher(Files.readString(file)).find()) {
                assertThat(file).startsWith(sources);
                types.add(
                        sources.relativize(file).toString().replace(".java", "").replace('/', '.'));
            }
        }
        types.removeIf(type -> type.endsWith(".JnaLibc"));
        return types;
    }

    private static String downcall(String options) {
        return "{\"returnType\": \"jlong\", \"parameterTypes\": ["
                + String.join(", ", Collections.nCopies(7, "\"jlong\"")) + "]" + options + "}";
    }

    @Test
    void proxiesAndDowncallsOfTheSourcesAreTheListedOnes() throws IOException {
        Set<String> proxies =
                found("Proxy\\.newProxyInstance\\([^;]*?new Class<\\?>\\[] \\{(\\w+)", Artifacts.allSources(""));
        // The type of RecordingBackend.over, which makes one of each.
        proxies.remove("type");
        assertThat(proxies)
                .containsExactlyElementsOf(
                        PROXIES.stream().map(Class::getSimpleName).toList());
        assertThat(found(
                        "FunctionDescriptor\\.of\\(\\s*([^)]*)\\)",
                        List.of(Machine.root().resolve("src/kvmirq/java22/io/kvmirq/backend/libc/FfmLibc.java"))))
                .extracting(layouts -> layouts.replaceAll("\\s+", ""))
                .containsExactly(String.join(",", Collections.nCopies(1 + 7, "JAVA_LONG")));
    }

    private static Set<String> found(String pattern, List<Path> sources) throws IOException {
        Set<String> found = new TreeSet<>();
        for (Path file : sources) {
            Pattern.compile(pattern)
                    .matcher(Files.readString(file))
                    .results()
                    .forEach(match -> found.add(match.group(1)));
        }
        return found;
    }

    @Test
    void everyResourceIsNamedAndEachNameHasOne() throws IOException {
        Set<String> used = new TreeSet<>();
        for (Artifacts artifact : Artifacts.values()) {
            try (Stream<Path> files = Files.walk(artifact.classes())) {
                for (Path file : files.filter(Files::isRegularFile).toList()) {
                    Path entry = artifact.classes().relativize(file);
                    List<String> matching = RESOURCES.stream()
                            .filter(glob -> FileSystems.getDefault()
                                    .getPathMatcher("glob:" + glob)
                                    .matches(entry))
                            .toList();
                    used.addAll(matching);
                    if (matching.isEmpty() && !entry.toString().endsWith(".class")) {
                        // Files that nothing reads at run time, and services, which native-image registers by itself.
                        assertThat(entry.toString())
                                .matches("META-INF/(services/.*|native-image/.*|LICENSE|NOTICE|jpms.args)");
                    }
                }
            }
        }
        assertThat(used).containsExactlyInAnyOrderElementsOf(RESOURCES);
    }
}
