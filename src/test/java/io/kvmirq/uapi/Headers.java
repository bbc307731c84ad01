/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.uapi;

import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The definitions of kernel headers, as the preprocessor leaves them. */
final class Headers {
    static final String INCLUDES = "#define _GNU_SOURCE\n"
            + Stream.of(
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
                            "linux/kvm_para.h",
                            "linux/version.h",
                            "linux/vfio.h")
                    .map("#include <%s>\n"::formatted)
                    .collect(Collectors.joining())
            + "#if __has_include(<linux/iommufd.h>)\n#include <linux/iommufd.h>\n#endif\n";

    private static final Pattern REQUEST = Pattern.compile(
            "#define ((?:KVM|VFIO|IOMMU)_\\w+) +_IO[WR]*\\((KVMIO|VFIO_TYPE|IOMMUFD_TYPE) *,(?:.*struct (\\w+))?.*");
    private static final Pattern CAPABILITY = Pattern.compile("#define (KVM_CAP_\\w+) .*");
    private static final Pattern STRUCT = Pattern.compile("struct (\\w+)\\s*\\{");
    private static final Pattern ENUMERATOR = Pattern.compile("\\b([A-Z][A-Z0-9_]+)\\b(?= *[=,}\\n])");

    private final Map<String, String> bodies = new HashMap<>();
    private final Set<String> enumerators = new TreeSet<>();
    /** By name, the tag of the structure in its number, empty for none. */
    private final Map<String, String> requests = new TreeMap<>();

    private final Set<String> capabilities = new TreeSet<>();

    /** @param flags of the compiler, which may name another directory of headers */
    static Headers of(Path temporary, String... flags) throws IOException, InterruptedException {
        Path source = Files.writeString(temporary.resolve("headers.c"), INCLUDES);
        Headers headers = new Headers();
        String text = preprocessed(source, "-P", flags);
        Matcher bodies = STRUCT.matcher(text);
        while (bodies.find()) {
            headers.bodies.putIfAbsent(bodies.group(1), text.substring(bodies.end(), end(text, bodies.end())));
        }
        Matcher words = ENUMERATOR.matcher(text);
        while (words.find()) {
            headers.enumerators.add(words.group(1));
        }
        String macros = preprocessed(source, "-dM", flags);
        macros.lines()
                .map(CAPABILITY::matcher)
                .filter(Matcher::matches)
                .forEach(macro -> headers.capabilities.add(macro.group(1)));
        macros.lines()
                .map(REQUEST::matcher)
                .filter(Matcher::matches)
                .forEach(macro -> headers.requests.put(
                        macro.group(1), Optional.ofNullable(macro.group(3)).orElse("")));
        return headers;
    }

    /** Where the braces close. */
    private static int end(String text, int from) {
        int open = 1;
        int at = from;
        for (; open > 0; at++) {
            open += text.charAt(at) == '{' ? 1 : text.charAt(at) == '}' ? -1 : 0;
        }
        return at - 1;
    }

    private static String preprocessed(Path source, String option, String... flags)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("cc", "-E", "-P", option));
        command.addAll(List.of(flags));
        command.add(source.toString());
        return Program.output(command);
    }

    Set<String> requests() {
        return new TreeSet<>(requests.keySet());
    }

    /** The names {@code KVM_CAP_*}. */
    Set<String> capabilities() {
        return capabilities;
    }

    /** The structure tag in a request's number, or empty. */
    String structOf(String request) {
        return requests.getOrDefault(request, "");
    }

    boolean enumerates(String name) {
        return enumerators.contains(name);
    }

    /** The text between the braces of a structure; empty where the headers lack it. */
    String body(String tag) {
        return bodies.getOrDefault(tag, "");
    }

    /** Whether a structure has a field. */
    boolean has(String tag, String path) {
        String first = path.replaceAll("[.\\[].*", "");
        return Pattern.compile("\\b" + first + "\\b").matcher(body(tag)).find();
    }

    /** Whether a structure has all fields that we know: an older one is shorter. */
    boolean hasAllOf(String tag) {
        // Before 6.6 vfio_device_info had no padding.
        return bodies.containsKey(tag)
                && (!tag.equals("vfio_device_info") || has(tag, "pad"))
                && UapiTable.structs().stream()
                        .filter(struct -> struct.tag().equals(tag))
                        .flatMap(struct -> struct.fields().stream().filter(field -> field.offset() < struct.size()))
                        .allMatch(field -> has(tag, field.path()));
    }
}
