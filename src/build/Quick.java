/* SPDX-License-Identifier: Apache-2.0 */
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.Collections.disjoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.FieldVisitor;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;

/**
 * Compiles changed sources, and those that name a type whose declaration changed, into a copy of Maven's classes:
 * {@code Quick BELOW OPTION... -- SOURCE...}. {@code BELOW/classes} has a directory for each module, {@code
 * BELOW/test-classes} the tests, and {@code BELOW/round} is empty. {@code make try} and the static analysis run it. A failure
 * leaves the copy as it was. A class depends on each type that its constant pool names. Javac inlines constants and leaves
 * no name there. Exit codes: 1 if javac fails; 10 if Maven must compile: a constant, a supertype or a nested type is gone or
 * another, a new constant may hide one, or a class for Java 22 or many depend on a change. No check which module reads which.
 */
final class Quick {
    private static final int FAILED = 1;
    private static final int MAVEN = 10;
    private static final int MANY = 500; // Maven compiles as fast from so many sources on
    private static final String HIDING = "hiding "; // begins a constant of a class that inherits some
    private static final Pattern OUR_TYPE = Pattern.compile("io/kvmirq/[\\w/]+");
    /** A class in the body of a method: other sources cannot name it. */
    private static final Pattern LOCAL = Pattern.compile(".*\\$\\d.*");

    private final Path round;
    private final List<String> options;
    /** The directories of classes, by the folders of their sources. */
    private final Map<Path, Path> places = new TreeMap<>();

    private Quick(Path below, List<String> options) {
        round = below.resolve("round");
        this.options = options;
        places.put(Path.of("src/test/java"), below.resolve("test-classes"));
        for (String artifact : List.of("kvmirq", "vmm", "fake", "testkit", "command")) {
            String module = ("io.kvmirq." + artifact).replace(".kvmirq.kvmirq", ".kvmirq");
            places.put(Path.of("src/" + artifact + "/java"), below.resolve("classes/" + module));
        }
    }

    public static void main(String[] arguments) throws IOException {
        List<String> all = List.of(arguments);
        int files = all.indexOf("--");
        Quick quick = new Quick(Path.of(all.get(0)), all.subList(1, files));
        Map<String, Path> changed = new TreeMap<>();
        for (String file : all.subList(files + 1, all.size())) {
            Path folder = Path.of(file).subpath(0, 3);
            String type = folder.relativize(Path.of(file)).toString().replaceFirst("\\.java$", "");
            changed.put(type, quick.places.get(folder));
        }
        System.exit(quick.compile(changed));
    }

    /** Compiles types, each with the directory of its classes. */
    private int compile(Map<String, Path> changed) throws IOException {
        if (!javac(changed)) {
            return FAILED;
        }
        Set<String> others = new HashSet<>();
        for (Map.Entry<String, Path> source : changed.entrySet()) {
            Declaration before = Declaration.of(source.getValue(), source.getKey());
            Declaration after = Declaration.of(round, source.getKey());
            if (!after.fixed.containsAll(before.fixed)
                    || after.fixed.stream().anyMatch(part -> part.startsWith(HIDING) && !before.fixed.contains(part))
                    || !after.classes.keySet().containsAll(before.classes.keySet())) {
                return MAVEN;
            }
            if (!after.classes.equals(before.classes)) {
                others.add(source.getKey());
            }
        }
        Map<String, Path> dependents = others.isEmpty() ? new TreeMap<>() : dependents(others);
        dependents.keySet().removeAll(changed.keySet());
        if (dependents.size() > MANY || dependents.keySet().stream().anyMatch(type -> type.startsWith("META-INF"))) {
            return MAVEN;
        }
        if (!dependents.isEmpty() && !javac(dependents)) {
            return FAILED;
        }
        for (Map.Entry<String, Path> source : dependents.entrySet()) {
            if (!Declaration.of(source.getValue(), source.getKey()).equals(Declaration.of(round, source.getKey()))) {
                return MAVEN;
            }
        }
        dependents.putAll(changed);
        for (Map.Entry<String, Path> source : dependents.entrySet()) {
            for (Path stale : files(source.getValue(), source.getKey())) {
                Files.delete(stale);
            }
            for (Path file : files(round, source.getKey())) {
                Path place = source.getValue().resolve(round.relativize(file));
                Files.createDirectories(place.getParent());
                Files.move(file, place, StandardCopyOption.REPLACE_EXISTING);
            }
        }
        System.out.println("sources compiled: " + dependents.size());
        return 0;
    }

    private boolean javac(Map<String, Path> types) throws IOException {
        List<Path> sources = new ArrayList<>();
        places.forEach((folder, classes) -> types.forEach((type, place) -> {
            if (place.equals(classes)) {
                sources.add(folder.resolve(type + ".java"));
            }
        }));
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, UTF_8)) {
            List<String> arguments = new ArrayList<>(options);
            arguments.addAll(List.of("-d", round.toString(), "-implicit:none"));
            return compiler.getTask(null, files, null, arguments, null, files.getJavaFileObjectsFromPaths(sources))
                    .call();
        }
    }

    /** The parts of a source's classes that others can see: all except code and private members. */
    private record Declaration(Map<String, String> classes, Set<String> fixed) {
        static Declaration of(Path directory, String type) throws IOException {
            Declaration found = new Declaration(new TreeMap<>(), new TreeSet<>());
            for (Path file : files(directory, type)) {
                String name = directory.relativize(file).toString();
                if (!LOCAL.matcher(name).matches()) {
                    ClassWriter visible = new ClassWriter(0);
                    Visible visitor = new Visible(visible, name, found.fixed);
                    new ClassReader(Files.readAllBytes(file))
                            .accept(visitor, ClassReader.SKIP_CODE | ClassReader.SKIP_DEBUG);
                    found.classes.put(name, new String(visible.toByteArray(), ISO_8859_1));
                }
            }
            return found;
        }
    }

    private static final class Visible extends ClassVisitor {
        private final String name;
        private String hiding = "";
        /** Parts that matter to sources whose classes do not name the type: constants, and supertypes of a type argument. */
        private final Set<String> fixed;

        Visible(ClassWriter visible, String name, Set<String> fixed) {
            super(Opcodes.ASM9, visible);
            this.name = name;
            this.fixed = fixed;
        }

        @Override
        public void visit(int version, int access, String type, String generic, String parent, String[] interfaces) {
            hiding = interfaces.length == 0 && "java/lang/Object".equals(parent) ? "" : HIDING;
            fixed.add(access + " " + type + " " + generic + " " + parent + " " + List.of(interfaces));
            super.visit(version, access, type, generic, parent, interfaces);
        }

        /** Code that names a nested type of another source adds it here. */
        @Override
        public void visitInnerClass(String inner, String outer, String simple, int access) {
            if (outermost(inner).equals(outermost(name))
                    && !LOCAL.matcher(inner).matches()) {
                super.visitInnerClass(inner, outer, simple, access);
            }
        }

        @Override
        public void visitNestMember(String member) {}

        @Override
        public FieldVisitor visitField(int access, String field, String type, String generic, Object value) {
            if (value != null && !hidden(access)) {
                fixed.add(hiding + access + " " + name + " " + field + " " + type + " " + value);
            }
            return hidden(access) ? null : super.visitField(access, field, type, generic, value);
        }

        @Override
        public MethodVisitor visitMethod(int access, String method, String type, String generic, String[] thrown) {
            return hidden(access) ? null : super.visitMethod(access, method, type, generic, thrown);
        }

        private static boolean hidden(int access) {
            return (access & (Opcodes.ACC_PRIVATE | Opcodes.ACC_SYNTHETIC)) != 0;
        }
    }

    /** The sources whose classes name one of these types or a type derived from one. */
    private Map<String, Path> dependents(Set<String> types) throws IOException {
        Map<String, Set<String>> named = new HashMap<>();
        Map<String, Set<String>> parents = new HashMap<>();
        Map<String, Path> found = new TreeMap<>();
        for (Path place : places.values().stream().filter(Files::isDirectory).toList()) {
            for (Path file : classFiles(Files.walk(place))) {
                byte[] bytes = Files.readAllBytes(file);
                ClassReader reader = new ClassReader(bytes);
                String type = outermost(place.relativize(file).toString());
                found.put(type, place);
                Set<String> names = named.computeIfAbsent(type, key -> new HashSet<>());
                OUR_TYPE.matcher(new String(bytes, ISO_8859_1)).results().forEach(name -> names.add(name.group()));
                Set<String> above = parents.computeIfAbsent(type, key -> new HashSet<>());
                above.add(outermost(String.valueOf(reader.getSuperName())));
                Stream.of(reader.getInterfaces()).map(Quick::outermost).forEach(above::add);
            }
        }
        Set<String> changed = new HashSet<>(types);
        for (int before = 0; before < changed.size(); ) {
            before = changed.size();
            parents.forEach((type, above) -> changed.addAll(disjoint(above, changed) ? Set.of() : Set.of(type)));
        }
        named.get("module-info").clear();
        found.keySet().removeIf(type -> named.get(type).stream().noneMatch(changed::contains));
        return found;
    }

    /** The name of the outermost type of a class or of its file. */
    private static String outermost(String name) {
        return name.replaceFirst("(\\$.*)?(\\.class)?$", "");
    }

    /** The class files of a source. */
    private static List<Path> files(Path directory, String type) throws IOException {
        Path folder = directory.resolve(type).getParent();
        return classFiles(Files.isDirectory(folder) ? Files.list(folder) : Stream.empty()).stream()
                .filter(file -> outermost(directory.relativize(file).toString()).equals(type))
                .toList();
    }

    private static List<Path> classFiles(Stream<Path> files) {
        try (files) {
            return files.filter(file -> file.toString().endsWith(".class")).toList();
        }
    }
}
