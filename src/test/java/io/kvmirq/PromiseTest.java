/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.lang.reflect.AnnotatedElement;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The types and methods that stay after 1.0. Promised is each visible type of an exported package that has no {@link
 * NotPromised}, and neither has its package nor a type around it. A method counts if it is public or protected, declared
 * by a promised type or by its hidden super class, has no {@link NotPromised}, and is none that the compiler or a record makes (accessors, {@code
 * values}, {@code valueOf}) and none of Object. Constructors count as types do, not as methods.
 */
class PromiseTest {
    private static final String LIST = "src/test/resources/promised.txt";
    private static final int MOST_METHODS = 1100;
    private static final Pattern IMPORT = Pattern.compile("import (?:static )?(io\\.kvmirq[\\w.]*?)(?:\\.\\*)?;");
    private static final Set<String> OF_OBJECT = Set.of("toString", "equals", "hashCode", "values", "valueOf");

    static List<Class<?>> promised() throws Exception {
        List<Class<?>> promised = new ArrayList<>();
        for (String exported : DocumentedTest.exported()) {
            for (Class<?> type : visibleTypes(exported)) {
                if (isPromised(type)) {
                    promised.add(type);
                }
            }
        }
        return promised;
    }

    /** Read from the directory of the classes, because an import by ArchUnit takes seconds. */
    static List<Class<?>> visibleTypes(String name) throws IOException, ClassNotFoundException {
        List<Class<?>> visible = new ArrayList<>();
        try (Stream<Path> files = Files.list(Artifacts.classesOf(name))) {
            for (Path file :
                    files.filter(file -> file.toString().endsWith(".class")).toList()) {
                String simple = file.getFileName().toString().replace(".class", "");
                Class<?> type = Class.forName(name + "." + simple, false, PromiseTest.class.getClassLoader());
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
                ? isPublic(type)
                : isVisible(around)
                        && (isPublic(type)
                                || Modifier.isProtected(type.getModifiers())
                                        && !Modifier.isFinal(around.getModifiers()));
    }

    private static boolean isPromised(Class<?> type) {
        Class<?> around = type.getEnclosingClass();
        return isUnmarked(type) && (around == null ? isUnmarked(type.getPackage()) : isPromised(around));
    }

    private static boolean isUnmarked(AnnotatedElement element) {
        return !element.isAnnotationPresent(NotPromised.class);
    }

    private static boolean isVisible(Member member) {
        return Modifier.isPublic(member.getModifiers()) || Modifier.isProtected(member.getModifiers());
    }

    /** A super type that is not visible is nothing that a program names. */
    private static boolean isNamed(Type type) {
        return !(type instanceof ParameterizedType generic)
                ? !(type instanceof Class<?> plain) || isPublic(plain)
                : isPublic((Class<?>) generic.getRawType());
    }

    private static boolean isPublic(Class<?> type) {
        return Modifier.isPublic(type.getModifiers());
    }

    private static <T extends Member & AnnotatedElement> Stream<T> shown(T[] members) {
        return Arrays.stream(members)
                .filter(member -> isVisible(member) && !member.isSynthetic() && isUnmarked(member));
    }

    private static boolean isMade(Method method) {
        RecordComponent[] components = method.getDeclaringClass().getRecordComponents();
        return OF_OBJECT.contains(method.getName())
                || components != null
                        && Arrays.stream(components)
                                .anyMatch(component -> component.getAccessor().equals(method));
    }

    @Test
    void promisedTypesAreListedAndSmall() throws Exception {
        List<Class<?>> promised = promised();
        Stream<Class<?>> hidden = promised.stream()
                .<Class<?>>map(Class::getSuperclass)
                .filter(parent -> parent != null && parent.getName().startsWith("io.kvmirq.") && !isPublic(parent));
        long methods = Stream.concat(promised.stream(), hidden)
                .distinct()
                .flatMap(type -> shown(type.getDeclaredMethods()))
                .filter(method -> !isMade(method))
                .count();
        System.out.println("promised: " + promised.size() + " types with " + methods + " methods");
        Recorded.compare(
                LIST,
                promised.stream().map(Class::getName).sorted().toList(),
                "so that programs which use it no longer compile",
                PromiseTest.class);
        assertThat(methods).as("promised methods").isBetween(1L, (long) MOST_METHODS);
    }

    /** A type in a promised signature is promised too. */
    @Test
    void promisedSignaturesNameOnlyPromisedTypes() throws Exception {
        Set<String> leaks = new TreeSet<>();
        List<Class<?>> promised = promised();
        for (Class<?> type : promised) {
            Stream<Type> parents = Stream.concat(
                    Stream.ofNullable(type.getGenericSuperclass()), Arrays.stream(type.getGenericInterfaces()));
            parents.filter(PromiseTest::isNamed).forEach(used -> leaks(type.getName(), used, promised, leaks));
            for (Field field : shown(type.getDeclaredFields()).toList()) {
                leaks(type.getName() + " " + field.getName(), field.getGenericType(), promised, leaks);
            }
            for (Method method : shown(type.getDeclaredMethods()).toList()) {
                leaks(type.getName() + " " + method.getName(), method.getGenericReturnType(), promised, leaks);
                leaks(type, method, promised, leaks);
            }
            for (Constructor<?> constructor :
                    shown(type.getDeclaredConstructors()).toList()) {
                leaks(type, constructor, promised, leaks);
            }
        }
        assertThat(leaks).isEmpty();
    }

    /** A program can name each type that a method takes, also a method that a hidden class declares. */
    @Test
    void methodsTakeOnlyPublicTypes() throws Exception {
        Set<String> hidden = new TreeSet<>();
        for (Class<?> type : promised()) {
            for (Method method : type.getMethods()) {
                Arrays.stream(method.getGenericParameterTypes())
                        .filter(used -> !isNamed(used))
                        .forEach(used -> hidden.add(type.getName() + " " + method.getName() + ": " + used));
            }
        }
        assertThat(hidden).isEmpty();
    }

    /** All parts of a VMM are promised: the examples of whole VMMs import nothing else. */
    @ParameterizedTest
    @ValueSource(strings = {"tiny-vmm", "consumer"})
    void vmmImportsPromisedTypesAlone(String example) throws Exception {
        assertThat(examplesWithMarkedTypes(
                        Machine.root().resolve("src/examples").resolve(example), Integer.MAX_VALUE))
                .isEmpty();
    }

    /** Examples of one thing: these show what is marked, the others use promised types alone. */
    @Test
    void examplesImportMarkedTypesOnlyWhereTheyShowThem() throws Exception {
        assertThat(examplesWithMarkedTypes(Machine.root().resolve("src/examples"), 1))
                .containsExactlyInAnyOrder(
                        "DirectEoi.java",
                        "PendingLpi.java",
                        "PostedRequest.java",
                        "AutoEoiGuest.java",
                        "PathOfInterrupt.java");
    }

    private static Set<String> examplesWithMarkedTypes(Path directory, int depth) throws Exception {
        Set<String> promised = promised().stream().map(Class::getCanonicalName).collect(Collectors.toSet());
        Set<String> marked = new TreeSet<>();
        int imports = 0;
        try (Stream<Path> files = Files.walk(directory, depth)) {
            for (Path file :
                    files.filter(file -> file.toString().endsWith(".java")).toList()) {
                for (MatchResult found :
                        IMPORT.matcher(Files.readString(file)).results().toList()) {
                    String name = found.group(1);
                    imports++;
                    if (promised.stream().noneMatch(type -> type.equals(name) || type.startsWith(name + "."))) {
                        marked.add(file.getFileName().toString());
                    }
                }
            }
        }
        assertThat(imports).isPositive();
        return marked;
    }

    private static void leaks(Class<?> type, Executable member, List<Class<?>> promised, Set<String> leaks) {
        Stream.concat(
                        Arrays.stream(member.getGenericParameterTypes()),
                        Arrays.stream(member.getGenericExceptionTypes()))
                .forEach(used -> leaks(type.getName() + " " + member.getName(), used, promised, leaks));
    }

    private static void leaks(String from, Type used, List<Class<?>> promised, Set<String> leaks) {
        if (used instanceof Class<?> type && type.isArray()) {
            leaks(from, type.getComponentType(), promised, leaks);
        } else if (used instanceof Class<?> type) {
            if (type.getName().startsWith("io.kvmirq.") && !promised.contains(type)) {
                leaks.add(from + ": " + type.getName());
            }
        } else if (used instanceof ParameterizedType generic) {
            leaks(from, generic.getRawType(), promised, leaks);
            Arrays.stream(generic.getActualTypeArguments()).forEach(argument -> leaks(from, argument, promised, leaks));
        } else if (used instanceof WildcardType wildcard) {
            Stream.concat(Arrays.stream(wildcard.getUpperBounds()), Arrays.stream(wildcard.getLowerBounds()))
                    .forEach(bound -> leaks(from, bound, promised, leaks));
        } else if (used instanceof GenericArrayType array) {
            leaks(from, array.getGenericComponentType(), promised, leaks);
        }
    }
}
