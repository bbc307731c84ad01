/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.junit;

import static io.kvmirq.junit.Actors.when;
import static io.kvmirq.junit.KvmAssertions.once;
import static io.kvmirq.junit.KvmAssertions.vector;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.junit.KitRun.Outcome;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.platform.engine.reporting.ReportEntry;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** Orders, failures, replays and mistakes of {@link Interleavings}. Only these tests run the classes of tests in it. */
@Execution(ExecutionMode.SAME_THREAD)
class InterleavingsTest {
    /** The orders that a class of tests ran, a letter a step. */
    private static final List<String> SEEN = new ArrayList<>();

    @BeforeEach
    void forget() {
        SEEN.clear();
    }

    /** A step that notes itself. */
    private static Actors.Step note(StringBuilder order, char actor) {
        return () -> order.append(actor);
    }

    /** {@code (InterleavingsTest.java:12)}, for the line that ends with a comment. */
    private static String line(String comment) throws IOException {
        List<String> lines =
                Files.readAllLines(Machine.root().resolve("src/test/java/io/kvmirq/junit/InterleavingsTest.java"));
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).endsWith("// " + comment)) {
                return "(InterleavingsTest.java:" + (i + 1) + ")";
            }
        }
        throw new AssertionError(comment);
    }

    // Orders that pass

    static class ThreeActors {
        private static void three(Actors actors) {
            StringBuilder order = new StringBuilder();
            actors.add("a", note(order, 'a'), note(order, 'a'), note(order, 'a'));
            actors.add("b", note(order, 'b'), note(order, 'b'));
            actors.add("c", note(order, 'c'));
            actors.add("c", note(order, 'c'));
            actors.after(() -> SEEN.add(order.toString()));
        }

        @Interleavings(preemptions = 0)
        void none(Actors actors) {
            three(actors);
        }

        @Interleavings(preemptions = 1)
        void one(Actors actors) {
            three(actors);
        }

        @Interleavings
        void two(Actors actors) {
            three(actors);
        }

        @Interleavings(preemptions = 100)
        void all(Actors actors) {
            three(actors);
        }
    }

    /** The methods of a class, each with what it reported. */
    private static Map<String, String> reports(Class<?> tests) {
        Map<String, String> reports = new HashMap<>();
        LauncherFactory.create()
                .execute(
                        LauncherDiscoveryRequestBuilder.request()
                                .selectors(selectClass(tests))
                                .build(),
                        new TestExecutionListener() {
                            @Override
                            public void reportingEntryPublished(TestIdentifier test, ReportEntry entry) {
                                reports.put(
                                        test.getLegacyReportingName(),
                                        entry.getKeyValuePairs().toString());
                            }
                        });
        return reports;
    }

    @Test
    void eachOrderRunsOnceAndIsCounted() {
        assertThat(KitRun.of(ThreeActors.class)).hasSize(4).allMatch(outcome -> outcome.status()
                .equals("SUCCESSFUL"));
        int[] steps = {3, 2, 2};
        List<Integer> counts = List.of(
                InterleavingsCountTest.counted(steps, -1, 0),
                InterleavingsCountTest.counted(steps, -1, 1),
                InterleavingsCountTest.counted(steps, -1, 2),
                InterleavingsCountTest.counted(steps, -1, 100));
        assertThat(counts).containsExactly(6, 30, 92, 210);
        assertThat(SEEN).hasSize(6 + 30 + 92 + 210);
        assertThat(SEEN.stream().distinct()).hasSize(210);
        assertThat(reports(ThreeActors.class).values())
                .containsExactlyInAnyOrder("{orders=6}", "{orders=30}", "{orders=92}", "{orders=210}");
    }

    static class Waits {
        @Interleavings(preemptions = 0)
        void consumerWaitsForTheProducer(Actors actors) {
            AtomicInteger full = new AtomicInteger();
            StringBuilder order = new StringBuilder();
            Actors.Step produce = () -> {
                order.append('p');
                full.incrementAndGet();
            };
            Actors.Step consume = when(() -> full.get() > 0, () -> {
                order.append('c');
                full.decrementAndGet();
            });
            actors.add("consumer", consume, consume);
            actors.add("producer", when(() -> full.get() == 0, produce), when(() -> full.get() == 0, produce));
            actors.after(() -> SEEN.add(order.toString()));
        }
    }

    @Test
    void actorThatWaitsIsNotPreempted() {
        assertThat(KitRun.single(Waits.class).status()).isEqualTo("SUCCESSFUL");
        assertThat(SEEN).containsExactly("pcpc");
    }

    static class FreshFakes {
        @Interleavings(profiles = {"6.1", "6.18"})
        void eachOrderHasItsOwn(Actors actors, KvmHost host, Vm vm, EventFd event, Kernel kernel) {
            SEEN.add(host.fake() + " " + vm.routes().routes().size() + " " + host.calls("KVM_CREATE_VM"));
            assertThat(kernel).isSameAs(host.kernel());
            Gsi gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), vector(0x33)));
            actors.closing(() -> vm.routes().remove(gsi));
            Irqfd irqfd = actors.closing(vm.assignIrqfd(event, gsi));
            actors.add("device", event::signal, event::signal);
            actors.add("vmm", irqfd::gsi);
            actors.after(() -> assertThat(host.vcpu(0).received(vector(0x33))).isEqualTo(2));
        }
    }

    @Test
    void eachOrderHasAFreshFakeOfItsProfile() {
        assertThat(KitRun.of(FreshFakes.class))
                .extracting(Outcome::name, Outcome::status, Outcome::said)
                .containsExactlyInAnyOrder(
                        tuple("[fake 6.1]", "SUCCESSFUL", ""), tuple("[fake 6.18]", "SUCCESSFUL", ""));
        assertThat(SEEN).hasSize(6);
        assertThat(SEEN.stream().distinct()).hasSize(2);
    }

    // Races

    /** A VMM whose unmask throws away what came while the interrupt was masked. */
    static class Drains {
        @Interleavings
        void maskKeepsTheInterrupt(Actors actors, KvmHost host, Vm vm, EventFd event) {
            Gsi gsi = vm.routes().add(MsiMessage.to(new VcpuId(0), vector(0x33)));
            actors.closing(() -> vm.routes().remove(gsi));
            AtomicReference<Irqfd> irqfd = new AtomicReference<>(vm.assignIrqfd(event, gsi));
            actors.closing(() -> irqfd.get().close());
            actors.add("device", event::signal); // the device
            actors.add("control plane", () -> irqfd.get().close()); // mask
            Actors.Step unmask = () -> {
                event.drain();
                irqfd.set(vm.assignIrqfd(event, gsi));
            };
            actors.add("control plane", unmask); // unmask
            actors.after(() -> KvmAssertions.assertThat(host.vcpu(0)).received(vector(0x33), once()));
        }
    }

    @Test
    void lostInterruptIsFoundShrunkAndReplayed() throws IOException {
        Outcome failed = KitRun.single(Drains.class);
        assertThat(failed.status()).isEqualTo("FAILED");
        assertThat(failed.said())
                .isEqualTo("1 of 1 orders with 1 preemption fails; all 2 with fewer pass. Order B1A1B1:\n"
                        + "  1. control plane, step 1 " + line("mask") + "\n"
                        + "  2. device, step 1 " + line("the device") + "\n"
                        + "  3. control plane, step 2 " + line("unmask") + "\n"
                        + "after it: expected vcpu 0 to receive vector 0x33 once, but it received it never\n"
                        + "to replay it: -Dkvmirq.order=Drains.maskKeepsTheInterrupt:B1A1B1 or"
                        + " @Interleavings(order = \"B1A1B1\")");
        List<Outcome> replayed = KitRun.of(Drains.class, Map.of("kvmirq.order", "Drains.maskKeepsTheInterrupt:B1A1B1"));
        assertThat(replayed).hasSize(1);
        assertThat(replayed.get(0).name()).isEqualTo("[fake 6.12, order B1A1B1]");
        assertThat(replayed.get(0).said())
                .startsWith("Order B1A1B1:\n  1. control plane, step 1 ")
                .contains("after it: expected vcpu 0 to receive");
    }

    @ParameterizedTest
    @CsvSource({
        "B2A1, SUCCESSFUL",
        "A1, SUCCESSFUL",
        "Drains.maskKeepsTheInterrupt:A1B2, SUCCESSFUL",
        "Drains.another:A1B2, FAILED"
    })
    void propertyChoosesTheOrderOfOneMethod(String order, String status) {
        List<Outcome> outcomes = KitRun.of(Drains.class, Map.of("kvmirq.order", order));
        assertThat(outcomes).extracting(Outcome::status).containsExactly(status);
    }

    /** Two vCPUs that count without a lock, and a third actor that takes no part. */
    static class Counts {
        @Interleavings(preemptions = 3)
        void bothAreCounted(Actors actors) {
            int[] words = new int[3];
            for (int i = 0; i < 2; i++) {
                int own = i;
                actors.add("vcpu " + i, () -> words[own] = words[2], () -> words[2] = words[own] + 1);
            }
            actors.add("other", () -> {}, () -> {});
            actors.after(() -> assertThat(words[2]).isEqualTo(2));
        }
    }

    @Test
    void lostCountNeedsOnePreemption() {
        assertThat(KitRun.single(Counts.class).said())
                .startsWith("8 of 18 orders with 1 preemption fail; all 6 with fewer pass. Order ")
                .contains("after it: \nexpected: 2\n but was: 1\n");
    }

    static class FailsInAStep {
        @Interleavings
        void stops(Actors actors) {
            boolean[] closed = new boolean[1];
            actors.add("vcpu", () -> {}, () -> {}, () -> assertThat(closed[0]).isFalse(), () -> {});
            actors.add("control plane", () -> {}, () -> closed[0] = true);
            actors.add("worker", () -> {}, () -> {});
        }
    }

    /** With the worker before the vCPU the order that fails is two steps longer. */
    @Test
    void shortestOrderIsShown() {
        assertThat(KitRun.single(FailsInAStep.class).said())
                .startsWith("3 of 6 orders without a preemption fail. Order B2A3:\n  1. control plane, step 1 ")
                .contains("\n  5. vcpu, step 3 ", "\nin its last step: ")
                .doesNotContain("6. ");
    }

    static class Deadlock {
        @Interleavings
        void bothTakeTwoLocks(Actors actors) {
            boolean[] held = new boolean[2];
            for (int i = 0; i < 2; i++) {
                int index = i;
                actors.add(
                        "thread " + i,
                        when(() -> !held[index], () -> held[index] = true),
                        when(() -> !held[1 - index], () -> held[1 - index] = true),
                        () -> held[0] = held[1] = false);
            }
        }
    }

    @Test
    void actorsThatWaitForEachOtherFail() {
        assertThat(KitRun.single(Deadlock.class).said())
                .startsWith("2 of 2 orders with 1 preemption fail; all 2 with fewer pass. Order ")
                .contains("\nthen: all actors wait: thread 0, step 2 (", "; thread 1, step 2 (");
    }

    static class Leaks {
        @Interleavings
        void forgetsTheIrqfdOfOneOrder(Actors actors, Vm vm, EventFd event) {
            StringBuilder order = new StringBuilder();
            actors.add("a", note(order, 'a'));
            actors.add("b", note(order, 'b'));
            actors.after(() -> {
                if (order.toString().equals("ba")) {
                    vm.assignIrqfd(event, new Gsi(5)); // forgotten
                }
            });
        }

        @Interleavings
        void closesAfterAFailure(Actors actors, KvmHost host) {
            EventFd event = actors.closing(EventFd.create(host.kernel()));
            actors.add("a", event::signal);
            actors.after(() -> Assertions.fail("failed"));
        }

        @Interleavings
        void cannotClose(Actors actors) {
            actors.closing(() -> Assertions.fail("stays open"));
            actors.add("a", () -> {});
        }
    }

    @Test
    void whatAnOrderLeavesIsItsFailure() throws IOException {
        List<String> said = KitRun.of(Leaks.class).stream().map(Outcome::said).toList();
        assertThat(said)
                .anySatisfy(text -> assertThat(text)
                        .contains("Order B1A1:", "when it has ended: the test left irqfd (eventfd fd ")
                        .contains(line("forgotten").replaceAll("[()]", "")))
                .anySatisfy(text -> assertThat(text)
                        .contains("Order A1:", "after it: failed\n")
                        .doesNotContain("left"))
                .anySatisfy(text -> assertThat(text).contains("when it closes: stays open\n"))
                .hasSize(3);
    }

    static class WithFaults {
        @Fault(call = "KVM_IRQFD", errno = "ENOMEM")
        @Interleavings
        void oneOrderMeetsIt(Actors actors, Vm vm, EventFd event) {
            boolean[] closed = new boolean[1];
            actors.add("a", () -> closed[0] = true);
            actors.add("b", () -> {
                if (!closed[0]) {
                    vm.assignIrqfd(event, new Gsi(5)).close();
                }
            });
        }

        @Fault(call = "KVM_IRQFD", nth = 2, errno = "ENOMEM")
        @Interleavings
        void noOrderMeetsIt(Actors actors) {
            actors.add("a", () -> {});
            actors.add("b", () -> {});
        }
    }

    @Test
    void faultComesInEachOrder() {
        assertThat(KitRun.of(WithFaults.class).stream().map(Outcome::said))
                .anySatisfy(text -> assertThat(text).contains("Order B1:\n", "in its last step: ", "ENOMEM"))
                .anySatisfy(
                        text -> assertThat(text).isEqualTo("the fault of KVM_IRQFD 2 did not occur in any of 2 orders"))
                .hasSize(2);
    }

    // A test that depends on more than the order

    static class Unstable {
        private int runs;
        private boolean broken;

        @Interleavings
        void failsOnce(Actors actors) {
            runs++;
            actors.add("a", () -> {});
            actors.add("b", () -> assertThat(runs).isNotEqualTo(2));
        }

        @Interleavings
        void failsElsewhere(Actors actors) {
            runs++;
            actors.add("a", () -> assertThat(runs).isNotEqualTo(3));
            actors.add("b", () -> assertThat(runs).isNotEqualTo(2));
        }

        @Interleavings
        void leavesAField(Actors actors) {
            boolean[] first = new boolean[1];
            actors.add("a", () -> first[0] = true);
            actors.add("b", () -> broken |= !first[0]);
            actors.after(() -> assertThat(broken).isFalse());
        }

        @Interleavings
        void addsOthers(Actors actors) {
            runs++;
            actors.add("a", () -> {});
            actors.add(runs == 1 ? "b" : "c", () -> {});
        }

        @Interleavings
        void waitsOnce(Actors actors) {
            runs++;
            int run = runs;
            actors.add("a", () -> {});
            actors.add("b", when(() -> run == 1, () -> {}));
        }

        @Interleavings
        void throwsLater(Actors actors) {
            runs++;
            actors.add("a", () -> {});
            actors.add("b", () -> {});
            assertThat(runs).isEqualTo(1);
        }
    }

    @Test
    void unstableTestIsSaid() {
        assertThat(KitRun.of(Unstable.class).stream().map(Outcome::said))
                .allMatch(text -> text.contains("The test depends on more than the order: create in the method all"))
                .anyMatch(text -> text.contains("order B1 fails, and when it runs again it passes. "))
                .anyMatch(text -> text.contains("order B1 fails, and when it runs again it fails elsewhere. "))
                .anyMatch(text -> text.contains("order B1A1 fails, and so does A1B1 now, which passed at first. "))
                .anyMatch(text ->
                        text.contains("the actors were a (1 step), b (1 step), but in order B1A1 they are a (1"))
                .anyMatch(text ->
                        text.contains("order B1 ran until a switch, but now its step 1 cannot run: b, step 1 ("))
                .anyMatch(text -> text.contains("order B1 fails before its first step: "))
                .hasSize(6);
    }

    // Mistakes

    static class Mistakes {
        @Interleavings
        void noActors(Actors actors) {}

        @Interleavings
        void noParameter() {}

        @Interleavings
        void noSteps(Actors actors) {
            actors.add("device");
        }

        @Interleavings
        void tooLate(Actors actors) {
            actors.add("device", () -> actors.add("another", () -> {}));
        }

        @Interleavings(profiles = "vtd-pasting")
        void noProfile(Actors actors) {}

        @Interleavings(preemptions = -1)
        void noPreemptions(Actors actors) {}

        @Interleavings(order = "first")
        void noOrder(Actors actors) {}

        @Interleavings(order = "A1C1")
        void anothersOrder(Actors actors) {
            actors.add("a", () -> {});
            actors.add("b", () -> {});
        }

        @Interleavings(order = "A1B2")
        void oldOrder(Actors actors) {
            actors.add("a", () -> {}, () -> {});
            actors.add("b", () -> {});
        }

        @KvmTest
        @Interleavings
        void twoExtensions(Actors actors) {}

        @EveryCallInTurn(errno = "ENOMEM")
        @Interleavings
        void everyCall(Actors actors) {}

        @Interleavings(preemptions = 9)
        void manyOrders(Actors actors) {
            for (String name : List.of("a", "b", "c")) {
                for (int i = 0; i < 8; i++) {
                    actors.add(name, () -> {});
                }
            }
        }

        @Interleavings(limit = 100)
        void manyOrdersThatWait(Actors actors) {
            for (String name : List.of("a", "b", "c", "d", "e", "f")) {
                actors.add(name, when(() -> true, () -> {}));
            }
        }

        @Interleavings
        void notMade(Actors actors) {
            throw new IllegalStateException("of the method");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "noActors | Mistakes.noActors: no actor has steps: add them by actors.add(\"device\", () -> ...)",
                "noParameter | Mistakes.noParameter: @Interleavings: take a parameter Actors, and add the actors to it",
                "noSteps | Mistakes.noSteps: actor 'device' has no steps: give it at least one lambda",
                "tooLate | Mistakes.tooLate: the steps run already: add all of them in the method itself, not within",
                "noProfile | Mistakes.noProfile: @Interleavings: ",
                "noPreemptions | Mistakes.noPreemptions: @Interleavings: preemptions = -1: expected 0 or more",
                "noOrder | Mistakes.noOrder: @Interleavings: order 'first': expected an order that a failure names,"
                        + " such as",
                "anothersOrder | Mistakes.anothersOrder: order A1C1 does not fit: its step 2 cannot run: there are"
                        + " only 2 actors; it belongs to another test, or the test has changed since",
                "oldOrder | Mistakes.oldOrder: order A1B2 does not fit: its step 3 cannot run: b has only 1 step;",
                "twoExtensions | @KvmTest and @Interleavings both run the method: choose one of them",
                "everyCall | Mistakes.everyCall: @Interleavings: @EveryCallInTurn is for methods with @KvmTest: use",
                "manyOrders | Mistakes.manyOrders: 224196720 orders of a (8 steps), b (8 steps), c (8 steps) with"
                        + " preemptions = 9 are more than limit = 10000: lower preemptions to 2, which has 2022, give the",
                "manyOrdersThatWait | more than limit = 100 orders",
                "notMade | of the method",
            })
    void mistakeIsOneSentence(String method, String sentence) {
        List<Outcome> said = KitRun.of(Mistakes.class);
        assertThat(said.stream().filter(outcome -> outcome.said().contains(sentence)))
                .as(said.toString())
                .hasSizeBetween(1, 2)
                .allMatch(outcome -> !outcome.said().contains("\n"));
    }

    static class OfBeforeEach {
        @BeforeEach
        void prepare(Vm vm) {}

        @Interleavings
        void test(Actors actors) {
            actors.add("a", () -> {});
        }
    }

    @Test
    void otherMethodsTakeNothingOfTheKit() {
        assertThat(KitRun.single(OfBeforeEach.class).said())
                .contains("a parameter Vm is passed only to the method with @Interleavings, because each order has a"
                        + " fresh one");
    }

    @KvmTest(profiles = "6.1", vcpus = 2)
    static class OfAClass {
        @Interleavings
        void takesTheClass(Actors actors, KvmHost host) {
            host.vm();
            actors.add("a", () -> SEEN.add(host.fake() + " " + host.vcpu(1).received(vector(0x33))));
        }
    }

    @Test
    void settingsOfTheClassHold() {
        assertThat(KitRun.single(OfAClass.class).name()).isEqualTo("[fake 6.1]");
        assertThat(SEEN).containsExactly("fake kernel 6.1 0");
    }
}
