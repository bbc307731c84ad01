/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import io.kvmirq.fake.Profile;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.platform.commons.support.AnnotationSupport;

/** The checked annotations of a test with {@link Interleavings}. An empty {@code order} means all orders. */
record InterleavingsSettings(
        Method test,
        String name,
        Map<String, Profile> profiles,
        int preemptions,
        int limit,
        KvmHost.Plan plan,
        List<Settings.Failing> faults,
        Optional<ActorsOrder> order) {
    static final String PROPERTY = "kvmirq.order";

    static InterleavingsSettings of(ExtensionContext context) {
        Class<?> type = context.getRequiredTestClass();
        Method test = context.getRequiredTestMethod();
        Interleavings of =
                AnnotationSupport.findAnnotation(test, Interleavings.class).orElseThrow();
        Optional<KvmTest> ofClass = Settings.ofClass(type);
        Settings.requireAlone(test, Interleavings.class);
        require(test, of.preemptions() >= 0, "preemptions = " + of.preemptions() + ": expected 0 or more");
        require(test, of.limit() >= 1, "limit = " + of.limit() + ": expected 1 or more");
        require(test, of.vcpus() >= 1, "vcpus = " + of.vcpus() + ": expected 1 or more");
        require(
                test,
                !AnnotationSupport.isAnnotated(test, EveryCallInTurn.class),
                "@EveryCallInTurn is for methods with @KvmTest: use @Fault");
        require(
                test,
                List.of(test.getParameterTypes()).contains(Actors.class),
                "take a parameter Actors, and add the actors to it");
        String name = type.getSimpleName() + "." + test.getName();
        return new InterleavingsSettings(
                test,
                name,
                profiles(test, of.profiles(), ofClass),
                of.preemptions(),
                of.limit(),
                new KvmHost.Plan(of.vcpus() == 1 ? ofClass.map(KvmTest::vcpus).orElse(1) : of.vcpus(), true),
                Settings.faults(type, test),
                order(context, test, name, of.order()));
    }

    private static void require(Method test, boolean holds, String sentence) {
        if (!holds) {
            throw new Mistake(Optional.of(test), "@Interleavings: " + sentence);
        }
    }

    private static Map<String, Profile> profiles(Method test, String[] named, Optional<KvmTest> ofClass) {
        List<String> labels = new ArrayList<>(
                List.of(named.length == 0 ? ofClass.map(KvmTest::profiles).orElse(named) : named));
        if (labels.isEmpty()) {
            labels.add(Settings.DEFAULT_PROFILE);
        }
        Map<String, Profile> profiles = new LinkedHashMap<>();
        for (String label : labels) {
            try {
                profiles.put(label, Profile.parse(label));
            } catch (IllegalArgumentException e) {
                throw new Mistake(Optional.of(test), "@Interleavings: " + e.getMessage());
            }
        }
        return profiles;
    }

    /** The order of the system property, for one method if its name precedes a colon, or else of the annotation. */
    private static Optional<ActorsOrder> order(
            ExtensionContext context, Method test, String name, String ofAnnotation) {
        String seed = context.getConfigurationParameter(PROPERTY)
                .filter(value -> !value.contains(":") || value.startsWith(name + ":"))
                .map(value -> value.substring(value.indexOf(':') + 1))
                .orElse(ofAnnotation);
        if (seed.isEmpty()) {
            return Optional.empty();
        }
        Optional<ActorsOrder> order = ActorsOrder.parse(seed);
        require(
                test,
                order.isPresent(),
                "order '" + seed + "': expected an order that a failure names, such as B1A2B1");
        return order;
    }

    Mistake mistake(String sentence) {
        return new Mistake(Optional.of(test), sentence);
    }

    /** The property and the annotation that run an order again, as text to copy. */
    String replay(ActorsOrder of) {
        return "to replay it: -D" + PROPERTY + "=" + name + ":" + of + " or @Interleavings(order = \"" + of + "\")";
    }
}
