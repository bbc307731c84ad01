/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.ModifiersTree;
import com.sun.source.tree.NewClassTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.DocTrees;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreePath;
import com.sun.source.util.TreePathScanner;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.lang.module.ModuleDescriptor;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.lang.model.element.Modifier;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;

/** Every exported type, method, constructor and constant has a comment. */
class DocumentedTest {
    /** The kernel's headers document the constants of this package, as package-info says. */
    private static final String KERNEL_NAMES = "io.kvmirq.uapi";

    private static final Pattern EXAMPLE = Pattern.compile("\\{@snippet class=\"(.*)\" region=\"(.*)\"}");

    @Test
    void everyExportedMemberIsDocumented() throws IOException {
        List<Path> files = new ArrayList<>();
        for (String exported : documented()) {
            try (Stream<Path> sources = Files.list(Artifacts.sourcesOf(exported))) {
                sources.filter(file -> file.toString().endsWith(".java")).forEach(files::add);
            }
        }
        List<String> missing = new ArrayList<>();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8)) {
            JavacTask task = (JavacTask) compiler.getTask(
                    null, manager, null, List.of("-proc:none"), null, manager.getJavaFileObjectsFromPaths(files));
            DocTrees docs = DocTrees.instance(task);
            int units = 0;
            for (CompilationUnitTree unit : task.parse()) {
                new Scanner(docs, missing).scan(new TreePath(unit), null);
                units++;
            }
            assertThat(units).isEqualTo(files.size());
        }
        assertThat(missing).isEmpty();
    }

    /** An example is a test region of 3–11 lines. Records, enums, exceptions, interfaces, member classes need none. */
    @Test
    void everyPromisedClassHasAnExample() throws IOException, ReflectiveOperationException {
        Path tests = Machine.root().resolve("src/test/java");
        List<String> without = new ArrayList<>();
        for (String name : Files.readAllLines(Machine.root().resolve("src/test/resources/promised.txt"))) {
            Class<?> type = Class.forName(name);
            if (type.isMemberClass()
                    || type.isRecord()
                    || type.isEnum()
                    || type.isInterface()
                    || Throwable.class.isAssignableFrom(type)) {
                continue;
            }
            String source = Files.readString(
                    Artifacts.sourcesOf(type.getPackageName()).resolve(type.getSimpleName() + ".java"));
            Matcher example = EXAMPLE.matcher(source);
            String region = example.find()
                    ? Files.readString(tests.resolve(example.group(1).replace('.', '/') + ".java"))
                            .replaceAll("(?s).*// @start region=\"" + example.group(2) + "\"\n|// @end.*", "")
                    : "";
            if (region.lines().count() < 3 || region.lines().count() > 11) {
                without.add(name);
            }
        }
        assertThat(without).isEmpty();
    }

    /** The packages of the compatibility promise. */
    static Set<String> documented() throws IOException {
        Set<String> packages = exported();
        assertThat(packages.remove(KERNEL_NAMES)).isTrue();
        return packages;
    }

    static Set<String> exported() throws IOException {
        Set<String> exported = new TreeSet<>();
        for (Artifacts artifact : Artifacts.values()) {
            artifact.descriptor().exports().stream()
                    .filter(export -> !export.isQualified())
                    .map(ModuleDescriptor.Exports::source)
                    .forEach(exported::add);
        }
        return exported;
    }

    /** Visits what a user of the module can see. */
    private static final class Scanner extends TreePathScanner<Void, Void> {
        private final DocTrees docs;
        private final List<String> missing;

        Scanner(DocTrees docs, List<String> missing) {
            this.docs = docs;
            this.missing = missing;
        }

        @Override
        public Void visitClass(ClassTree type, Void unused) {
            if (!isVisible(type.getModifiers())) {
                return null;
            }
            require(type.getSimpleName().toString());
            return super.visitClass(type, null);
        }

        @Override
        public Void visitMethod(MethodTree method, Void unused) {
            boolean overrides = method.getModifiers().getAnnotations().stream()
                    .anyMatch(annotation ->
                            annotation.getAnnotationType().toString().equals("Override"));
            boolean hidden = !isVisible(method.getModifiers()) || isPrivateConstructor(method);
            // A record's canonical constructor is documented by the record's parameters.
            boolean compact =
                    owner().getKind() == Tree.Kind.RECORD && method.getName().contentEquals("<init>");
            if (!overrides && !hidden && !compact) {
                require(method.getName().toString());
            }
            return null;
        }

        private boolean isPrivateConstructor(MethodTree method) {
            return method.getName().contentEquals("<init>") && owner().getKind() == Tree.Kind.ENUM;
        }

        @Override
        public Void visitVariable(VariableTree field, Void unused) {
            boolean isRecordComponent = owner().getKind() == Tree.Kind.RECORD
                    && !field.getModifiers().getFlags().contains(Modifier.STATIC);
            if (isVisible(field.getModifiers()) && !isRecordComponent && !saysItself(field)) {
                require(field.getName().toString());
            }
            return null;
        }

        /** A constant of an enum whose first argument is its text. */
        private boolean saysItself(VariableTree field) {
            return owner().getKind() == Tree.Kind.ENUM
                    && field.getInitializer() instanceof NewClassTree made
                    && !made.getArguments().isEmpty();
        }

        private boolean isVisible(ModifiersTree modifiers) {
            Tree parent = getCurrentPath().getParentPath().getLeaf();
            boolean inInterface = parent instanceof ClassTree type && type.getKind() == Tree.Kind.INTERFACE;
            return modifiers.getFlags().contains(Modifier.PUBLIC)
                    || modifiers.getFlags().contains(Modifier.PROTECTED)
                    || inInterface && !modifiers.getFlags().contains(Modifier.PRIVATE);
        }

        private ClassTree owner() {
            return (ClassTree) getCurrentPath().getParentPath().getLeaf();
        }

        private void require(String name) {
            if (docs.getDocComment(getCurrentPath()) == null) {
                Path file = Path.of(
                        getCurrentPath().getCompilationUnit().getSourceFile().getName());
                missing.add(Machine.root().relativize(file) + " " + name);
            }
        }
    }
}
