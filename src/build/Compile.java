/* SPDX-License-Identifier: Apache-2.0 */
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
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
 * Compiles the sources that changed, and those that depend on a changed declaration. {@code scripts/compile} runs it.
 *
 * <p>A source is changed if its content is: a newer date alone compiles nothing. A class depends on each type that its
 * constant pool names. Javac inlines constants and leaves no name there, so a changed constant compiles everything. The
 * state of the last success is in {@code target/build/UNIT.state}; a failed run changes no state, so the next one compiles
 * the same sources again.
 */
final class Compile {
    private static final Path STATES = Path.of("target/build");
    private static final Pattern OUR_TYPE = Pattern.compile("io/kvmirq/[\\w/]+");

    /** Above this share of a unit's sources, one compilation of all is faster than rounds. */
    private static final double MOST = 0.4;

    private static final Pattern MODULE = Pattern.compile("(?m)^module ([\\w.]+)");

    private final Path classes;
    private final List<Part> parts;
    private final Path stateFile;
    private final List<String> options;
    private final State before;
    private final State after = State.empty();
    private final List<Path> usedClasses = new ArrayList<>();
    private final Set<String> compiled = new TreeSet<>();

    /**
     * The sources of a unit that are one module, or all of them if they are in no module.
     *
     * @param module its name, or empty
     */
    private record Part(Path sources, Path resources, Path classes, String module) {
        static Part of(Path sources, Path resources, Path classes) throws IOException {
            Path descriptor = sources.resolve(DESCRIPTOR);
            if (!Files.exists(descriptor)) {
                return new Part(sources, resources, classes, "");
            }
            Matcher module = MODULE.matcher(Files.readString(descriptor));
            if (!module.find()) {
                throw new IllegalArgumentException(descriptor + " names no module");
            }
            return new Part(sources, resources, classes.resolve(module.group(1)), module.group(1));
        }

        /** The name of a source in the state: a type is in one part, and each module has a descriptor. */
        String key(Path file) {
            String path = sources.relativize(file).toString();
            return path.equals(DESCRIPTOR) ? module + "/" + path : path;
        }

        Path source(String key) {
            return sources.resolve(key.endsWith(DESCRIPTOR) ? DESCRIPTOR : key);
        }

        boolean has(String key) {
            return key.endsWith(DESCRIPTOR)
                    ? key.equals(module + "/" + DESCRIPTOR)
                    : Files.exists(sources.resolve(key));
        }
    }

    private static final String DESCRIPTOR = "module-info.java";

    /**
     * The state of a unit.
     *
     * @param hashes of the sources by path, and of the options by the empty path
     * @param types of this unit: the hash of the declarations that other sources can see, by name of the outermost type
     * @param seen the same of the units before it
     * @param resources the copied files
     */
    private record State(
            Map<String, String> hashes, Map<String, String> types, Map<String, String> seen, Set<String> resources) {
        static State empty() {
            return new State(new TreeMap<>(), new TreeMap<>(), new TreeMap<>(), new TreeSet<>());
        }

        static State read(Path file) throws IOException {
            State state = empty();
            if (Files.exists(file)) {
                for (String line : Files.readAllLines(file)) {
                    String[] cells = line.split("\t", -1);
                    switch (cells[0]) {
                        case "source" -> state.hashes.put(cells[1], cells[2]);
                        case "type" -> state.types.put(cells[1], cells[2]);
                        case "resource" -> state.resources.add(cells[1]);
                        default -> state.seen.put(cells[1], cells[2]);
                    }
                }
            }
            return state;
        }

        void write(Path file) throws IOException {
            List<String> lines = new ArrayList<>();
            hashes.forEach((path, hash) -> lines.add("source\t" + path + "\t" + hash));
            types.forEach((type, hash) -> lines.add("type\t" + type + "\t" + hash));
            seen.forEach((type, hash) -> lines.add("seen\t" + type + "\t" + hash));
            resources.forEach(resource -> lines.add("resource\t" + resource));
            Path written = Files.write(file.resolveSibling(file.getFileName() + ".new"), lines);
            Files.move(written, file, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    private Compile(List<Part> parts, Path classes, Path stateFile, List<String> options) throws IOException {
        this.parts = parts;
        this.classes = classes;
        this.stateFile = stateFile;
        this.options = options;
        before = Files.isDirectory(classes) ? State.read(stateFile) : State.empty();
        if (!Files.exists(stateFile)) {
            for (Path stale : files(classes, ".class")) {
                Files.delete(stale);
            }
        }
    }

    /**
     * Compiles units one after the other, with {@code --} before each: {@code NAME SOURCES CLASSES RESOURCES USED
     * OPTION...}. RESOURCES is copied to CLASSES and may be missing; USED is the unit that this one uses and its classes,
     * {@code NAME=CLASSES}, or {@code -}. SOURCES and RESOURCES are lists with commas; what is a module has its classes in
     * a directory of its name below CLASSES. Modules are compiled together. Some sources of them alone are compiled without
     * their descriptors: ArchitectureTest holds what these allow.
     */
    public static void main(String[] arguments) throws IOException {
        Files.createDirectories(STATES);
        List<String> rest = List.of(arguments);
        while (!rest.isEmpty()) {
            List<String> after = rest.subList(1, rest.size());
            int next = after.indexOf("--");
            if (!compile(next < 0 ? after : after.subList(0, next))) {
                System.exit(1);
            }
            rest = next < 0 ? List.of() : after.subList(next, after.size());
        }
    }

    private static boolean compile(List<String> arguments) throws IOException {
        Path classes = Path.of(arguments.get(2));
        List<String> options = arguments.subList(5, arguments.size());
        String[] sources = arguments.get(1).split(",");
        String[] resources = arguments.get(3).split(",");
        List<Part> parts = new ArrayList<>();
        for (int i = 0; i < sources.length; i++) {
            parts.add(Part.of(Path.of(sources[i]), Path.of(resources[i]), classes));
        }
        Compile unit = new Compile(parts, classes, STATES.resolve(arguments.get(0) + ".state"), options);
        if (!arguments.get(4).equals("-")) {
            String[] used = arguments.get(4).split("=");
            unit.after.seen.putAll(State.read(STATES.resolve(used[0] + ".state")).types);
            unit.usedClasses.add(Path.of(used[1]));
        }
        unit.copy();
        if (!unit.compile()) {
            return false;
        }
        if (!unit.after.equals(unit.before)) {
            unit.after.write(unit.stateFile);
        }
        if (!unit.compiled.isEmpty()) {
            System.out.println("compiled " + unit.compiled.size() + " of " + (unit.after.hashes.size() - 1)
                    + " sources of " + arguments.get(0));
        }
        return true;
    }

    private void copy() throws IOException {
        for (Part part : parts) {
            for (Path file : files(part.resources, "")) {
                Path copy = part.classes.resolve(part.resources.relativize(file));
                after.resources.add(classes.relativize(copy).toString());
                if (!Files.exists(copy) || Files.mismatch(file, copy) >= 0) {
                    Files.createDirectories(copy.getParent());
                    Files.copy(file, copy, StandardCopyOption.REPLACE_EXISTING);
                }
            }
        }
        for (String gone : before.resources) {
            if (!after.resources.contains(gone)) {
                Files.deleteIfExists(classes.resolve(gone));
            }
        }
    }

    private boolean compile() throws IOException {
        after.hashes.put("", hash(String.join("\n", options).getBytes(UTF_8)));
        for (Part part : parts) {
            for (Path file : files(part.sources, ".java")) {
                after.hashes.put(part.key(file), hash(Files.readAllBytes(file)));
            }
        }
        Set<String> all = new TreeSet<>(after.hashes.keySet());
        all.remove("");
        Set<String> changedTypes = differences(before.seen, after.seen);
        Set<String> todo = differences(before.hashes, after.hashes);
        boolean everything = todo.remove("") || todo.stream().anyMatch(source -> source.endsWith(DESCRIPTOR));
        for (String type : before.types.keySet()) {
            if (!type.equals(CONSTANTS) && !all.contains(type + ".java")) {
                changedTypes.add(type);
                todo.addAll(naming(type, all));
                everything |= !constants(before.types.get(type)).isEmpty();
                todo.add(type + ".java");
            }
        }
        todo.addAll(everything || changedTypes.contains(CONSTANTS) ? all : dependents(changedTypes, all));
        forget(todo);
        for (String source : todo) {
            deleteClasses(source.replaceFirst("\\.java$", ""));
        }
        after.types.putAll(before.types);
        after.types.keySet().removeIf(type -> !type.equals(CONSTANTS) && !all.contains(type + ".java"));
        todo.retainAll(all);
        while (!todo.isEmpty()) {
            if (todo.size() > MOST * all.size()) {
                todo = new TreeSet<>(all);
            }
            forget(todo);
            if (!(todo.equals(all) ? javac(todo) : javacSome(todo))) {
                return false;
            }
            compiled.addAll(todo);
            changedTypes = declared(todo);
            todo = changedTypes.contains(CONSTANTS) ? new TreeSet<>(all) : dependents(changedTypes, all);
            todo.removeAll(compiled);
        }
        return true;
    }

    /** Sources whose classes are about to change: they are compiled again if this run fails, also after a revert. */
    private void forget(Set<String> todo) throws IOException {
        if (before.hashes.keySet().removeAll(todo)) {
            before.write(stateFile);
        }
    }

    /** The sources that name a type, if only in a comment: a removed type is an error there. */
    private Set<String> naming(String type, Set<String> all) throws IOException {
        Pattern name = Pattern.compile("\\b" + type.substring(type.lastIndexOf('/') + 1) + "\\b");
        Set<String> naming = new TreeSet<>();
        for (String source : all) {
            if (name.matcher(Files.readString(source(source))).find()) {
                naming.add(source);
            }
        }
        return naming;
    }

    private void deleteClasses(String type) throws IOException {
        String name = type.substring(type.lastIndexOf('/') + 1);
        for (Part part : parts) {
            Path directory = part.classes.resolve(type).getParent();
            if (Files.isDirectory(directory)) {
                try (Stream<Path> files = Files.list(directory)) {
                    for (Path file : files.toList()) {
                        String found = file.getFileName().toString();
                        if (found.equals(name + ".class")
                                || (found.startsWith(name + "$") && found.endsWith(".class"))) {
                            Files.delete(file);
                        }
                    }
                }
            }
        }
    }

    private Part part(String source) {
        return parts.stream().filter(part -> part.has(source)).findFirst().orElseThrow();
    }

    private Path source(String source) {
        return part(source).source(source);
    }

    /** Compiles all sources, with the descriptors of their modules. */
    private boolean javac(Collection<String> all) throws IOException {
        List<String> arguments = new ArrayList<>(options);
        for (Part part : parts) {
            if (!part.module.isEmpty()) {
                arguments.addAll(List.of("--module-source-path", part.module + "=" + part.sources));
            }
        }
        return javac(all, arguments, classes);
    }

    /** Compiles some sources against the classes of the others, without modules, and puts each class to its part. */
    private boolean javacSome(Collection<String> some) throws IOException {
        if (parts.size() == 1 && parts.get(0).module.isEmpty()) {
            return javac(some, options, classes);
        }
        Path round = Files.createTempDirectory(STATES, "round");
        boolean compiled = javac(some, options, round);
        if (compiled) {
            Map<String, Part> owners = new HashMap<>();
            some.forEach(source -> owners.put(source.replaceFirst("\\.java$", ""), part(source)));
            for (Path file : files(round, ".class")) {
                Path name = round.relativize(file);
                Path place = owners.get(outermost(name.toString())).classes.resolve(name);
                Files.createDirectories(place.getParent());
                Files.move(file, place, StandardCopyOption.REPLACE_EXISTING);
            }
        }
        try (Stream<Path> left = Files.walk(round)) {
            for (Path file : left.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
        return compiled;
    }

    private boolean javac(Collection<String> todo, List<String> options, Path place) throws IOException {
        Files.createDirectories(place);
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, UTF_8)) {
            List<String> arguments = new ArrayList<>(options);
            arguments.addAll(List.of("-d", place.toString(), "-implicit:none"));
            return compiler.getTask(
                            null,
                            files,
                            null,
                            arguments,
                            null,
                            files.getJavaFileObjectsFromPaths(
                                    todo.stream().map(this::source).toList()))
                    .call();
        }
    }

    /** The name under which a unit keeps the hash of all its constants. */
    private static final String CONSTANTS = "=";

    /** Takes up the declarations of compiled sources, and returns the types whose declaration is not as before. */
    private Set<String> declared(Set<String> todo) throws IOException {
        Map<String, List<Path>> files = new TreeMap<>();
        for (Part part : parts) {
            for (Path file : files(part.classes, ".class")) {
                files.computeIfAbsent(outermost(part.classes.relativize(file).toString()), type -> new ArrayList<>())
                        .add(file);
            }
        }
        Set<String> changed = new HashSet<>();
        for (String source : todo) {
            String type = source.replaceFirst("\\.java$", "");
            StringBuilder declarations = new StringBuilder();
            StringBuilder constants = new StringBuilder();
            for (Path file : files.getOrDefault(type, List.of())) {
                declarations.append(declaration(Files.readAllBytes(file), constants));
            }
            String hash = hash(declarations.toString().getBytes(UTF_8)) + "."
                    + (constants.isEmpty() ? "" : hash(constants.toString().getBytes(UTF_8)));
            String earlier = after.types.put(type, hash);
            if (!hash.equals(earlier)) {
                changed.add(type);
                if (earlier != null && !constants(earlier).equals(constants(hash))) {
                    changed.add(CONSTANTS);
                }
            }
        }
        after.types.put(
                CONSTANTS,
                hash(after.types.entrySet().stream()
                        .filter(entry -> !entry.getKey().equals(CONSTANTS))
                        .filter(entry -> !constants(entry.getValue()).isEmpty())
                        .map(entry -> entry.getKey() + constants(entry.getValue()))
                        .collect(Collectors.joining())
                        .getBytes(UTF_8)));
        return changed;
    }

    private static String constants(String hash) {
        return hash.substring(hash.indexOf('.') + 1);
    }

    /** The hash of what other sources can see of a class: all but code and private members. */
    private static String declaration(byte[] bytes, StringBuilder constants) {
        ClassWriter visible = new ClassWriter(0);
        new ClassReader(bytes)
                .accept(
                        new ClassVisitor(Opcodes.ASM9, visible) {
                            @Override
                            public FieldVisitor visitField(
                                    int access, String name, String descriptor, String signature, Object value) {
                                if (hidden(access)) {
                                    return null;
                                }
                                if (value != null) {
                                    constants.append(name).append(value).append('\n');
                                }
                                return super.visitField(access, name, descriptor, signature, value);
                            }

                            @Override
                            public MethodVisitor visitMethod(
                                    int access, String name, String descriptor, String signature, String[] thrown) {
                                return hidden(access)
                                        ? null
                                        : super.visitMethod(access, name, descriptor, signature, thrown);
                            }
                        },
                        ClassReader.SKIP_CODE | ClassReader.SKIP_DEBUG);
        return hash(visible.toByteArray());
    }

    private static boolean hidden(int access) {
        return (access & (Opcodes.ACC_PRIVATE | Opcodes.ACC_SYNTHETIC)) != 0;
    }

    /** The sources whose classes name one of these types or a type derived from one. */
    private Set<String> dependents(Set<String> types, Set<String> all) throws IOException {
        Set<String> dependents = new TreeSet<>();
        if (types.isEmpty()) {
            return dependents;
        }
        Map<String, Set<String>> named = new HashMap<>();
        Map<String, Set<String>> parents = new HashMap<>();
        for (Path file : files(classes, ".class")) {
            ClassReader reader = new ClassReader(Files.readAllBytes(file));
            names(reader, named.computeIfAbsent(outermost(reader.getClassName()), type -> new HashSet<>()));
            addParents(reader, parents);
        }
        for (Path used : usedClasses) {
            for (Path file : files(used, ".class")) {
                addParents(new ClassReader(Files.readAllBytes(file)), parents);
            }
        }
        Set<String> changed = new HashSet<>(types);
        while (true) {
            Set<String> derived = parents.entrySet().stream()
                    .filter(entry -> entry.getValue().stream().anyMatch(changed::contains))
                    .map(Map.Entry::getKey)
                    .collect(Collectors.toSet());
            if (!changed.addAll(derived)) {
                break;
            }
        }
        named.forEach((type, names) -> {
            if (all.contains(type + ".java") && names.stream().anyMatch(changed::contains)) {
                dependents.add(type + ".java");
            }
        });
        return dependents;
    }

    private static void addParents(ClassReader reader, Map<String, Set<String>> parents) {
        Set<String> above = parents.computeIfAbsent(outermost(reader.getClassName()), type -> new HashSet<>());
        if (reader.getSuperName() != null) {
            above.add(outermost(reader.getSuperName()));
        }
        Stream.of(reader.getInterfaces()).map(Compile::outermost).forEach(above::add);
    }

    /** Adds our types that a constant pool names, in any of its texts. */
    private static void names(ClassReader reader, Set<String> names) {
        for (String text : texts(reader)) {
            Matcher type = OUR_TYPE.matcher(text);
            while (type.find()) {
                names.add(type.group());
            }
        }
    }

    /** Stands for a byte of a letter that is not ASCII. Names of types have none. */
    private static final char UNKNOWN = '\ufffd';

    /** All texts of a constant pool. */
    private static List<String> texts(ClassReader reader) {
        List<String> texts = new ArrayList<>();
        for (int i = 1; i < reader.getItemCount(); i++) {
            int at = reader.getItem(i);
            // CONSTANT_Utf8; the second item of a long or double has no offset.
            if (at > 0 && reader.readByte(at - 1) == 1) {
                char[] text = new char[reader.readUnsignedShort(at)];
                for (int k = 0; k < text.length; k++) {
                    int letter = reader.readByte(at + 2 + k);
                    text[k] = letter < 0x80 ? (char) letter : UNKNOWN;
                }
                texts.add(new String(text));
            }
        }
        return texts;
    }

    /** The name of the outermost type of a class or of its file, such as {@code io/kvmirq/kvm/Vm}. */
    private static String outermost(String name) {
        String type = name.replaceFirst("\\.class$", "");
        int nested = type.indexOf('$');
        return nested < 0 ? type : type.substring(0, nested);
    }

    private static Set<String> differences(Map<String, String> before, Map<String, String> after) {
        Set<String> different = new TreeSet<>(before.keySet());
        different.addAll(after.keySet());
        different.removeIf(key -> after.getOrDefault(key, "").equals(before.getOrDefault(key, "")));
        return different;
    }

    private static List<Path> files(Path directory, String suffix) {
        if (!Files.isDirectory(directory)) {
            return List.of();
        }
        try (Stream<Path> files = Files.walk(directory)) {
            return files.filter(file -> file.toString().endsWith(suffix) && Files.isRegularFile(file))
                    .filter(file -> !directory.relativize(file).toString().contains("META-INF/versions"))
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String hash(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes), 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
