/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Facts that Java and C share: constants of {@link KernelBackend} and of native/bridge/kvmirq.h, native methods and functions. */
class RecordsTest {
    @TempDir
    private Path temporary;

    private static String inC(String constant) {
        if (constant.equals("ROUTE_SIZE")) {
            return "sizeof(struct kvmirq_route)";
        } else if (constant.equals("VFIO_IRQ_SIZE")) {
            return "sizeof(struct kvmirq_vfio_irq)";
        } else if (constant.equals("IRQFD_SIZE")) {
            return "sizeof(struct kvmirq_irqfd)";
        } else if (constant.startsWith("IRQFD_")) {
            return "offsetof(struct kvmirq_irqfd, "
                    + constant.substring("IRQFD_".length()).toLowerCase(Locale.ROOT) + ")";
        } else if (constant.equals("ROUTE_FLAG_DEVID")) {
            return "KVM_MSI_VALID_DEVID";
        } else if (constant.startsWith("IOEVENTFD_")) {
            return constant.replace("IOEVENTFD_", "KVM_IOEVENTFD_FLAG_");
        } else if (constant.startsWith("ROUTE_TYPE_")) {
            return constant.replace("ROUTE_TYPE_", "KVMIRQ_ROUTE_");
        } else if (constant.startsWith("ROUTE_")) {
            String field = constant.substring("ROUTE_".length()).toLowerCase(Locale.ROOT);
            return "offsetof(struct kvmirq_route, " + field + ")";
        } else if (constant.startsWith("VFIO_IRQ_")) {
            String field = constant.substring("VFIO_IRQ_".length()).toLowerCase(Locale.ROOT);
            return "offsetof(struct kvmirq_vfio_irq, " + field + ")";
        }
        return "KVMIRQ_" + constant;
    }

    private static String claim(String expression, int value) {
        return "_Static_assert(" + expression + " == " + value + ", \"Java says " + value + "\");\n";
    }

    /** The generic table of system calls is that of arm64. */
    @Test
    void compilerAgreesWithTheSystemCallsOfArm64()
            throws ReflectiveOperationException, IOException, InterruptedException {
        Machine.assumeProgram("cc");
        StringBuilder claims = new StringBuilder("#include <asm-generic/unistd.h>\n");
        Field number = SystemCall.class.getDeclaredField("arm64");
        number.setAccessible(true);
        for (SystemCall call : SystemCall.values()) {
            String name = call.kernelName();
            String macro = List.of("mmap", "ftruncate", "fcntl").contains(name) ? "__NR3264_" : "__NR_";
            claims.append(claim(macro + name, number.getInt(call)));
        }
        Class<?> direct = Class.forName("io.kvmirq.backend.library.DirectLibc$Call");
        number = direct.getDeclaredField("arm64");
        number.setAccessible(true);
        for (Object call : direct.getEnumConstants()) {
            String name = call.toString().toLowerCase(Locale.ROOT);
            String macro = List.of("mmap", "fcntl").contains(name) ? "__NR3264_" : "__NR_";
            claims.append(claim(macro + name, number.getInt(call)));
        }
        Path source = Files.writeString(temporary.resolve("calls.c"), claims);
        Program.output(List.of("cc", "-std=c11", "-fsyntax-only", source.toString()));
    }

    @Test
    void compilerAgreesWithJava() throws IOException, InterruptedException, IllegalAccessException {
        Machine.assumeProgram("cc");
        StringBuilder claims = new StringBuilder("#include <linux/kvm.h>\n#include \"kvmirq.h\"\n");
        claims.append(claim("KVMIRQ_ABI_VERSION", Abi.OURS.version()));
        for (Field constant : KernelBackend.class.getFields()) {
            claims.append(claim(inC(constant.getName()), constant.getInt(null)));
        }
        Path source = Files.writeString(temporary.resolve("records.c"), claims);
        String headers = Machine.root().resolve("native/bridge").toString();
        String built = Machine.root().resolve("target/native").toString();
        Program.output(List.of("cc", "-std=c11", "-fsyntax-only", "-I", headers, "-I", built, source.toString()));
    }

    /** A library binds what the class declares: a function without a method would be left out, and Java would encode. */
    @Test
    void everyFunctionOfCHasItsNativeMethod() throws Exception {
        String header = Files.readString(Machine.root().resolve("target/native/functions.h"));
        List<String> functions = Pattern.compile("KVMIRQ_EXPORT int kvmirq_(\\w+)\\(")
                .matcher(header)
                .results()
                .map(function -> Pattern.compile("_(.)")
                        .matcher(function.group(1))
                        .replaceAll(letter -> letter.group(1).toUpperCase(Locale.ROOT)))
                .toList();
        assertThat(Class.forName("io.kvmirq.backend.jni.JniBackend").getDeclaredMethods())
                .filteredOn(method -> Modifier.isNative(method.getModifiers()))
                .extracting(method -> method.getName().replaceFirst("Checked$", ""))
                .containsExactlyInAnyOrderElementsOf(functions);
    }

    /** A caller asks the size of each record that it shares. */
    @Test
    void everyRecordOfTheHeaderHasANumber() throws IOException {
        String header = Files.readString(Machine.root().resolve("native/bridge/kvmirq.h"));
        assertThat(Pattern.compile("^struct (\\w+) \\{$", Pattern.MULTILINE)
                        .matcher(header)
                        .results()
                        .map(record -> record.group(1)))
                .isNotEmpty()
                .allSatisfy(record ->
                        assertThat(header).containsPattern("KVMIRQ_RECORD_\\w+ = \\d+, /\\* struct " + record + "\\b"));
    }
}
