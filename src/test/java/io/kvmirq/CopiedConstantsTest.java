/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import io.kvmirq.testing.MainClasses;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** javac copies the constants of other libraries: what names a version must read it when it runs. */
class CopiedConstantsTest {
    /** The version in a jar's name, if it is unlikely to be anything else. */
    private static final Pattern JAR = Pattern.compile(".*-(\\d+\\.\\d+\\.\\d+)(-native)?\\.jar");

    @Test
    void noClassHasTheVersionOfALibraryThatItWasCompiledWith() throws Exception {
        List<String> versions = new ArrayList<>();
        for (String path : System.getProperty("java.class.path").split(":", -1)) {
            JAR.matcher(path).results().forEach(jar -> versions.add(jar.group(1)));
        }
        assertThat(versions).hasSizeGreaterThan(10);
        List<String> copied = new ArrayList<>();
        for (JavaClass type : MainClasses.ALL) {
            URI file = type.getSource().orElseThrow().getUri();
            try (InputStream in = file.toURL().openStream()) {
                String bytes = new String(in.readAllBytes(), StandardCharsets.ISO_8859_1);
                versions.stream()
                        .filter(bytes::contains)
                        .forEach(version -> copied.add(type.getName() + " " + version));
            }
        }
        assertThat(copied).isEmpty();
    }
}
