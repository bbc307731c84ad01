/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.trips;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;

/**
 * Loads our classes once more. Each method tells {@link Trips} that it is entered: also lambdas, accessors of records,
 * constructors, and the bridges that the compiler makes.
 */
final class TracedClasses extends ClassLoader {
    private static final String COUNTER = Type.getInternalName(Trips.class);
    /** The methods of the fake that read a configuration space. All that they call is counted apart. */
    private static final Set<String> READS = Set.of(
            "io.kvmirq.fake.vfio.ConfigSpace.open",
            "io.kvmirq.fake.vfio.ConfigSpace.read",
            "io.kvmirq.fake.vfio.PciRegisters.bytes",
            "io.kvmirq.fake.vfio.PciRegisters.read");

    TracedClasses() {
        super(TracedClasses.class.getClassLoader());
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        if (!name.startsWith("io.kvmirq.") || name.equals(Trips.class.getName())) {
            return super.loadClass(name, resolve);
        }
        synchronized (getClassLoadingLock(name)) {
            @Nullable Class<?> loaded = findLoadedClass(name);
            if (loaded != null) {
                return loaded;
            }
            byte[] traced = traced(name);
            return defineClass(name, traced, 0, traced.length);
        }
    }

    private byte[] traced(String name) throws ClassNotFoundException {
        try (@Nullable InputStream file = getResourceAsStream(name.replace('.', '/') + ".class")) {
            if (file == null) {
                throw new ClassNotFoundException(name);
            }
            ClassReader reader = new ClassReader(file);
            ClassWriter writer = new ClassWriter(reader, ClassWriter.COMPUTE_MAXS);
            reader.accept(new Entering(writer, name), 0);
            return writer.toByteArray();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static final class Entering extends ClassVisitor {
        private final String name;

        Entering(ClassWriter writer, String name) {
            super(Opcodes.ASM9, writer);
            this.name = name;
        }

        @Override
        public @Nullable MethodVisitor visitMethod(
                int access, String method, String descriptor, @Nullable String signature, String @Nullable [] thrown) {
            MethodVisitor inner = super.visitMethod(access, method, descriptor, signature, thrown);
            boolean reads = READS.contains(name + "." + method);
            return new MethodVisitor(Opcodes.ASM9, inner) {
                @Override
                public void visitCode() {
                    super.visitCode();
                    if (reads) {
                        visitMethodInsn(Opcodes.INVOKESTATIC, COUNTER, "beginReading", "()V", false);
                    }
                    visitLdcInsn(name + "." + method);
                    visitMethodInsn(Opcodes.INVOKESTATIC, COUNTER, "enter", "(Ljava/lang/String;)V", false);
                }

                @Override
                public void visitInsn(int opcode) {
                    if (reads && opcode >= Opcodes.IRETURN && opcode <= Opcodes.RETURN) {
                        visitMethodInsn(Opcodes.INVOKESTATIC, COUNTER, "endReading", "()V", false);
                    }
                    super.visitInsn(opcode);
                }
            };
        }
    }
}
