/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.Calls;
import io.kvmirq.testing.Artifacts;
import io.kvmirq.testing.MainClasses;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Who may use whom: the layers of the package documentation. */
class ArchitectureTest {
    private static final JavaClasses CLASSES = MainClasses.ALL;

    private static void check(ArchRule rule) {
        rule.check(CLASSES);
    }

    /** {@code user} may use itself, the values, {@code used} and what is not ours. */
    private static ArchRule mayUse(String user, String... used) {
        List<String> allowed = new ArrayList<>(List.of(used));
        allowed.add(user);
        allowed.add("io.kvmirq");
        allowed.add("io.kvmirq.text");
        allowed.add("io.kvmirq.undo");
        DescribedPredicate<JavaClass> allowedOrForeign = JavaClass.Predicates.resideInAnyPackage(
                        allowed.toArray(String[]::new))
                .or(DescribedPredicate.not(JavaClass.Predicates.resideInAPackage("io.kvmirq..")));
        return classes().that().resideInAPackage(user).should().onlyDependOnClassesThat(allowedOrForeign);
    }

    @Test
    void valuesUseNothing() {
        check(mayUse("io.kvmirq"));
    }

    /** Each package, what it may use beside the values in the root, which use nothing, and what is not ours. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "text         | ",
                "events       | ",
                "uapi..       | ",
                "explain..    | ",
                "arch         | ",
                "arch.vcpu..  | arch",
                "arch.apic..  | arch arch.vcpu..",
                "arch.intx..  | arch arch.vcpu..",
                "arch.vtd..   | arch arch.vcpu.. arch.apic..",
                "arch.amd..   | arch arch.vcpu.. arch.apic..",
                "arch..       | ",
                "backend..    | uapi..",
                "kernel..     | uapi.. backend.. events explain..",
                "kvm..        | uapi.. backend events explain.. kernel..",
                "vfio..       | uapi.. backend explain.. kernel..",
                "path         | ",
                "mirror..     | arch.. backend path",
                "host         | backend arch.. mirror vfio",
                "host.facts   | backend arch.. host path vfio",
                "host.trace   | backend host.facts path",
                "host.memory  | arch.. backend host.trace path",
                "diag         | uapi.. arch.apic host.. path",
                "diag.sources | uapi.. arch.. backend diag host.. path vfio",
                "diag.rules   | arch.. backend diag diag.sources host.. path vfio",
                "diag.screens | arch.apic backend diag.. host.. path text vfio",
                "forward..    | uapi.. arch.intx backend events explain.. host kernel.. kvm.. mirror.. path vfio..",
                "pci..        | kernel kvm.. forward.. mirror vfio..",
                "vmm          | ",
                "run          | events kvm",
                "irqchip      | arch arch.apic kernel kvm.. forward.. vmm",
                "snapshot..   | arch arch.apic forward irqchip kernel kvm pci vfio vmm",
                "guest        | kernel",
                "junit        | backend.. explain fake forward guest kernel kvm vfio",
                "selftest..   | guest arch.. explain kernel.. kvm.. forward.. mirror.. vfio..",
                "fake.file    | uapi.. explain",
                "fake.kvm     | uapi.. arch.intx.model explain fake.file",
                "fake.vfio    | uapi.. arch.intx.model explain fake.file",
                "fake.posting | arch.. explain fake.file",
                "fake.x86     | uapi.. arch.. explain fake.file fake.kvm fake.posting fake.x86.cpu",
                "fake.x86.cpu | uapi.. explain fake.file fake.kvm",
                "fake.arm64   | uapi.. arch.. explain fake.file fake.kvm",
                "fake         | uapi.. backend.. explain.. kernel arch.apic.. fake..",
            })
    void packagesUseThoseBelow(String user, @Nullable String used) {
        String[] below = used == null ? new String[0] : used.split(" ");
        check(mayUse(
                "io.kvmirq." + user, Stream.of(below).map("io.kvmirq."::concat).toArray(String[]::new)));
    }

    @Test
    void archTouchesNothing() {
        check(noClasses()
                .that()
                .resideInAPackage("io.kvmirq.arch..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("java.io..", "java.nio.file..", "java.nio.channels..", "java.net.."));
    }

    /** A prediction comes from rules, never from a kernel, a file or the fake. */
    @Test
    void mirrorTouchesNothing() {
        check(noClasses()
                .that()
                .resideInAPackage("io.kvmirq.mirror..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("java.io..", "java.nio..", "java.net.."));
    }

    private static boolean calls(JavaClass type, String owner, String methods) {
        return type.getMethodCallsFromSelf().stream()
                .anyMatch(call -> call.getTargetOwner().getName().matches(owner)
                        && call.getName().matches(methods));
    }

    /**
     * A number stays a number until it is printed, and nothing reads a text that is printed. Rules, checks and one
     * other class also read files of the host and arguments, and Rule and Rows the formats of {@code rules.txt}.
     */
    @Test
    void noRegularExpressionReadsOurTexts() {
        String texts =
                "io.kvmirq.(diag|path).(\\w+.)?(Listing.Row|Link|Claim|InterruptPath|Finding|Remedy|Evidence|VfioOutlook.Refusal)";
        assertThat(CLASSES.stream()
                        .filter(type -> type.getName().matches("io.kvmirq.cli.*(Text|Json|Terminal|ListCommand|Table)")
                                || calls(type, texts, "value|text|whyNot|why|from|remed(y|ies)"))
                        .filter(type -> calls(type, "java.lang.String", "matches|split|replace(All|First)")
                                || calls(type, "java.util.regex.Pattern", "matcher"))
                        .map(JavaClass::getSimpleName)
                        .filter(name -> !name.matches(".*(Rules|Checks)")))
                .containsOnly("ForwardCommand", "Rule", "Rows");
    }

    /** The sources of a path choose rows of {@code links.txt} and {@code rules.txt}. */
    @Test
    void sourcesOfAPathWriteNoSentence() {
        assertThat(CLASSES.stream()
                        .filter(type -> type.getName().startsWith("io.kvmirq.diag.")
                                && !type.getName().startsWith("io.kvmirq.diag.rules."))
                        .flatMap(type -> type.getMethodCallsFromSelf().stream())
                        .filter(call -> call.getTargetOwner().getName().equals("io.kvmirq.path.Link")
                                && call.getName().matches("whole|notShown|of")
                                && call.getTarget().getRawParameterTypes().stream()
                                        .anyMatch(type -> type.isEquivalentTo(String.class))))
                .isEmpty();
    }

    /** Objects make their calls in four packages; those above use the objects. */
    @Test
    void onlyPackagesOfHandlesReachTheSeam() {
        check(noClasses()
                .that()
                .resideOutsideOfPackages(
                        "io.kvmirq.backend..",
                        "io.kvmirq.kernel..",
                        "io.kvmirq.kvm..",
                        "io.kvmirq.vfio..",
                        "io.kvmirq.forward..",
                        "io.kvmirq.fake..",
                        "io.kvmirq.junit..")
                .should()
                .dependOnClassesThat()
                .belongToAnyOf(KernelBackend.class, Libc.class, Calls.class));
    }

    /** For constants, which the compiler copies so that no class shows where they came from. */
    private static List<String> sources(String directory) throws IOException {
        List<String> sources = new ArrayList<>();
        for (Path file : Artifacts.allSources("io/kvmirq/" + directory)) {
            sources.add(Files.readString(file));
        }
        return sources;
    }

    @Test
    void nobodyUsesABindingByName() {
        check(noClasses()
                .that()
                .doNotHaveFullyQualifiedName("io.kvmirq.backend.choice.Backends")
                .and()
                .resideOutsideOfPackage("io.kvmirq.backend.jni..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage("io.kvmirq.backend.jni.."));
    }

    @Test
    void foreignLibrariesStayInTheirAdaptor() {
        check(onlyIn("JnaLibc", "com.sun.jna.."));
        check(onlyIn("JnrLibc", "jnr.."));
        check(onlyIn("JnrLibc", "com.kenai.."));
        check(onlyIn("FfmLibc", "java.lang.foreign.."));
    }

    /** A user without JUnit loads no class that names it. */
    @Test
    void onlyTheKitNeedsJUnit() {
        check(noClasses()
                .that()
                .resideOutsideOfPackage("io.kvmirq.junit..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("org.junit..", "org.opentest4j..", "io.kvmirq.junit.."));
    }

    private static ArchRule onlyIn(String adaptor, String foreign) {
        return noClasses()
                .that()
                .haveNameNotMatching("io\\.kvmirq\\.backend\\.libc\\." + adaptor + "(\\$.*)?")
                .should()
                .dependOnClassesThat()
                .resideInAPackage(foreign);
    }

    @Test
    void jniEncodesNothingItself() throws IOException {
        assertThat(sources("backend/jni")).hasSizeGreaterThan(2).noneMatch(source -> source.contains("Uapi"));
    }

    @Test
    void packagesHaveNoCycles() {
        check(slices().assignedFrom(new SliceAssignment() {
                    @Override
                    public SliceIdentifier getIdentifierOf(JavaClass type) {
                        return JavaClass.Predicates.resideInAPackage("io.kvmirq..")
                                        .test(type)
                                ? SliceIdentifier.of(type.getPackageName())
                                : SliceIdentifier.ignore();
                    }

                    @Override
                    public String getDescription() {
                        return "packages, each with the packages in it as others";
                    }
                })
                .should()
                .beFreeOfCycles());
    }

    /**
     * A look at a host leaves it as it was, except for a tracing instance and probes of its own. The channel of kernel
     * memory is opened for reading.
     */
    @Test
    void onlyATracingInstanceIsWritten() {
        check(noClasses()
                .that()
                .resideInAnyPackage("io.kvmirq.host..", "io.kvmirq.diag..")
                .and()
                .haveNameNotMatching(
                        "io[.]kvmirq[.]host[.](trace[.]Trace(Instance|Files)([$].*)?|memory[.]KernelMemory)")
                .should()
                .callMethodWhere(describe(
                        "it changes a file",
                        call -> call.getTargetOwner().isEquivalentTo(Files.class)
                                && Stream.of("write", "create", "delete", "move", "copy", "set", "newOutputStream")
                                        .anyMatch(call.getName()::startsWith)))
                .orShould()
                .dependOnClassesThat()
                .belongToAnyOf(FileOutputStream.class, RandomAccessFile.class, FileChannel.class));
    }

    @Test
    void onlyTheCommandPrintsAndExits() {
        check(noClasses()
                .that()
                .resideOutsideOfPackage("io.kvmirq.cli..")
                .should()
                .accessField(System.class, "out")
                .orShould()
                .accessField(System.class, "err")
                .orShould()
                .callMethod(System.class, "exit", int.class));
    }
}
