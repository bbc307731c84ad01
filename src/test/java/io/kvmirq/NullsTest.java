/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Recorded;
import io.kvmirq.testing.Samples;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.AnnotatedElement;
import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.Label;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * Null for each parameter in turn of every exported method and constructor: the refusal has the parameter's name. Of a
 * promised type it begins with it, as in "kernel is null", and the JVM's own sentence, which names methods inside, does not
 * do. {@code nulls.txt} lists those that lack one; the list only shrinks. A call whose receiver has no sample here, or whose other
 * sample arguments are refused first, proves nothing and is not counted.
 */
class NullsTest {
    private static final String LIST = "src/test/resources/nulls.txt";

    /** By name and descriptor: the names of the local variables, by slot. */
    private static Map<String, Map<Integer, String>> names(Class<?> type) throws IOException {
        Map<String, Map<Integer, String>> all = new HashMap<>();
        try (InputStream in = type.getResourceAsStream(
                type.getName().substring(type.getPackageName().length() + 1) + ".class")) {
            new ClassReader(in)
                    .accept(
                            new ClassVisitor(Opcodes.ASM9) {
                                @Override
                                public MethodVisitor visitMethod(
                                        int access,
                                        String name,
                                        String descriptor,
                                        String signature,
                                        String[] exceptions) {
                                    Map<Integer, String> slots = new HashMap<>();
                                    all.put(name + descriptor, slots);
                                    return new MethodVisitor(Opcodes.ASM9) {
                                        @Override
                                        public void visitLocalVariable(
                                                String local,
                                                String of,
                                                String generic,
                                                Label start,
                                                Label end,
                                                int index) {
                                            slots.putIfAbsent(index, local);
                                        }
                                    };
                                }
                            },
                            0);
        }
        return all;
    }

    private static boolean isNullable(Parameter parameter) {
        return parameter.getAnnotatedType().isAnnotationPresent(Nullable.class)
                || ((AnnotatedElement) parameter).isAnnotationPresent(Nullable.class);
    }

    /** Whether null is taken in silence or without the name; false if another sample argument is refused before. */
    private static boolean isUnnamed(Executable executable, int at, String name, boolean isPromised, int[] counts) {
        try (Samples samples = new Samples()) {
            @Nullable Object[] given = samples.arguments(executable.getParameterTypes());
            @Nullable Object receiver = null;
            if (executable instanceof Method && !Modifier.isStatic(executable.getModifiers())) {
                receiver = samples.of(executable.getDeclaringClass());
                if (receiver == null) {
                    throw new NoSuchMethodException("no sample");
                }
            }
            given[at] = null;
            try {
                if (executable instanceof Method method) {
                    method.invoke(receiver, given);
                } else {
                    ((Constructor<?>) executable).newInstance(given);
                }
                counts[1]++;
                return true;
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof NullPointerException thrown)) {
                    // A refusal of something else that speaks of null looked at it too late.
                    boolean late = !String.valueOf(e.getCause().getMessage()).startsWith("buffer is null")
                            && isPromised
                            && String.valueOf(e.getCause().getMessage()).matches("(?s).*\\bnull\\b.*");
                    counts[late ? 1 : 2]++;
                    return late;
                }
                String said = String.valueOf(thrown.getMessage());
                boolean named = said.startsWith(name + " is null")
                        || !isPromised && (said.contains("\"" + name + "\"") || said.contains("\"this." + name + "\""));
                counts[named ? 0 : 1]++;
                return !named;
            }
        } catch (ReflectiveOperationException | RuntimeException | Error e) {
            counts[2]++;
            return false;
        }
    }

    @Test
    void everyReferenceIsNamedWhenItIsNull() throws Exception {
        int[] counts = new int[3];
        TreeSet<String> flaws = new TreeSet<>();
        List<Class<?>> promised = PromiseTest.promised();
        for (String exported : DocumentedTest.documented()) {
            for (Class<?> type : PromiseTest.visibleTypes(exported)) {
                Map<String, Map<Integer, String>> names = names(type);
                List<Executable> all = new ArrayList<>(List.of(type.getDeclaredConstructors()));
                all.addAll(List.of(type.getDeclaredMethods()));
                for (Executable executable : all) {
                    if (!Modifier.isPublic(executable.getModifiers())
                            || executable.isSynthetic()
                            || Modifier.isAbstract(executable.getModifiers())
                            || executable.getName().equals("equals")
                            || type.isEnum() && executable.getName().equals("valueOf")) {
                        continue;
                    }
                    String descriptor = executable instanceof Method method
                            ? method.getName() + Type.getMethodDescriptor(method)
                            : "<init>" + Type.getConstructorDescriptor((Constructor<?>) executable);
                    int slot =
                            executable instanceof Constructor || !Modifier.isStatic(executable.getModifiers()) ? 1 : 0;
                    Parameter[] parameters = executable.getParameters();
                    for (int i = 0; i < parameters.length; i++) {
                        Class<?> of = parameters[i].getType();
                        if (!of.isPrimitive() && !isNullable(parameters[i])) {
                            String name = String.valueOf(names.get(descriptor).get(slot));
                            if (isUnnamed(executable, i, name, promised.contains(type), counts)) {
                                flaws.add(type.getName() + " " + descriptor.substring(0, descriptor.indexOf('(')) + " "
                                        + name);
                            }
                        }
                        slot += of == long.class || of == double.class ? 2 : 1;
                    }
                }
            }
        }
        assertThat(counts[0]).as("parameters that are named").isGreaterThan(570);
        Recorded.compare(LIST, List.copyOf(flaws), "so that it is named now", NullsTest.class);
    }
}
