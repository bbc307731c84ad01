/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Probes on a tracefs that refuses as the kernel does. {@code LiveProbesContract} sets them on real kernels. */
class ProbesTest {
    private static final String OWN = "kvmirq-4711-123456-4026531836";
    private static final String OTHER = "kvmirq-4712-123456-4026531836";
    private static final String NAME = OWN.replace('-', '_');

    private final FakeTracefs tracefs = new FakeTracefs();

    private Known<Probes> begun(String owner) {
        return Probes.set(tracefs, owner, new KvmBtf().types(), new KvmBtf().types(), Set.of(100));
    }

    private Probes begin(String owner) {
        Known<Probes> probes = begun(owner);
        assertThat(probes).isInstanceOf(Known.Observed.class);
        return probes.known().orElseThrow();
    }

    private static String why(Known<?> fact) {
        assertThat(fact).isInstanceOf(Known.Unknown.class);
        return ((Known.Unknown<?>) fact).why();
    }

    @Test
    void listSaysAllThatIsWritten() throws IOException {
        begin(OWN).close();
        assertThat(tracefs.isEmpty()).isTrue();
        assertThat(tracefs.written).isEqualTo(Files.readAllLines(Path.of("src/docs/probes.txt")));
    }

    @Test
    void offsetsAreThoseOfTheKernel() {
        Known<ProbePlan> plan = ProbePlan.plan(
                NAME,
                new KvmBtf()
                        .at("wait", 16)
                        .at("eventfd", 200)
                        .at("gsi", 4)
                        .at("id", 96)
                        .types(),
                new KvmBtf().types());
        assertThat(plan.known().orElseThrow().wakeup())
                .contains(" id=+96(+184($arg1)):s32 ", "(-16($arg1)):s32 gsi=-12($arg1):s32 ");
    }

    /** Linux 6.12 gives the context to the handler of INTx, older ones the device. */
    @Test
    void eventfdOfIntxIsFoundWhereTheKernelKeepsIt() {
        assertThat(intx(new KvmBtf()).known().orElseThrow())
                .endsWith(
                        " vfio_pci_core:vfio_intx_handler irq=$arg1:s32 eventfd=+0(+1040($arg2)):u64 id=+44(+0(+1040($arg2))):s32");
        assertThat(intx(new KvmBtf().withDeviceOfContext()).known().orElseThrow())
                .endsWith(" id=+44(+8($arg2)):s32");
        assertThat(why(intx(new KvmBtf().withoutArrayOfContexts())))
                .isEqualTo("this kernel's vfio_pci_core_device.ctx is not a pointer");
        Probes probes = Probes.set(
                        tracefs,
                        OWN,
                        new KvmBtf().types(),
                        new KvmBtf().without("vfio_intx_handler").types(),
                        Set.of(100))
                .known()
                .orElseThrow();
        assertThat(probes.read().known().orElseThrow().missing())
                .singleElement()
                .asString()
                .startsWith("INTx is not counted: ")
                .contains("vfio_intx_handler");
        probes.close();
    }

    /** Otherwise a later vector of the same thread is joined with the eventfd of a pin that was masked. */
    @Test
    void variablesOfAWorkerAreReadWhenItIsDone() {
        begin(OWN).close();
        String worker = line(NAME + "_worker/trigger hist");
        String read = tracefs.written.stream()
                .filter(line -> line.contains(NAME + "_raised/trigger hist"))
                .collect(Collectors.joining(" "));
        assertThat(worker).contains(":r=id,v=id");
        assertThat(read).contains(",$r,", ",$v)");
    }

    private String line(String part) {
        return tracefs.written.stream()
                .filter(line -> line.contains(part))
                .findFirst()
                .orElseThrow();
    }

    /** The ITS takes a message in the handler or in a worker. Interrupts that each vCPU has of its own are left out. */
    @Test
    void vcpuIsThatOfTheVgicOnArm() {
        Probes probes = Probes.set(tracefs, OWN, new KvmBtf().withVgic().types(), new KvmBtf().types(), Set.of(100))
                .known()
                .orElseThrow();
        assertThat(tracefs.written)
                .contains(
                        "kprobe_events p:kvmirq/" + NAME
                                + "_queued kvm:vgic_queue_irq_unlock vec=+56($arg2):u32 vcpu=+20(+48($arg2)):u32",
                        "synthetic_events " + NAME + "_to_vcpu s32 id; u32 vcpu; u32 vec")
                .filteredOn(line -> line.contains(NAME + "_queued/trigger "))
                .satisfiesExactly(
                        worker -> assertThat(worker)
                                .contains("(kvmirq." + NAME + "_worker)")
                                .endsWith(" if vec >= 32"),
                        handler -> assertThat(handler)
                                .contains("(kvmirq." + NAME + "_wakeup)")
                                .endsWith(" if vec >= 32 && common_flags & 8"));
        probes.close();
        assertThat(tracefs.isEmpty()).isTrue();
    }

    /** As in Debian's 7.2 of arm64. */
    @Test
    void kernelThatDoesNotNameTheVcpuIsSaid() {
        tracefs.kvm.remove("kvm_apic_accept_irq");
        Probes probes = begin(OWN);
        assertThat(probes.read().known().orElseThrow().missing())
                .singleElement()
                .asString()
                .startsWith("vCPUs are not shown: ")
                .contains("vgic_queue_irq_unlock");
        probes.close();
    }

    private static Known<String> intx(KvmBtf vfio) {
        return ProbePlan.plan(NAME, new KvmBtf().types(), vfio.types())
                .known()
                .orElseThrow()
                .intx();
    }

    private static long[] row(long... values) {
        return values;
    }

    private ProbeCounts counted() {
        try (Probes probes = begin(OWN)) {
            return probes.read().known().orElseThrow();
        }
    }

    /** Two VMs have an irqfd on eventfd 7, and one has one on eventfd 8. */
    @Test
    void irqfdHasTheCountsOfItsEventfdAndItsVm() {
        long upper = -1L << 32 | 0xfee00000L;
        tracefs.counts(NAME + "_wakeup", ProbePlan.IRQFDS, row(1, 7, 24, 10), row(2, 7, 25, 20), row(3, 8, 26, 30))
                .counts(NAME + "_wakeup", ProbePlan.VMS, row(1, 7, 100, 10), row(2, 7, 200, 20), row(3, 8, 300, 30))
                .counts(NAME + "_wakeup", ProbePlan.ROUTES, row(1, 7, 2, 10), row(2, 7, 0, 20), row(3, 8, 2, 30))
                .counts(NAME + "_wakeup", ProbePlan.MESSAGES, row(7, 0xfee01000L, 0x41, 10), row(8, upper, 0x142, 30))
                .counts(NAME + "_sent", ProbePlan.RESULTS, row(1, 7, 1, 10), row(2, 7, 0, 20), row(3, 8, -1, 30));
        ProbeCounts.Message first = new ProbeCounts.Message(0xfee01000L, 0x41);
        ProbeCounts.Message second = new ProbeCounts.Message(upper, 0x142);
        assertThat(counted().irqfds())
                .containsExactly(
                        new ProbeCounts.Irqfd(7, 24, 100, 10, Map.of(2, 10L), Set.of(first), Map.of(1, 10L)),
                        new ProbeCounts.Irqfd(7, 25, 200, 20, Map.of(0, 20L), Set.of(first), Map.of(0, 20L)),
                        new ProbeCounts.Irqfd(8, 26, 300, 30, Map.of(2, 30L), Set.of(second), Map.of(-1, 30L)));
        assertThat(second.hasVector()).as("lowest priority has a vector").isTrue();
        assertThat(new ProbeCounts.Message(upper, 0x242).hasVector())
                .as("an SMI has none")
                .isFalse();
    }

    /** A VMM that polls the eventfd waits by another function. */
    @Test
    void onlyASecondIrqfdIsStarved() {
        tracefs.counts(NAME + "_wakeup", ProbePlan.FUNCTION, row(0xf00d, 9))
                .counts(NAME + "_wakeup", ProbePlan.WAITERS, row(7, 0xf00d, 100, 5), row(8, 0xbeef, 200, 4));
        assertThat(counted().starved()).containsExactly(new ProbeCounts.Starved(7, 100));
    }

    @Test
    void timesAreThoseOfTheirEventfd() {
        tracefs.counts(NAME + "_to_delivered", "id,ns.log2", row(7, 10, 3), row(7, 12, 1), row(8, 11, 2))
                .counts(NAME + "_to_delivered", "id", row(7, 4, 3000), row(8, 2, 2000));
        assertThat(counted().latencies())
                .containsExactly(
                        new ProbeCounts.Latency(
                                ProbeCounts.Stage.DELIVERED, 7, new TreeMap<>(Map.of(10, 3L, 12, 1L)), 3000),
                        new ProbeCounts.Latency(ProbeCounts.Stage.DELIVERED, 8, new TreeMap<>(Map.of(11, 2L)), 2000));
    }

    /** Lets the last histogram of an event drop events. */
    private void drop(String event, int count) {
        tracefs.texts.computeIfPresent(
                event + "/hist", (name, text) -> text.replaceFirst("(?s)(.*Dropped: )0", "$1" + count));
    }

    private ProbeCounts dropping(String event, String keys) {
        tracefs.texts.keySet().removeIf(name -> name.endsWith("/hist"));
        tracefs.counts(event, keys);
        drop(event, 3);
        return counted();
    }

    @Test
    void droppedEventsOfEachHistogramAreMissed() {
        String[][] histograms = {
            {NAME + "_host_irq", ProbePlan.HANDLERS},
            {NAME + "_wakeup", ProbePlan.IRQFDS},
            {NAME + "_wakeup", ProbePlan.VMS},
            {NAME + "_wakeup", ProbePlan.ROUTES},
            {NAME + "_wakeup", ProbePlan.MESSAGES},
            {NAME + "_sent", ProbePlan.RESULTS},
            {NAME + "_delivered", ProbePlan.CPU},
            {NAME + "_by_worker", ProbePlan.RAISES},
            {NAME + "_unrouted", ProbePlan.EVENTFD},
            {NAME + "_worker", ProbePlan.EVENTFD},
            {ProbePlan.INJECTED, "common_pid,vector"},
            {ProbePlan.ENDED, ProbePlan.ENDS}
        };
        for (String[] histogram : histograms) {
            assertThat(dropping(histogram[0], histogram[1]).missed())
                    .as(histogram[0] + " of " + histogram[1])
                    .isEqualTo(3);
        }
        ProbeCounts untimed = dropping(NAME + "_to_delivered", "id,ns.log2");
        assertThat(untimed.missing()).singleElement().asString().startsWith("latencies leave out 3 times");
        assertThat(untimed.missed()).as("a time is no event").isZero();
        tracefs.text("kprobe_profile", "  " + NAME + "_wakeup  10  4\n  other_wakeup  10  9\n");
        assertThat(counted().missed()).as("events that a probe missed").isEqualTo(4);
    }

    /** A later stage must not count fewer events than an earlier one, so its histogram is read later. */
    @Test
    void histogramsAreReadInTheOrderOfTheStages() {
        counted();
        assertThat(tracefs.read)
                .containsSubsequence(
                        NAME + "_host_irq", NAME + "_wakeup", NAME + "_sent", NAME + "_by_worker", NAME + "_to_vcpu");
        assertThat(tracefs.read.indexOf("kvm_inj_virq")).isGreaterThan(tracefs.read.lastIndexOf(NAME + "_to_vcpu"));
        assertThat(tracefs.read.indexOf("kvm_eoi")).isGreaterThan(tracefs.read.indexOf("kvm_inj_virq"));
    }

    /** A filter of more conditions does not fit. */
    @ParameterizedTest
    @CsvSource({"100, true", "101, false"})
    void entryIsTimedForAHundredThreads(int threads, boolean timed) {
        Set<Integer> tids = IntStream.range(0, threads).boxed().collect(Collectors.toSet());
        Probes.set(tracefs, OWN, new KvmBtf().types(), new KvmBtf().types(), tids)
                .known()
                .orElseThrow()
                .close();
        assertThat(tracefs.written.toString().contains(NAME + "_to_taken")).isEqualTo(timed);
    }

    /** Before each write of a run, and of its end. */
    @Test
    void nextCommandRemovesWhatAKilledOneLeft() {
        begin(OWN).close();
        int all = tracefs.written.size();
        for (int kill = 0; kill < all; kill++) {
            Probes other = begin(OTHER);
            tracefs.killAt(kill);
            assertThatThrownBy(() -> begin(OWN).close()).isInstanceOf(FakeTracefs.Killed.class);
            tracefs.killAt(Integer.MAX_VALUE);
            List<String> removed = ProbeFiles.removeLeft(tracefs, OWN::equals);
            if (kill == 0 || kill == all) {
                assertThat(removed).isEmpty();
            } else {
                assertThat(removed)
                        .as("killed at %s", kill)
                        .containsExactly("removed the probes " + OWN + ", which a killed kvmirq had left");
            }
            assertThat(tracefs.probes).as("killed at %s", kill).hasSize(5);
            other.close();
            assertThat(tracefs.isEmpty()).as("killed at %s", kill).isTrue();
        }
    }

    /** Eventfd 9 is that of irq 28 after it was that of irq 27. */
    @Test
    void laterReadingHasTheCountsSinceTheOneBefore() {
        String profile = "  " + NAME + "_wakeup  10  %d\n";
        tracefs.counts("_host_irq", "irq,id", new long[] {27, 9, 12})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 12})
                .counts("_wakeup", "id,address,data", new long[] {9, 0xfee00000L, 0x41, 12})
                .text("kprobe_profile", String.format(profile, 4));
        drop("_wakeup", 3);
        Probes probes = begin(OWN);
        assertThat(probes.readMore().known().orElseThrow().handlers())
                .containsExactly(new ProbeCounts.Handler(27, 9, 12));
        assertThat(probes.readMore().known().orElseThrow().handlers()).isEmpty();
        tracefs.text("_host_irq/hist", "")
                .text("_wakeup/hist", "")
                .text("kprobe_profile", String.format(profile, 5))
                .counts("_host_irq", "irq,id", new long[] {27, 9, 12}, new long[] {28, 9, 7})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 12}, new long[] {-8192, 9, 25, 7})
                .counts("_wakeup", "id,address,data", new long[] {9, 0xfee00000L, 0x41, 12}, new long[] {
                    9, 0xfee00000L, 0x42, 7
                });
        drop("_wakeup", 5);
        ProbeCounts more = probes.readMore().known().orElseThrow();
        assertThat(more.handlers()).containsExactly(new ProbeCounts.Handler(28, 9, 7));
        assertThat(more.irqfds()).singleElement().satisfies(irqfd -> {
            assertThat(irqfd.gsi()).isEqualTo(25);
            assertThat(irqfd.signals()).isEqualTo(7);
            assertThat(irqfd.messages()).containsExactly(new ProbeCounts.Message(0xfee00000L, 0x42));
        });
        assertThat(more.missed()).as("1 by a probe, 2 by one of two histograms").isEqualTo(3);
        probes.close();
    }

    @Test
    void refusedStepIsToldAndNothingIsLeft() {
        begin(OWN).close();
        List<String> begins =
                tracefs.written.stream().takeWhile(line -> line.contains(" ")).toList();
        int counts = begins.indexOf("synthetic_events " + NAME + "_to_taken s32 id; u64 ns");
        assertThat(counts).isGreaterThan(0);
        for (int refused = 0; refused < begins.size(); refused++) {
            tracefs.refuseAt(refused);
            Known<Probes> begun = begun(OWN);
            if (refused < counts) {
                assertThat(why(begun)).endsWith(": " + Errno.EPERM);
            } else {
                // Latency is an addition.
                Probes probes = begun.known().orElseThrow();
                assertThat(probes.read().known().orElseThrow().missing())
                        .singleElement()
                        .asString()
                        .startsWith("latency is not measured: ")
                        .endsWith(": " + Errno.EPERM);
                probes.close();
            }
            assertThat(tracefs.isEmpty()).as("refused at %s", refused).isTrue();
        }
    }

    @Test
    void functionThatIsGoneIsNamed() {
        assertThat(why(ProbePlan.plan(NAME, new KvmBtf().without("irqfd_wakeup").types(), new KvmBtf().types())))
                .contains("irqfd_wakeup");
        tracefs.functions.remove("kvm_arch_set_irq_inatomic");
        assertThat(why(begun(OWN)))
                .isEqualTo("the function kvm:kvm_arch_set_irq_inatomic cannot be probed: " + Errno.ENOENT);
        assertThat(tracefs.isEmpty()).isTrue();
    }

    @ParameterizedTest
    @CsvSource({"kprobe_events, KPROBE_EVENTS", "synthetic_events, SYNTH_EVENTS"})
    void kernelWithoutTheConfigurationIsNotWrittenTo(String file, String configuration) {
        tracefs.top.remove(file);
        assertThat(begun(OWN))
                .isEqualTo(new Known.Unknown<>(
                        "this kernel has no " + file + " in tracefs", "use a kernel with CONFIG_" + configuration));
        assertThat(tracefs.written).isEmpty();
    }

    @Test
    void hostWithoutVfioIsWatchedFromTheEventfdOn() {
        Probes probes = Probes.set(
                        tracefs,
                        OWN,
                        new KvmBtf().types(),
                        new KvmBtf().without("vfio_msihandler").types(),
                        Set.of())
                .known()
                .orElseThrow();
        assertThat(tracefs.probes).hasSize(4);
        assertThat(probes.read().known().orElseThrow().missing())
                .singleElement()
                .asString()
                .contains("vfio_msihandler");
        probes.close();
        assertThat(tracefs.isEmpty()).isTrue();
    }
}
