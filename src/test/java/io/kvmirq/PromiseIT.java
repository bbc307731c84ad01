/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Libc;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import japicmp.cmp.JApiCmpArchive;
import japicmp.cmp.JarArchiveComparator;
import japicmp.cmp.JarArchiveComparatorOptions;
import japicmp.model.JApiChangeStatus;
import japicmp.model.JApiClass;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.zip.Deflater;
import javassist.bytecode.AccessFlag;
import javassist.bytecode.AnnotationsAttribute;
import javassist.bytecode.AttributeInfo;
import javassist.bytecode.ClassFile;
import javassist.bytecode.MethodInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * japicmp finds no promised type or member of {@code promised.jar} that the code lacks. The jar has the promised classes as
 * they were recorded, without code: {@code KVMIRQ_RECORD=1 make try T=PromiseIT} records them.
 */
class PromiseIT {
    private static final Path RECORDED = Machine.root().resolve("src/test/resources/promised.jar");
    private static final Set<String> KEPT =
            Set.of("Signature", "InnerClasses", "PermittedSubclasses", "Exceptions", "Record", "ConstantValue");
    private static final long NO_TIME = 0;

    @TempDir
    private Path directory;

    private Path stubs(Predicate<MethodInfo> kept) throws Exception {
        TreeMap<String, byte[]> entries = new TreeMap<>();
        for (Class<?> type : PromiseTest.promised()) {
            for (Class<?> one = type;
                    one != null && one.getName().startsWith("io.kvmirq.");
                    one = one.getSuperclass()) {
                String name = one.getName().replace('.', '/') + ".class";
                entries.put(name, stub(one, name, kept));
            }
        }
        Path jar = directory.resolve("now.jar");
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
            out.setLevel(Deflater.BEST_COMPRESSION);
            for (String name : entries.keySet()) {
                JarEntry entry = new JarEntry(name);
                entry.setTime(NO_TIME);
                out.putNextEntry(entry);
                out.write(entries.get(name));
            }
        }
        return jar;
    }

    private static byte[] stub(Class<?> type, String name, Predicate<MethodInfo> kept) throws IOException {
        ClassFile read;
        try (InputStream in = type.getClassLoader().getResourceAsStream(name)) {
            read = new ClassFile(new DataInputStream(new ByteArrayInputStream(in.readAllBytes())));
        }
        read.getMethods()
                .removeIf(method -> isHidden(method.getAccessFlags(), method.getAttributes()) || !kept.test(method));
        read.getFields().removeIf(field -> isHidden(field.getAccessFlags(), field.getAttributes()));
        read.getAttributes().removeIf(attribute -> !KEPT.contains(attribute.getName()));
        read.getMethods().forEach(method -> method.getAttributes().removeIf(one -> !KEPT.contains(one.getName())));
        read.getFields().forEach(field -> field.getAttributes().removeIf(one -> !KEPT.contains(one.getName())));
        read.compact();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        read.write(new DataOutputStream(bytes));
        return bytes.toByteArray();
    }

    private static boolean isHidden(int flags, List<AttributeInfo> attributes) {
        return !AccessFlag.isPublic(flags) && !AccessFlag.isProtected(flags)
                || (flags & AccessFlag.SYNTHETIC) != 0
                || attributes.stream()
                        .anyMatch(attribute -> attribute instanceof AnnotationsAttribute annotations
                                && annotations.getAnnotation(NotPromised.class.getName()) != null);
    }

    /** The types of which something is gone, or has a new method that their implementers lack. */
    private static List<String> broken(Path before, Path now) {
        JarArchiveComparatorOptions options = new JarArchiveComparatorOptions();
        options.getIgnoreMissingClasses().setIgnoreAllMissingClasses(true);
        return new JarArchiveComparator(options)
                        .compare(new JApiCmpArchive(before.toFile(), "before"), new JApiCmpArchive(now.toFile(), "now"))
                        .stream()
                        .filter(type -> type.getChangeStatus() != JApiChangeStatus.UNCHANGED)
                        .filter(type -> !type.isBinaryCompatible() || !type.isSourceCompatible())
                        .map(JApiClass::getFullyQualifiedName)
                        .sorted()
                        .toList();
    }

    @Test
    void nothingPromisedIsGone() throws Exception {
        Path now = stubs(method -> true);
        if (Recorded.writes()) {
            Files.copy(now, RECORDED, StandardCopyOption.REPLACE_EXISTING);
        }
        assertThat(broken(RECORDED, now))
                .as(
                        "types that lost a promised member; if that is intended, KVMIRQ_RECORD=1 make try T=PromiseIT records it")
                .isEmpty();
    }

    @Test
    void removedMethodIsFound() throws Exception {
        Path without = stubs(method -> !method.getName().equals("closeAll"));
        Path before = directory.resolve("before.jar");
        Files.move(without, before);
        Path now = stubs(method -> true);
        assertThat(broken(before, now)).isEmpty();
        assertThat(broken(now, before)).containsExactly(Irqfd.class.getName(), MaskableVector.class.getName());
    }

    /** Users wrap the calls to the kernel: what is added has a default. */
    @Test
    void newMethodWithoutADefaultIsFound() throws Exception {
        Path before = directory.resolve("before.jar");
        Files.move(stubs(method -> !method.getName().equals("epollCreate")), before);
        assertThat(broken(before, stubs(method -> true))).containsExactly(Libc.class.getName());
    }
}
