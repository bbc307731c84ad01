/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.Errno;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.text.Foreign;
import io.kvmirq.vfio.VfioDevice;
import java.lang.annotation.Annotation;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestTemplate;
import org.junit.platform.commons.support.AnnotationSupport;

/** The checked annotations of a test. {@code everyCall} is the error of {@link EveryCallInTurn}. */
record Settings(
        Method test,
        List<String> profiles,
        Real real,
        String backend,
        KvmHost.Plan plan,
        List<Failing> faults,
        Optional<Errno> everyCall) {
    static final String DEFAULT_PROFILE = Profile.V6_12.label();
    private static final Set<Class<?>> ONLY_FAKE = Set.of(FakeKernel.class, FakePciDevice.class, VfioDevice.class);

    /** A {@link Fault} with valid names. */
    record Failing(String call, int nth, Errno errno) {
        void addTo(Faults faults) {
            faults.fail(call, nth, errno);
        }
    }

    static Settings of(Class<?> type, Method test) {
        requireAlone(test, KvmTest.class);
        KvmTest ofMethod = AnnotationSupport.findAnnotation(test, KvmTest.class).orElseThrow();
        Optional<KvmTest> ofClass = ofClass(type);
        Real real = ofMethod.real() == Real.NEVER ? ofClass.map(KvmTest::real).orElse(Real.NEVER) : ofMethod.real();
        int vcpus = ofMethod.vcpus() == 1 ? ofClass.map(KvmTest::vcpus).orElse(1) : ofMethod.vcpus();
        String backend = ofMethod.backend().equals(Backends.AUTO)
                ? ofClass.map(KvmTest::backend).orElse(Backends.AUTO)
                : ofMethod.backend();
        String[] named = ofMethod.profiles().length == 0
                ? ofClass.map(KvmTest::profiles).orElse(new String[0])
                : ofMethod.profiles();
        if (vcpus < 1) {
            throw new Mistake(Optional.of(test), "vcpus = " + vcpus + ": expected 1 or more");
        }
        return new Settings(
                test,
                profiles(test, named, real),
                checked(test, real),
                backend,
                new KvmHost.Plan(vcpus, takes(test, Set.of(Vcpu.class)).isPresent()),
                faults(type, test),
                AnnotationSupport.findAnnotation(test, EveryCallInTurn.class)
                        .map(every -> errno(test, every.errno(), "@EveryCallInTurn")));
    }

    /** The annotation of a class, or of the nearest enclosing class that has one. */
    static Optional<KvmTest> ofClass(Class<?> type) {
        Optional<KvmTest> found = AnnotationSupport.findAnnotation(type, KvmTest.class);
        boolean nested = type.isMemberClass() && !Modifier.isStatic(type.getModifiers());
        return found.isEmpty() && nested ? ofClass(type.getEnclosingClass()) : found;
    }

    /** Rejects a second test annotation, which would run the method once more, without the kit's parameters. */
    static void requireAlone(Method test, Class<? extends Annotation> annotation) {
        Stream.of(test.getAnnotations())
                .map(Annotation::annotationType)
                .filter(type -> type != annotation)
                .filter(type -> type == Test.class
                        || type == TestFactory.class
                        || type == TestTemplate.class
                        || AnnotationSupport.isAnnotated(type, TestTemplate.class)
                                && !AnnotationSupport.isAnnotated(type, annotation))
                .findFirst()
                .ifPresent(other -> {
                    throw new Mistake(
                            Optional.of(test),
                            "@" + annotation.getSimpleName() + " and @" + other.getSimpleName()
                                    + " both run the method: choose one of them");
                });
    }

    private static List<String> profiles(Method test, String[] named, Real real) {
        for (String profile : named) {
            try {
                Profile.parse(profile);
            } catch (IllegalArgumentException e) {
                throw new Mistake(Optional.of(test), "@KvmTest: " + e.getMessage());
            }
        }
        return named.length == 0 && real != Real.REQUIRED ? List.of(DEFAULT_PROFILE) : List.of(named);
    }

    private static Optional<Class<?>> takes(Method test, Set<Class<?>> types) {
        return Arrays.stream(test.getParameterTypes()).filter(types::contains).findFirst();
    }

    private static Real checked(Method test, Real real) {
        if (real != Real.NEVER) {
            takes(test, ONLY_FAKE).ifPresent(type -> {
                throw new Mistake(
                        Optional.of(test),
                        "@KvmTest(real = " + real + ") with a parameter " + type.getSimpleName()
                                + ", which real KVM does not have: set real = NEVER, or take a KvmHost");
            });
        }
        return real;
    }

    static List<Failing> faults(Class<?> type, Method test) {
        List<Fault> found = new ArrayList<>(AnnotationSupport.findRepeatableAnnotations(type, Fault.class));
        found.addAll(AnnotationSupport.findRepeatableAnnotations(test, Fault.class));
        List<Failing> faults = new ArrayList<>();
        for (Fault fault : found) {
            Failing failing = new Failing(fault.call(), fault.nth(), errno(test, fault.errno(), "@Fault"));
            try {
                failing.addTo(new Faults());
                Set<Errno> known = Faults.errnos(failing.call());
                if (!known.isEmpty() && !known.contains(failing.errno())) {
                    throw new IllegalArgumentException(failing.call() + " never fails with " + failing.errno()
                            + " in Linux: expected "
                            + known.stream().map(Errno::toString).collect(Collectors.joining(", ")));
                }
            } catch (IllegalArgumentException e) {
                throw new Mistake(Optional.of(test), "@Fault: " + e.getMessage());
            }
            faults.add(failing);
        }
        return faults;
    }

    private static Errno errno(Method test, String name, String of) {
        return Errno.parse(name)
                .orElseThrow(() -> new Mistake(
                        Optional.of(test),
                        of + ": " + Foreign.quoted(name) + " is not an errno: expected a name such as EBUSY"));
    }
}
