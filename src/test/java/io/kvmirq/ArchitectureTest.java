/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.Calls;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Who may use whom: the layers of the package documentation. */
class ArchitectureTest {
    private static final JavaClasses CLASSES = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages("io.kvmirq");

    private static void check(ArchRule rule) {
        rule.check(CLASSES);
    }

    /** {@code user} may use itself, {@code used} and what is not ours. */
    private static ArchRule mayUse(String user, String... used) {
        List<String> allowed = new ArrayList<>(List.of(used));
        allowed.add(user);
        DescribedPredicate<JavaClass> allowedOrForeign = JavaClass.Predicates.resideInAnyPackage(
                        allowed.toArray(String[]::new))
                .or(DescribedPredicate.not(JavaClass.Predicates.resideInAPackage("io.kvmirq..")));
        return classes().that().resideInAPackage(user).should().onlyDependOnClassesThat(allowedOrForeign);
    }

    @Test
    void valuesUseNothing() {
        check(mayUse("io.kvmirq"));
    }

    @Test
    void uapiUsesNothing() {
        check(mayUse("io.kvmirq.uapi..", "io.kvmirq"));
    }

    @Test
    void backendUsesValuesAndTheUapi() {
        check(mayUse("io.kvmirq.backend..", "io.kvmirq", "io.kvmirq.uapi.."));
    }

    @Test
    void kernelUsesBackend() {
        check(mayUse(
                "io.kvmirq.kernel..", "io.kvmirq", "io.kvmirq.uapi..", "io.kvmirq.backend..", "io.kvmirq.explain.."));
    }

    @Test
    void explainUsesValuesOnly() {
        check(mayUse("io.kvmirq.explain..", "io.kvmirq"));
    }

    @Test
    void archUsesValuesOnlyAndTouchesNothing() {
        check(mayUse("io.kvmirq.arch..", "io.kvmirq"));
        check(noClasses()
                .that()
                .resideInAPackage("io.kvmirq.arch..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("java.io..", "java.nio.file..", "java.nio.channels..", "java.net.."));
    }

    /** A prediction comes from rules, never from a kernel, a file or the fake. */
    @Test
    void mirrorUsesRulesOnlyAndTouchesNothing() {
        check(mayUse("io.kvmirq.mirror..", "io.kvmirq", "io.kvmirq.arch.."));
        check(noClasses()
                .that()
                .resideInAPackage("io.kvmirq.mirror..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("java.io..", "java.nio..", "java.net.."));
    }

    @Test
    void vendorsUseTheApicAndNotEachOther() {
        check(mayUse("io.kvmirq.arch", "io.kvmirq"));
        check(mayUse("io.kvmirq.arch.vcpu..", "io.kvmirq", "io.kvmirq.arch"));
        check(mayUse("io.kvmirq.arch.apic..", "io.kvmirq", "io.kvmirq.arch", "io.kvmirq.arch.vcpu.."));
        check(mayUse("io.kvmirq.arch.intx..", "io.kvmirq", "io.kvmirq.arch", "io.kvmirq.arch.vcpu.."));
        check(mayUse(
                "io.kvmirq.arch.vtd..",
                "io.kvmirq",
                "io.kvmirq.arch",
                "io.kvmirq.arch.vcpu..",
                "io.kvmirq.arch.apic.."));
        check(mayUse(
                "io.kvmirq.arch.amd..",
                "io.kvmirq",
                "io.kvmirq.arch",
                "io.kvmirq.arch.vcpu..",
                "io.kvmirq.arch.apic.."));
    }

    @Test
    void kvmUsesKernel() {
        check(mayUse(
                "io.kvmirq.kvm..",
                "io.kvmirq",
                "io.kvmirq.uapi..",
                "io.kvmirq.backend",
                "io.kvmirq.explain..",
                "io.kvmirq.kernel.."));
    }

    @Test
    void vfioUsesKernelAndNotKvm() {
        check(mayUse(
                "io.kvmirq.vfio..",
                "io.kvmirq",
                "io.kvmirq.uapi..",
                "io.kvmirq.backend",
                "io.kvmirq.explain..",
                "io.kvmirq.kernel.."));
    }

    /** Forwarding joins the two layers and sees both. */
    @Test
    void forwardUsesVfioAndKvm() {
        check(mayUse(
                "io.kvmirq.forward..",
                "io.kvmirq",
                "io.kvmirq.uapi..",
                "io.kvmirq.arch.intx",
                "io.kvmirq.backend",
                "io.kvmirq.explain..",
                "io.kvmirq.kernel..",
                "io.kvmirq.kvm..",
                "io.kvmirq.mirror..",
                "io.kvmirq.vfio.."));
    }

    /** Handles reach the seam through their package's calls, which no user sees. */
    @Test
    void onlyCallsReachTheSeam() {
        check(noClasses()
                .that()
                .resideInAnyPackage("io.kvmirq.kvm..", "io.kvmirq.vfio..", "io.kvmirq.forward..")
                .and()
                .haveNameNotMatching(".*Calls(\\$.*)?")
                .should()
                .dependOnClassesThat()
                .belongToAnyOf(KernelBackend.class, Libc.class));
        check(classes()
                .that()
                .areAssignableTo(Calls.class)
                .and()
                .doNotBelongToAnyOf(Calls.class)
                .should()
                .notBePublic());
    }

    /** For constants, which the compiler copies so that no class shows where they came from. */
    private static List<String> sources(String directory) throws IOException {
        try (Stream<Path> files = Files.walk(Machine.root().resolve("src/main/java/io/kvmirq/" + directory))) {
            List<String> sources = new ArrayList<>();
            for (Path file :
                    files.filter(file -> file.toString().endsWith(".java")).toList()) {
                sources.add(Files.readString(file));
            }
            return sources;
        }
    }

    @Test
    void fakeUsesBackendTapesAndCauses() {
        check(mayUse(
                "io.kvmirq.fake",
                "io.kvmirq",
                "io.kvmirq.uapi..",
                "io.kvmirq.backend..",
                "io.kvmirq.recording..",
                "io.kvmirq.explain..",
                "io.kvmirq.arch.apic..",
                "io.kvmirq.fake.."));
    }

    /** Each area of the fake uses only those below it; only the top knows architectures. */
    @Test
    void areasOfTheFakeUseThoseBelow() {
        String table = "io.kvmirq.explain";
        String file = "io.kvmirq.fake.file";
        String kvm = "io.kvmirq.fake.kvm";
        check(mayUse(file, "io.kvmirq", "io.kvmirq.uapi..", table));
        check(mayUse(kvm, "io.kvmirq", "io.kvmirq.uapi..", "io.kvmirq.arch.intx.model", table, file));
        check(mayUse("io.kvmirq.fake.vfio", "io.kvmirq", "io.kvmirq.uapi..", "io.kvmirq.arch.intx.model", table, file));
        String posting = "io.kvmirq.fake.posting";
        check(mayUse(posting, "io.kvmirq", "io.kvmirq.arch..", table, file));
        check(mayUse(
                "io.kvmirq.fake.x86", "io.kvmirq", "io.kvmirq.uapi..", "io.kvmirq.arch..", table, file, kvm, posting));
        check(mayUse("io.kvmirq.fake.arm64", "io.kvmirq", "io.kvmirq.uapi..", "io.kvmirq.arch..", table, file, kvm));
    }

    /** One of its tests forwards a device's interrupts into its guest. */
    @Test
    void selftestUsesKvmAndForward() {
        check(mayUse(
                "io.kvmirq.selftest..",
                "io.kvmirq",
                "io.kvmirq.arch..",
                "io.kvmirq.kernel..",
                "io.kvmirq.kvm..",
                "io.kvmirq.forward..",
                "io.kvmirq.mirror..",
                "io.kvmirq.vfio.."));
    }

    @Test
    void recordingUsesBackend() {
        check(mayUse("io.kvmirq.recording..", "io.kvmirq", "io.kvmirq.uapi..", "io.kvmirq.backend.."));
    }

    @Test
    void hostUsesWhatVfioAsksFor() {
        check(mayUse("io.kvmirq.host..", "io.kvmirq", "io.kvmirq.backend", "io.kvmirq.arch..", "io.kvmirq.vfio"));
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
                    public SliceIdentifier getIdentifierOf(JavaClass one) {
                        return JavaClass.Predicates.resideInAPackage("io.kvmirq..")
                                        .test(one)
                                ? SliceIdentifier.of(one.getPackageName())
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
