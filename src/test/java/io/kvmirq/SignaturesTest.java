/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What programs compile against: the exported types and their members are listed in {@code signatures.txt}. */
class SignaturesTest {
    private static final String LIST = "src/test/resources/signatures.txt";
    private static final int SHOWN =
            Modifier.PUBLIC | Modifier.PROTECTED | Modifier.STATIC | Modifier.ABSTRACT | Modifier.FINAL;

    @Test
    void everyExportedSignatureIsListed() throws Exception {
        TreeSet<String> lines = new TreeSet<>();
        for (String exported : DocumentedTest.documented()) {
            for (Class<?> type : visibleTypes(exported)) {
                lines.addAll(of(type));
            }
        }
        assertThat(lines).contains("io.kvmirq.kvm.Vm public void close()");
        Recorded.compare(
                LIST, List.copyOf(lines), "so that programs which use it no longer compile", SignaturesTest.class);
    }

    /** Read from the directory of the classes, because an import by ArchUnit takes seconds. */
    static List<Class<?>> visibleTypes(String name) throws IOException, ClassNotFoundException {
        List<Class<?>> visible = new ArrayList<>();
        try (Stream<Path> files = Files.list(Artifacts.classesOf(name))) {
            for (Path file :
                    files.filter(file -> file.toString().endsWith(".class")).toList()) {
                String simple = file.getFileName().toString().replace(".class", "");
                Class<?> type = Class.forName(name + "." + simple, false, SignaturesTest.class.getClassLoader());
                if (isVisible(type)) {
                    visible.add(type);
                }
            }
        }
        return visible;
    }

    private static boolean isVisible(Class<?> type) {
        Class<?> around = type.getEnclosingClass();
        return around == null
                ? Modifier.isPublic(type.getModifiers())
                : isVisible(type.getModifiers(), around) && isVisible(around);
    }

    private static List<String> of(Class<?> type) {
        List<String> members = new ArrayList<>(List.of(header(type)));
        for (Field field : type.getFields()) {
            if (isOurs(field.getDeclaringClass())) {
                members.add(
                        modifiers(field.getModifiers() & SHOWN) + name(field.getGenericType()) + " " + field.getName());
            }
        }
        for (Constructor<?> constructor : type.getDeclaredConstructors()) {
            if (isVisible(constructor.getModifiers(), type)) {
                members.add(without(constructor.toGenericString(), type.getTypeName() + "(", "new("));
            }
        }
        methods(type)
                .forEach(method -> members.add(without(
                        method.toGenericString(),
                        method.getDeclaringClass().getTypeName() + "." + method.getName() + "(",
                        method.getName() + "(")));
        return members.stream().map(member -> type.getName() + " " + member).toList();
    }

    /** Inherited ones too: a method may move to a super type and stay callable. */
    private static Stream<Method> methods(Class<?> type) {
        Stream<Method> inherited = Arrays.stream(type.getDeclaredMethods())
                .filter(method ->
                        Modifier.isProtected(method.getModifiers()) && isVisible(method.getModifiers(), type));
        Method[] all = type.getMethods();
        return Stream.concat(inherited, Arrays.stream(all))
                .filter(method -> isOurs(method.getDeclaringClass()))
                // The compiler adds bridges, of which only those without a method of the same name are for callers.
                .filter(method -> !method.isBridge()
                        || Arrays.stream(all).noneMatch(other -> !other.isBridge() && isSame(other, method)));
    }

    private static boolean isSame(Method one, Method other) {
        return one.getName().equals(other.getName()) && one.getParameterCount() == other.getParameterCount();
    }

    private static boolean isOurs(Class<?> type) {
        return type.getName().startsWith("io.kvmirq.");
    }

    private static boolean isVisible(int modifiers, Class<?> type) {
        return Modifier.isPublic(modifiers)
                || Modifier.isProtected(modifiers) && !Modifier.isFinal(type.getModifiers());
    }

    /** The kind of a type, its parameters and its super types. */
    private static String header(Class<?> type) {
        String kind = type.isAnnotation()
                ? "@interface"
                : type.isInterface() ? "interface" : type.isEnum() ? "enum" : type.isRecord() ? "record" : "class";
        String parameters = Arrays.stream(type.getTypeParameters())
                .map(one -> one + " extends " + names(one.getBounds()))
                .collect(Collectors.joining(", ", "<", ">"));
        return modifiers(type.getModifiers() & SHOWN & ~(type.isInterface() ? Modifier.ABSTRACT : 0))
                + (type.isSealed() ? "sealed " : "")
                + kind
                + (parameters.equals("<>") ? "" : parameters)
                + (type.getGenericSuperclass() == null ? "" : " extends " + name(type.getGenericSuperclass()))
                + (type.getInterfaces().length == 0 ? "" : " implements " + names(type.getGenericInterfaces()));
    }

    private static String names(Type[] types) {
        return Arrays.stream(types).map(SignaturesTest::name).collect(Collectors.joining(", "));
    }

    private static String name(Type type) {
        return type.getTypeName();
    }

    private static String modifiers(int modifiers) {
        return modifiers == 0 ? "" : Modifier.toString(modifiers) + " ";
    }

    /** Leaves out the declaring type, and how a method is implemented. */
    private static String without(String signature, String declared, String name) {
        return signature.replace(declared, name).replaceAll("\\b(synchronized|native|strictfp) ", "");
    }
}
