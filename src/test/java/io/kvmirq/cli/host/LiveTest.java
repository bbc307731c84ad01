/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.trace.FakeTracefs;
import io.kvmirq.host.trace.Probes;
import io.kvmirq.host.trace.RecordedTracing;
import io.kvmirq.host.trace.TextTrace;
import io.kvmirq.host.trace.Tracing;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.testing.Recorded;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Hosts that change while {@code explain} and {@code list} watch them, with traces of machines of the lab. */
class LiveTest {
    @TempDir
    private Path temporary;

    private static final String AMD = "0000:00:02.0";
    private static final String INTEL = "0000:00:01.0";
    private static final String INTERRUPTS = "proc/interrupts";

    /** A host before and after, and its trace; its clock stands still but for the wait. */
    private static final class Watched implements LiveHost {
        private final RecordedHost host;
        private final Known<Tracing> tracing;
        private final List<String> tidied;
        private HostFiles now;
        private long nanos;

        Watched(RecordedHost host, Known<Tracing> tracing, String... tidied) {
            this.host = host;
            this.now = host.tree();
            this.tracing = tracing;
            this.tidied = List.of(tidied);
        }

        @Override
        public HostFiles files() {
            return now;
        }

        @Override
        public List<String> tidy() {
            return tidied;
        }

        @Override
        public Known<Tracing> tracing() {
            return tracing;
        }

        @Override
        public Known<Tracing> tracing(Set<Integer> threads) {
            throw new AssertionError("nobody asks for " + threads);
        }

        @Override
        public long nanos() {
            return nanos;
        }

        @Override
        public Duration cpu() {
            return Duration.ofMillis(100 + nanos / 500_000_000);
        }

        @Override
        public void await(CountDownLatch early, int seconds) {
            nanos += Duration.ofSeconds(seconds).toNanos();
            now = host.tree();
            change.run();
            now = host.tree();
        }

        private Optional<Known<Probes>> probes = Optional.empty();

        Watched with(Known<Probes> counting) {
            probes = Optional.of(counting);
            return this;
        }

        @Override
        public Optional<Known<Probes>> probes(Set<Integer> threads) {
            return probes;
        }

        private Runnable change = () -> {};

        Watched during(Runnable happens) {
            change = happens;
            return this;
        }
    }

    /** The numbers of a trace's threads have these names. */
    private static RecordedHost tasks(RecordedHost host, String trace) {
        TextTrace.tasks(trace).forEach((tid, name) -> host.put("proc/" + tid + "/comm", name + "\n"));
        return host;
    }

    private static Known<Tracing> traced(String machine, String trace) throws IOException {
        return new Known.Observed<>(RecordedTracing.of(machine, trace, 0));
    }

    /** Adds to the first count of a row. */
    private static void count(RecordedHost host, String row, int more) {
        Matcher line = Pattern.compile("(?m)^( *" + row + ": *)(\\d+)")
                .matcher(host.tree().text(INTERRUPTS).orElse(""));
        assertThat(line.find()).as(row).isTrue();
        host.put(INTERRUPTS, line.replaceFirst(line.group(1) + (Integer.parseInt(line.group(2)) + more)) + "\n");
    }

    /** Runs list or explain on a host; explain without the name of a command. */
    static Cli.Ended run(LiveHost host, String... arguments) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(
                new PrintStream(out, true, StandardCharsets.UTF_8),
                new PrintStream(err, true, StandardCharsets.UTF_8),
                false,
                Terminal.DEFAULT_COLUMNS,
                0);
        boolean named = arguments.length > 0 && List.of("list", "explain").contains(arguments[0]);
        List<String> all = new ArrayList<>(named ? List.of() : List.of("explain"));
        all.addAll(List.of(arguments));
        int code = new Commands(List.of(
                        new Commands.Named(Commands.Audience.ALL, "explain", "", new ExplainCommand(host)),
                        new Commands.Named(Commands.Audience.ALL, "list", "", new ListCommand(host))))
                .run(all.toArray(String[]::new), terminal);
        return new Cli.Ended(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    private static void assertGolden(Cli.Ended printed, String name) throws IOException {
        assertThat(printed.out()).isEqualTo(Recorded.text(LiveTest.class, name, printed.out()));
        assertThat(printed.err()).isEqualTo("kvmirq: watching for 10 s; Ctrl-C ends that early\n");
    }

    /** KVM takes each message in the handler of its host irq. */
    @Test
    void deliveryThroughTheHostIsObserved() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        Watched watched = new Watched(host, traced("x86-7.2", RecordedTracing.trace("x86-7.2"))).during(() -> {
            for (int irq = 27; irq <= 31; irq++) {
                count(host, String.valueOf(irq), 2);
            }
        });
        Cli.Ended printed = run(watched, AMD, "--live", "10").exited(ExitCode.of(Hop.POSTING));
        assertGolden(printed, "explain-live-amd.txt");
    }

    /** An irqfd of process 100, in wait queue entry 1, takes the signals of eventfd 9, to which host irq 27 signals. */
    private static FakeTracefs counted(int handled, int woken, int routed, long result) {
        FakeTracefs tracefs = new FakeTracefs().counts("_host_irq", "irq,id", new long[] {27, 9, handled});
        if (woken > 0) {
            tracefs.counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, woken}, new long[] {-8192, 3, 5, 7})
                    .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, woken}, new long[] {-8192, 3, 100, 7})
                    .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 2, routed}, new long[] {-8192, 3, 1, 7})
                    .counts("_wakeup", "id,address,data", new long[] {9, 0xfee01000L, 0x4041, woken})
                    .counts("_wakeup", "id,common_pid", new long[] {3, 100, 4}, new long[] {3, 108, 2}, new long[] {
                        3, 7, 1
                    });
            if (woken > routed) {
                tracefs.counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 0, woken - routed})
                        .counts("_by_worker", "id,ret", new long[] {9, -1, woken - routed})
                        .counts("_unrouted", "id", new long[] {9, woken - routed});
            }
            tracefs.counts(
                    "_sent",
                    "wait,id,ret",
                    new long[] {-4096, 9, result, routed},
                    new long[] {-4096, 9, -11, woken - routed},
                    new long[] {-8192, 3, -11, 7});
        }
        return tracefs;
    }

    private String apicVirtualization = "Y";

    private String sharers = "";

    /** The counts of the VMM's eventfds, by their ids. Eventfd 9 has kept all of its signals. */
    private Map<Integer, Integer> eventfds = Map.of(9, 20);

    /** Whether the VMM has eventfds beside those. */
    private boolean others = true;

    /** @param broken the exit code of the broken link; 0 without one: then the host handles what it could post */
    private String explained(FakeTracefs tracefs, int broken, String... more) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .put("proc/100/task/100/comm", "web\n")
                .put("proc/100/comm", "web\n")
                .put("proc/108/comm", "vhost-100\n")
                .put("sys/module/kvm_amd/parameters/avic", apicVirtualization + "\n");
        if (!others) {
            IntStream.range(20, 25).forEach(fd -> host.remove("proc/100/fd/" + fd));
        }
        eventfds.forEach((id, count) -> host.link("proc/100/fd/" + (30 + id), "anon_inode:[eventfd]")
                .put(
                        "proc/100/fdinfo/" + (30 + id),
                        "pos:\t0\neventfd-count: " + Integer.toHexString(count) + "\neventfd-id: " + id + "\n"));
        host.put(
                INTERRUPTS,
                host.tree().text(INTERRUPTS).orElse("").replaceFirst("(?m)^( *27: .*)$", "$1" + sharers) + "\n");
        Watched watched = new Watched(host, traced("x86-7.2", ""))
                .during(() -> count(host, "27", 20))
                .with(tracefs.begin());
        List<String> all = new ArrayList<>(List.of(AMD, "0", "--live", "10"));
        all.addAll(List.of(more));
        int exitCode = broken == 0 && apicVirtualization.equals("Y") ? ExitCode.of(Hop.POSTING) : broken;
        String out = run(watched, all.toArray(String[]::new)).exited(exitCode).out();
        assertThat(tracefs.isEmpty()).isTrue();
        return out;
    }

    /** The only eventfd of the VMM is not the one that the handler signals. */
    @Test
    void filesAndProbesThatDifferAreInDoubt() throws IOException {
        others = false;
        assertThat(explained(counted(20, 20, 20, 1), 0))
                .contains("  eventfd        ok         id 9: signalled by the handler, descriptor 39 of process 100")
                .doesNotContain("sources disagree");
        eventfds = Map.of(8, 20);
        assertThat(explained(counted(20, 20, 20, 1), 0).replaceAll("\\s+", " "))
                .contains(
                        " eventfd doubtful id 9: sources disagree: id 8 [inferred: it is the only eventfd of process 100],"
                                + " but id 9 [observed: live, the probe of VFIO's handler]; one describes another"
                                + " interrupt, or the value changed in between")
                .contains(" do: look again");
    }

    @Test
    void stagesAreCountedFromTheDeviceToTheVcpu() throws IOException {
        FakeTracefs whole =
                counted(20, 20, 20, 1).counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 18});
        whole.counts("_by_worker", "id,ret", new long[] {3, 1, 4}, new long[] {3, 0, 1}, new long[] {3, -1, 1});
        assertThat(explained(whole, 0))
                .contains(
                        "  eventfd        ok         id 9: signalled by the handler",
                        "  irqfd          ok         process 100: KVM raises the interrupt itself, so it is not posted"
                                + " [observed: live, the probe of irqfd_wakeup]\n",
                        "  GSI            ok         gsi 24: the irqfd raises it",
                        "  guest vector   ok         0x41: from message address 0xfee01000, data 0x4041",
                        """
                          stages, counted in the kernel:
                            host irq             20  27
                            eventfd              20  id 9
                            irqfd                20  process 100
                            GSI                  20  gsi 24
                            delivered            20  address 0xfee01000, data 0x4041
                            taken                18  vector 0x41 by vcpu 0; 2 were merged or are pending
                            first to lose interrupts: none
                          stages, counted in the kernel:
                            eventfd               7  id 3, signalled by a process that is not in /proc (thread 7), the VMM (web, thread 100), vhost (vhost-100, thread 108)
                            irqfd                 7  process 100
                            GSI                   7  gsi 5
                            delivered             0
                            by a worker           7  a pin: 4 raised, 1 merged, or the LAPIC is off, 1 not raised: the pin is masked, or its EOI is due, 1 merged, or pending
                            first to lose interrupts: none
                            in doubt: by a worker: 1 that were merged, or whose LAPIC is off
                        """);
    }

    /** Eventfd 9 has pins of a PIC and an IOAPIC, as KVM's default routes have them: type 0 too. */
    private static FakeTracefs twoRoutes(int raised, int refused) {
        return new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {27, 9, 20})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 10, 20})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, 20})
                .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 0, 20})
                .counts("_wakeup", "id,address,data", new long[] {9, 0, 0, 20})
                .counts("_sent", "wait,id,ret", new long[] {-4096, 9, -11, 20})
                .counts("_by_worker", "id,ret", new long[] {9, 1, raised}, new long[] {9, -1, refused});
    }

    @Test
    void severalRoutesOfAGsiAreNoMissingRoute() throws IOException {
        apicVirtualization = "N";
        assertThat(explained(
                        twoRoutes(20, 0)
                                .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 20})
                                .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 20})
                                .counts("kvm_eoi", "common_pid,vector", new long[] {101, 0x41, 20}),
                        0))
                .contains("  GSI            ok         gsi 10: the irqfd raises it", """
                            GSI                  20  gsi 10
                            delivered             0
                            by a worker          20  a pin: 20 raised
                            taken                20  vector 0x41 by vcpu 0
                            first to lose interrupts: none
                        """)
                .doesNotContain("in doubt");
        String notRaised =
                "    by a worker          20  a pin: 0 raised, 20 not raised: the pin is masked, or its EOI is"
                        + " due\n    first to lose interrupts: none\n";
        String wait = " still waiting, unless the guest has since unmasked the pin or signalled its EOI\n";
        assertThat(explained(twoRoutes(0, 20), 0)).contains(notRaised + "    in doubt: by a worker: 20" + wait);
        for (int taken : List.of(17, 20)) {
            FakeTracefs partial = twoRoutes(15, 5)
                    .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 15})
                    .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, taken})
                    .counts("kvm_eoi", "common_pid,vector", new long[] {101, 0x41, taken});
            assertThat(explained(partial, 0).contains("    in doubt: by a worker: 3" + wait))
                    .as("a guest that took %s of 20", taken)
                    .isEqualTo(taken == 17);
        }
        assertThat(explained(twoRoutes(0, 20).counts("1836_worker", "id", new long[] {9, 20}), 0))
                .contains(notRaised
                        + "    in doubt: by a worker: 20 that were not raised, and KVM keeps none because the irqfd has"
                        + " no"
                        + " resample eventfd\n");
        assertThat(explained(twoRoutes(0, 20).counts("_unrouted", "id", new long[] {9, 20}), 14))
                .contains("    first to lose interrupts: GSI: 20 signals while the GSI had no route\n");
    }

    @Test
    void pinThatNoVcpuTakesIsInDoubt() throws IOException {
        apicVirtualization = "N";
        assertThat(explained(twoRoutes(20, 0).counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 20}), 0))
                .contains("    first to lose interrupts: none\n    in doubt: taken: 20 that no vCPU took: it is not"
                        + " running, or has interrupts off; one may be pending\n");
    }

    /** Two vCPUs get each of 20 messages by a worker. */
    @Test
    void messageToManyIsTakenByEach() throws IOException {
        apicVirtualization = "N";
        assertThat(explained(
                        counted(20, 20, 20, -11)
                                .counts("_by_worker", "id,ret", new long[] {9, 2, 20})
                                .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 20}, new long[] {
                                    9, 1, 0x41, 20
                                })
                                .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 20}, new long[] {
                                    102, 0x41, 19
                                })
                                .counts("kvm_eoi", "common_pid,vector", new long[] {101, 0x41, 20}, new long[] {
                                    102, 0x41, 19
                                }),
                        0))
                .contains(
                        "    by a worker          20  a message to several vCPUs: 20 raised\n",
                        "    taken                39  vector 0x41 by vcpu 0, vcpu 1; 1 were merged or are pending\n"
                                + "    first to lose interrupts: none\n")
                .doesNotContain("in doubt: taken");
    }

    @Test
    void guestThatEndsNothingIsInDoubt() throws IOException {
        apicVirtualization = "N";
        assertThat(explained(
                        counted(20, 20, 20, 1).counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 1}),
                        0))
                .contains("""
                            first to lose interrupts: none
                            in doubt: taken: 19 that were merged or are pending; the guest took 1 and sent EOIs for 0
                        """);
        assertThat(explained(
                        twoRoutes(1, 0)
                                .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 1})
                                .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 1}),
                        0))
                .contains(
                        "    in doubt: by a worker: 19 that were merged or are pending; the guest took 1 and sent EOIs for 0\n");
    }

    /** The next waiter of the eventfd has the same function, so it is an irqfd too. */
    @Test
    void secondIrqfdOfAnEventfdStarves() throws IOException {
        assertThat(explained(
                        counted(20, 20, 20, 1)
                                .counts("_wakeup", "own", new long[] {-77, 20})
                                .counts("_wakeup", "id,next,other", new long[] {9, -77, 300, 20}, new long[] {3, 5, 0, 7
                                }),
                        0))
                .containsOnlyOnce("starves")
                .contains(
                        "    in doubt: irqfd: the signals go to process 100, so another irqfd on the same eventfd, in a"
                                + " VM that thread 300 created, starves\n");
    }

    /** Two signals came before their irqfd was assigned or counted, and another one found a message to many. */
    @Test
    void signalsOfWorkersAreNamedBesideDeliveredOnes() throws IOException {
        FakeTracefs counted = new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {27, 9, 20})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 20})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, 20})
                // The route of an irqfd that is deassigned is cleared first.
                .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 2, 19}, new long[] {-4096, 9, 0, 1})
                .counts("_wakeup", "id,address,data", new long[] {9, 0xfee00000L, 0x41, 19})
                .counts("_sent", "wait,id,ret", new long[] {-4096, 9, 1, 19}, new long[] {-4096, 9, -11, 1})
                .counts("_by_worker", "id,ret", new long[] {9, 1, 3})
                .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 3})
                .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 22});
        assertThat(explained(counted, 0)).contains("""
                            irqfd                20  process 100
                            GSI                  20  gsi 24
                            delivered            19  address 0xfee00000, data 0x41
                            by a worker           3  a message: 3 raised, 2 of these for signals before the watch, or before the irqfd was assigned
                            taken                22  vector 0x41 by vcpu 0
                            first to lose interrupts: none
                        """);
    }

    /** An NMI: no event shows that a vCPU took it. */
    @Test
    void messageWithoutAVectorIsNotTaken() throws IOException {
        apicVirtualization = "N";
        FakeTracefs counted = new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {27, 9, 20})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 20})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, 20})
                .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 2, 20})
                .counts("_wakeup", "id,address,data", new long[] {9, 0xfee00000L, 0x400, 20})
                .counts("_sent", "wait,id,ret", new long[] {-4096, 9, 1, 20});
        assertThat(explained(counted, 0))
                .contains("    first to lose interrupts: none\n")
                .doesNotContain("    taken ");
    }

    @Test
    void firstStageThatLosesIsNamed() throws IOException {
        assertThat(explained(counted(20, 0, 0, 0), 13))
                .contains(
                        "  irqfd          broken ",
                        "    first to lose interrupts: irqfd: 20 signals that no irqfd consumed\n");
        assertThat(explained(counted(20, 20, 0, 0), 14))
                .contains(
                        "  GSI            broken     gsi 24 has an irqfd but no route, so its signals are lost",
                        "    first to lose interrupts: GSI: 20 signals while the GSI had no route\n")
                .doesNotContain("by a worker          20");
        assertThat(explained(counted(20, 20, 15, 1), 14))
                .contains(
                        "\nfirst to lose interrupts: GSI (exit code 14)\n",
                        "    first to lose interrupts: GSI: 5 signals while the GSI had no route\n")
                .doesNotContain("nothing visible is broken");
        assertThat(explained(counted(20, 20, 20, 0), 16))
                .contains(
                        "  vCPU           broken ",
                        "    first to lose interrupts: delivered: 20 that KVM refused, 20 because no vCPU matches the"
                                + " destination, or"
                                + " its LAPIC is off\n");
        assertThat(explained(counted(20, 17, 17, 1), 13, "--json"))
                .contains(
                        "{\"hop\":\"irqfd\",\"label\":\"irqfd\",\"count\":17,\"atLeast\":false,\"value\":\"process 100\",\"latency\":null}")
                .contains("\"loses\":\"irqfd: 3 signals that no irqfd consumed\"");
    }

    /** As QEMU does while the guest masks a vector, or with x-no-kvm-msix. The last signals may not be read yet. */
    @ParameterizedTest
    @CsvSource({"0, 17", "0, 0", "1, 0", "2, 17"})
    void signalsThatTheVmmReadsItselfAreInDoubt(int unread, int irqfd) throws IOException {
        eventfds = Map.of(9, unread);
        String said = explained(counted(20, irqfd, irqfd, 1), 0);
        assertThat(said)
                .contains("    first to lose interrupts: none\n    in doubt: irqfd: " + (20 - irqfd)
                        + " signals that no irqfd consumed: the VMM may have read them, or an irqfd consumed"
                        + " them later\n");
        if (irqfd == 0) {
            assertThat(said)
                    .contains("  irqfd          not shown  no irqfd consumed the eventfd's signals; the VMM reads them"
                            + " and may inject the interrupt itself\n");
        }
    }

    /** A process without a VM may have it, or the VMM closed it after it had read the signals. */
    @Test
    void eventfdThatNoVmmHasOpenIsInDoubt() throws IOException {
        eventfds = Map.of();
        assertThat(explained(counted(20, 0, 0, 0), 0))
                .contains(
                        "  irqfd          doubtful   no irqfd consumed its signals, and no VMM has its eventfd open now",
                        "    in doubt: irqfd: 20 signals that no irqfd consumed: no VMM has the eventfd open now\n");
    }

    /** Signals that KVM does not keep come before those that may be pending. */
    @Test
    void earlierDoubtStays() throws IOException {
        apicVirtualization = "N";
        assertThat(explained(
                        twoRoutes(15, 5)
                                .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 0x41, 15})
                                .counts("1836_worker", "id", new long[] {9, 20}),
                        0))
                .contains(
                        "    taken                 0  vector 0x41\n",
                        "    in doubt: by a worker: 5 that were not raised");
    }

    @Test
    void messageThatAWorkerCannotDeliverIsLost() throws IOException {
        assertThat(explained(
                        counted(20, 20, 20, -11)
                                .counts("_by_worker", "id,ret", new long[] {9, 2, 12}, new long[] {9, -1, 8}),
                        16))
                .contains(
                        "    by a worker          20  a message to several vCPUs: 12 raised\n",
                        "    first to lose interrupts: delivered: 8 that KVM refused, 8 in a worker because no vCPU"
                                + " matches the"
                                + " destination, or its LAPIC is off\n");
        assertThat(explained(counted(20, 20, 20, 0).counts("_by_worker", "id,ret", new long[] {9, -1, 1}), 16))
                .contains("    first to lose interrupts: delivered: 21 that KVM refused, 20 because no vCPU matches the"
                        + " destination,"
                        + " or its LAPIC is off, 1 in a worker because no vCPU matches the destination, or its"
                        + " LAPIC is off\n");
    }

    /** A worker tries signals without a route, too. */
    @Test
    void signalWithoutARouteIsNoPinThatIsMasked() throws IOException {
        assertThat(explained(
                        counted(20, 20, 20, 1)
                                .counts("_wakeup", "wait,id,type", new long[] {-8192, 3, 0, 2})
                                .counts("_by_worker", "id,ret", new long[] {3, 1, 4}, new long[] {3, -1, 3})
                                .counts("_unrouted", "id", new long[] {3, 2}),
                        14))
                .contains("    by a worker           5  a pin: 4 raised, 1 not raised: the pin is masked, or its EOI"
                        + " is due\n    first to lose interrupts: GSI: 2 signals while the GSI had no route\n");
    }

    /** The handler of a line runs for each of its devices. */
    @Test
    void handlerOfASharedLineShowsNoLoss() throws IOException {
        sharers = ", ahci[0000:00:1f.2]";
        assertThat(explained(counted(20, 17, 17, 1), 0))
                .contains(
                        "    host irq             20  27\n",
                        "    eventfd        not seen  id 9: the line is shared, so other devices also run the"
                                + " handler\n")
                .doesNotContain("signals that no irqfd consumed");
    }

    /** The medians of 20 times, of which 9 are short, and the longest. */
    @Test
    void latencyOfEachStageIsTheMedianAndTheLongest() throws IOException {
        FakeTracefs counted =
                counted(20, 20, 20, 1).counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 18});
        for (String stage : List.of("irqfd", "delivered", "taken")) {
            counted.counts(
                            "_to_" + stage,
                            "id,ns.log2",
                            new long[] {9, 12, 9},
                            new long[] {9, 0, 0},
                            new long[] {9, 20, 11},
                            new long[] {3, 1, 1000})
                    .counts("_to_" + stage, "id", new long[] {9, 20, 1_040_007}, new long[] {3, 1000, 2});
        }
        assertThat(explained(counted, 0))
                .contains(
                        """
                            irqfd                20  process 100
                                                     after the handler: median in (524.288, 1048.576] us, at most 1040.007 us
                            GSI                  20  gsi 24
                            delivered            20  address 0xfee01000, data 0x4041
                                                     after the irqfd: median in (524.288, 1048.576] us, at most 1040.007 us
                            taken                18  vector 0x41 by vcpu 0; 2 were merged or are pending
                                                     after the irqfd: median in (524.288, 1048.576] us, at most 1040.007 us
                        """,
                        "    irqfd                 7  process 100\n" + " ".repeat(29)
                                + "after the handler: median in (0.001, 0.002] us, at most 0.002 us\n");
    }

    @Test
    void refusedMeasureOfLatencyLeavesTheCounts() throws IOException {
        FakeTracefs counted = counted(20, 20, 20, 1).refuse("synthetic/kvmirq_4711_123456_4026531836_to_delivered");
        assertThat(explained(counted, 0))
                .contains(
                        "    irqfd                20  process 100\n    GSI                  20  gsi 24\n",
                        "  note: latency is not measured: the kernel does not measure"
                                + " synthetic/kvmirq_4711_123456_4026531836_to_delivered: EINVAL\n");
    }

    /** Where APIC virtualization is on, hardware may have injected. */
    @Test
    void vectorThatNoVcpuTookIsInDoubtOnlyWhereKvmInjects() throws IOException {
        assertThat(explained(counted(20, 20, 20, 1), 0))
                .contains("    taken          not seen  vector 0x41: taken through hardware, or the vCPU did not"
                        + " run\n");
        apicVirtualization = "N";
        assertThat(explained(counted(20, 20, 20, 1), 0))
                .contains(
                        "    taken                 0  vector 0x41\n",
                        "    in doubt: taken: 20 that no vCPU took: it is not running, or has interrupts off; one may"
                                + " be pending\n");
        // The irqfd's row may be among the missed ones.
        assertThat(explained(
                        counted(20, 20, 20, 1)
                                .text("kprobe_profile", "  kvmirq_4711_123456_4026531836_wakeup   14   2\n"),
                        0))
                .contains(
                        "    taken          not seen  vector 0x41: KVM's injections were not all counted\n",
                        "    first to lose interrupts: none\n");
    }

    /** The kernel keeps one time for a vector. */
    @Test
    void latencyOfAVectorOfTwoVcpusIsNotSaid() throws IOException {
        FakeTracefs counted = counted(20, 20, 20, 1)
                .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 10}, new long[] {102, 0x41, 8})
                .counts("_to_taken", "id,ns.log2", new long[] {9, 12, 18})
                .counts("_to_taken", "id", new long[] {9, 18, 1_040_007});
        assertThat(explained(counted, 0))
                .contains("    taken                18  vector 0x41")
                .doesNotContain("us, at most");
    }

    @Test
    void missedProbesMakeACountTheLeast() throws IOException {
        String name = "kvmirq_4711_123456_4026531836";
        assertThat(explained(
                        counted(20, 20, 20, 1)
                                .text("kprobe_profile", "  " + name + "_wakeup   1014   2\n  other_wakeup   7   9\n"),
                        0))
                .contains(
                        "    irqfd        at least 20  process 100\n",
                        "  note: the probes and their histograms missed 2 events, so each count is a lower bound\n");
        assertThat(explained(
                        counted(20, 20, 20, 1)
                                .text(
                                        "_delivered/hist",
                                        "# trigger info: hist:keys=common_cpu:vals=hitcount [active]\n"
                                                + "Totals:\n    Hits: 9\n    Dropped: 4\n"),
                        0))
                .contains("histograms missed 4 events");
        for (int woken : List.of(18, 0)) {
            assertThat(explained(
                            counted(20, woken, woken, 1).text("kprobe_profile", "  " + name + "_wakeup   1   20\n"), 0))
                    .contains(
                            "    first to lose interrupts: none",
                            "signals that no irqfd consumed, if no probe missed" + " them")
                    .doesNotContain("  irqfd          broken ");
        }
        assertThat(explained(counted(20, 20, 20, 0).text("kprobe_profile", "  " + name + "_wakeup   1   2\n"), 16))
                .contains("    first to lose interrupts: delivered: 20 that KVM refused");
        // The names of threads and the times are no counts.
        assertThat(explained(
                        counted(20, 20, 20, 1)
                                .text(
                                        "_to_irqfd/hist",
                                        "# trigger info: hist:keys=id,ns.log2:vals=hitcount [active]\n"
                                                + "Totals:\n    Hits: 9\n    Dropped: 4\n"),
                        0))
                .contains(
                        "    irqfd                20  process 100\n",
                        "  note: latencies leave out 4 times that did not fit into the kernel's histogram\n");
    }

    @Test
    void withoutProbesTheTracepointsAnswerAlone() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        Known<Probes> refused = new Known.Unknown<>("this kernel has no kprobe_events", "another kernel");
        Watched watched = new Watched(host, traced("x86-7.2", "")).with(refused);
        assertThat(run(watched, AMD, "0", "--live", "10").exited(0).out())
                .contains("  not readable: this kernel has no kprobe_events\n", "  kvm_set_irq: 0\n")
                .doesNotContain("stages");
        for (String live : List.of("--live=tracepoints", "--live=10,tracepoints")) {
            assertThat(run(watched, AMD, "0", live).exited(0).out())
                    .contains("watched for 10.0 s", "  kvm_set_irq: 0\n")
                    .doesNotContain("kprobe_events");
        }
        assertThat(run(watched, "list", "--vm", "web", "--live", "10").exited(0).out())
                .doesNotContain("kprobe_events");
    }

    @Test
    void postedVectorPassesNoProbe() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted");
        Watched watched = new Watched(host, traced("x86-7.2", "")).with(new FakeTracefs().begin());
        assertThat(run(watched, INTEL, "--live", "10").exited(0).out())
                .contains("note: no stage counts it, because a posted interrupt reaches no probe")
                .doesNotContain("stages, counted");
    }

    @Test
    void listHasTheVectorsThatWereSeen() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        Watched watched = new Watched(host, traced("x86-7.2", RecordedTracing.trace("x86-7.2")))
                .during(() -> count(host, "27", 2));
        assertGolden(run(watched, "list", "--all", "--live", "10").exited(0), "list-live-amd.txt");
        assertThat(run(new Watched(host, traced("x86-7.2", "")), "list", "--vm", "web", "--live", "10", "--json")
                        .exited(0)
                        .out())
                .contains("\"live\":{\"milliseconds\":10000,");
    }

    @Test
    void listOfGuestsHasTheRatesBetweenTwoLooks() throws IOException {
        RecordedHost host = GuestHosts.of("vhost-kernel-threads");
        String vm = "sys/kernel/debug/kvm/100-5/";
        Watched watched = new Watched(host, traced("x86-6.1", ""))
                .during(() -> host.put(vm + "exits", "51000\n").put(vm + "irq_injections", "120\n"));
        assertGolden(run(watched, "list", "--live", "10").exited(0), "guests-live.txt");
        assertThat(run(
                                new Watched(host, traced("x86-6.1", "")).during(() -> host.put(vm + "exits", "1\n")
                                        .remove(vm + "irq_injections")),
                                "list",
                                "--live",
                                "10",
                                "--json")
                        .exited(0)
                        .out())
                .contains("\"milliseconds\":10000,", "\"perSecond\":{\"exits\":null,\"injected\":null}");
        assertThat(run(new Watched(GuestHosts.of("amd-avic"), traced("x86-6.1", "")), "list", "--live", "10")
                        .out())
                .contains("- exits/s, injected/s: KVM's counters were missing at the start or end of the watch;"
                        + " mount -t debugfs");
    }

    @Test
    void guestThatEndsBetweenTwoLooksIsNamed() throws IOException {
        RecordedHost host = GuestHosts.of("vhost-kernel-threads");
        assertThat(run(
                                new Watched(host, traced("x86-6.1", "")).during(() -> host.remove("proc/100/")),
                                "list",
                                "--live",
                                "10")
                        .exited(0)
                        .out())
                .startsWith("no visible process has a VM open\n")
                .contains("\n- guest web (process 100) ended between the two reads\n");
    }

    /** KVM asks for posting, and from then on the host irq is silent. */
    @Test
    void requestForPostingIsObserved() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted").remove("sys/kernel/debug/iommu");
        // arch_show_interrupts() in arch/x86/kernel/irq.c
        host.put(
                INTERRUPTS,
                host.tree().text(INTERRUPTS).orElse("")
                        + "\n PIN:          0          0   Posted-interrupt notification"
                        + " event\n PIW:          4          0   Posted-interrupt wakeup event\n");
        String asked = RecordedTracing.trace("x86-6.1-posted")
                .lines()
                .filter(line -> !line.contains("kworker"))
                .collect(Collectors.joining("\n"));
        Watched watched = new Watched(host, traced("x86-6.1", asked)).during(() -> count(host, "PIW", 3));
        Cli.Ended printed = run(watched, INTEL, "--live", "10").exited(0);
        assertGolden(printed, "explain-live-intel.txt");
    }

    /** On arm64 workers raise the GSI after the handler. */
    @Test
    void workersRaiseTheGsiOnArm() throws IOException {
        RecordedHost host = tasks(GuestHosts.of("gicv3"), RecordedTracing.trace("arm64-6.12"));
        Watched watched = new Watched(host, traced("arm64-6.12", RecordedTracing.trace("arm64-6.12")))
                .during(() -> count(host, "26", 2));
        assertGolden(run(watched, INTEL, "1", "--live", "10").exited(0), "explain-live-arm.txt");
    }

    /** Two LPIs of host irq 26, one of them by a worker. */
    private static FakeTracefs lpis() {
        return new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {26, 9, 2})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 2})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, 2})
                .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 2, 2})
                .counts("_wakeup", "id,address,data", new long[] {9, 0x8090040, 1, 2})
                .counts("_sent", "wait,id,ret", new long[] {-4096, 9, -11, 1}, new long[] {-4096, 9, 0, 1})
                .counts("_by_worker", "id,ret", new long[] {9, -1, 1})
                .counts("_to_vcpu", "id,vcpu,vec", new long[] {9, 0, 8193, 2});
    }

    /** The VGIC names interrupt and vCPU. A worker may return an error for a message that the ITS took. */
    @Test
    void vcpuOfAnLpiIsThatOfTheVgicAndAWorkerShowsNoLoss() throws IOException {
        Watched watched = new Watched(GuestHosts.of("gicv3"), traced("arm64-6.12", "")).with(lpis().begin());
        assertThat(run(watched, INTEL, "1", "--live", "10").exited(0).out())
                .contains(
                        "  guest vector   ok         interrupt 8193: queued in the VM's GIC",
                        "  vCPU           ok         vcpu 0: the target in the VM's GIC, which keeps a disabled"
                                + " interrupt"
                                + " pending [observed: live, the probe of vgic_queue_irq_unlock]\n",
                        "    delivered             1  address 0x8090040, data 0x1\n",
                        "    by a worker           1  a pin, or a message: the result is not shown\n"
                                + "    first to lose interrupts: none\n");
    }

    /** The host handled the irq, and no probe has hits. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "sys/kernel/debug/kprobes/enabled | kprobes are off (/sys/kernel/debug/kprobes/enabled is 0), so"
                        + " probes record no hits | echo 1 > /sys/kernel/debug/kprobes/enabled",
                "proc/sys/kernel/ftrace_enabled   | ftrace is off (kernel.ftrace_enabled is 0), so probes at the"
                        + " start of functions record no hits | sysctl kernel.ftrace_enabled=1"
            })
    void silenceOfAllProbesIsNamedWithItsCause(String file, String cause, String remedy) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic").put(file, "0\n");
        Watched watched = new Watched(host, traced("x86-7.2", ""))
                .during(() -> count(host, "27", 20))
                .with(new FakeTracefs().begin());
        assertThat(run(watched, AMD, "0", "--live", "10").exited(17).out())
                .contains(
                        "  not readable: " + cause + "\n                to see it: " + remedy + "\n",
                        "  note: host irq 27 has no stages: the host handled it 20 times, but the probe of VFIO's"
                                + " handler"
                                + " counted none: " + cause + "\n");
        host.put(file, "1\n");
        Watched again = new Watched(host, traced("x86-7.2", ""))
                .during(() -> count(host, "27", 20))
                .with(new FakeTracefs().begin());
        assertThat(run(again, AMD, "0", "--live", "10").exited(17).out())
                .contains("the probe of VFIO's handler counted none: no file shows why\n")
                .doesNotContain("not readable");
    }

    /** Process 100 ends, and another one has the guest. */
    private static void restart(RecordedHost host, int pid) {
        host.remove("proc/100/")
                .put("proc/" + pid + "/comm", "web\n")
                .put("proc/" + pid + "/cmdline", "qemu-system-x86_64\0-name\0guest=web\0")
                .put("proc/" + pid + "/task/" + pid + "/comm", "web\n")
                .put("proc/" + pid + "/task/" + (pid + 1) + "/comm", "CPU 0/KVM\n")
                .link("proc/" + pid + "/fd/5", "anon_inode:kvm-vm");
    }

    /** Process 100 took 30 messages, and process 200, which took its place, 20. */
    @Test
    void vmmThatRestartsMeanwhileLosesNothing() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .put("proc/100/task/100/comm", "web\n")
                .put("sys/module/kvm_amd/parameters/avic", "N\n");
        FakeTracefs counted = new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {27, 9, 50})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 30}, new long[] {-8192, 9, 24, 20})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 100, 30}, new long[] {-8192, 9, 200, 20})
                .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 2, 30}, new long[] {-8192, 9, 2, 20})
                .counts("_wakeup", "id,address,data", new long[] {9, 0xfee00000L, 0x41, 50})
                .counts("_sent", "wait,id,ret", new long[] {-4096, 9, 1, 30}, new long[] {-8192, 9, 1, 20})
                .counts("kvm_inj_virq", "common_pid,vector", new long[] {101, 0x41, 30}, new long[] {201, 0x41, 20});
        Watched watched = new Watched(host, traced("x86-7.2", ""))
                .during(() -> {
                    count(host, "27", 50);
                    restart(host, 200);
                })
                .with(counted.begin());
        assertThat(run(watched, AMD, "0", "--live", "10").out())
                .contains(
                        "    irqfd                50  process 100, process 200\n",
                        "    taken                50  vector 0x41 by vcpu 0\n    first to lose interrupts: none\n",
                        "  note: process 100 of the guest ended during the watch, so its interrupts are counted until"
                                + " then, and those of process 200, which replaced it, since its start\n");
    }

    /** No process is found that the VM of thread 300 belongs to. */
    @Test
    void vmWhoseProcessIsNotFoundIsNoLoss() throws IOException {
        apicVirtualization = "N";
        FakeTracefs counted = new FakeTracefs()
                .counts("_host_irq", "irq,id", new long[] {27, 9, 20})
                .counts("_wakeup", "wait,id,gsi", new long[] {-4096, 9, 24, 20})
                .counts("_wakeup", "wait,id,pid", new long[] {-4096, 9, 300, 20})
                .counts("_wakeup", "wait,id,type", new long[] {-4096, 9, 2, 20})
                .counts("_wakeup", "id,address,data", new long[] {9, 0xfee00000L, 0x41, 20})
                .counts("_sent", "wait,id,ret", new long[] {-4096, 9, 1, 20});
        assertThat(explained(counted, 0))
                .contains(
                        "    taken          not seen  vector 0x41: the process of one of the VMs is not watched\n",
                        "    first to lose interrupts: none\n");
    }

    @Test
    void deviceThatIsUnboundMeanwhileIsNamed() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        Watched watched = new Watched(host, traced("x86-7.2", ""))
                .during(() -> host.remove("sys/bus/pci/devices/" + AMD + "/driver")
                        .put("proc/interrupts", "           CPU0\n"));
        Cli.Ended ended = run(watched, AMD, "0", "--live", "10");
        assertThat(ended.out())
                .contains("  note: " + AMD + " is no longer bound to VFIO, because it was unbound during the watch\n");
    }

    @Test
    void tracefsThatCannotBeReadIsAFinding() throws IOException {
        Known<Tracing> none = new Known.Unknown<>(
                "tracefs is not mounted at /sys/kernel/tracing", "mount -t tracefs none /sys/kernel/tracing");
        Watched watched = new Watched(GuestHosts.of("amd-avic"), none, "removed something");
        assertThat(run(watched, AMD, "0", "--live", "10").exited(0).out())
                .contains(
                        "the host irq stayed silent for 10.0 s, which does not prove delivery by hardware",
                        "  not readable: tracefs is not mounted at /sys/kernel/tracing\n",
                        "  to see it: mount -t tracefs none /sys/kernel/tracing\n",
                        "  note: removed something\n");
    }

    /** An irqfd would have taken the signal in the handler, or left it to a worker. */
    @Test
    void handlerWithoutAnIrqfdIsSaid() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic")
                .put("proc/cmdline", "quiet\n")
                .put(
                        "boot/config-"
                                + GuestHosts.of("amd-avic")
                                        .tree()
                                        .text("proc/sys/kernel/osrelease")
                                        .orElse("x"),
                        "CONFIG_KVM=m\n");
        String handlers = RecordedTracing.trace("x86-7.2")
                .lines()
                .filter(line -> line.contains("irq_handler"))
                .collect(Collectors.joining("\n"));
        Watched watched = new Watched(host, traced("x86-7.2", handlers)).during(() -> count(host, "27", 2));
        assertThat(run(watched, AMD, "0", "--live", "10").exited(17).out())
                .contains(
                        "not shown  KVM took no message and raised no GSI in the handlers, so either no irqfd uses the eventfd or the VMM"
                                + " reads it and injects the interrupt itself\n");
        // Some events were lost, so nothing follows from those that are not there.
        Known<Tracing> lossy = new Known.Observed<>(RecordedTracing.of("x86-7.2", handlers, 1));
        assertThat(run(new Watched(host, lossy), AMD, "0", "--live", "10")
                        .exited(0)
                        .out())
                .contains(
                        "  irq_handler_entry: at least ",
                        "  trace buffer overflow lost 1 events; the newest were kept\n");
        // Handlers that are threads take it later.
        host.put("proc/cmdline", "quiet threadirqs\n");
        run(new Watched(host, traced("x86-7.2", handlers)), AMD, "0", "--live", "10")
                .exited(0);
    }

    /** A GSI is traced before its route is looked up, and a LAPIC is found before KVM looks whether it is on. */
    @Test
    void linksAreWholeByWhatComesAfterThem() throws IOException {
        List<String> events = new ArrayList<>();
        assertThat(linksAfter(events, "irq_handler_entry: irq=27 name=vfio-msix[0](0000:00:02.0)"))
                .doesNotContain("  GSI            ok", "  vCPU           ok");
        assertThat(linksAfter(events, "kvm_set_irq: gsi 24 level 1 source 0"))
                .contains("  GSI            not shown  gsi 24 was raised, but no event shows a route for it\n");
        assertThat(linksAfter(events, "kvm_msi_set_irq: dst 0 vec 65 (Fixed|physical|edge)"))
                .contains("  GSI            ok         gsi 24: the irqfd raises it ")
                .doesNotContain("  vCPU           ok");
        assertThat(linksAfter(events, "kvm_apic_accept_irq: apicid 1 vec 65 (Fixed|edge)"))
                .contains("  vCPU           not shown  KVM selected vcpu 1, but no event shows that the vCPU accepted"
                        + " the interrupt\n");
        assertThat(linksAfter(events, "kvm_apicv_accept_irq: apicid 1 vec 65 (Fixed|edge)"))
                .contains("  vCPU           ok         vcpu 1: accepted by its virtual APIC ");
    }

    /** The links of host irq 27 when one event more has come. */
    private static String linksAfter(List<String> events, String event) throws IOException {
        events.add("          <idle>-0       [000] d.h1.     4." + (100_000 + events.size()) + ": " + event);
        String trace = String.join("\n", events) + "\n          <idle>-0       [000] d.h1.     4.200000:"
                + " irq_handler_exit: irq=27 ret=handled\n";
        RecordedHost host = GuestHosts.of("amd-avic");
        Watched watched = new Watched(host, traced("x86-7.2", trace)).during(() -> count(host, "27", 1));
        return run(watched, AMD, "0", "--live", "10").out();
    }

    /** An entry that is posted and a silent row are not enough: hardware must have been seen to wake a vCPU. */
    @Test
    void silentRowAloneIsNotDelivery() throws IOException {
        RecordedHost host = GuestHosts.of("intel-posted");
        Cli.Ended printed = run(new Watched(host, traced("x86-6.1", "")), INTEL, "0", "--live", "10");
        assertThat(printed.exited(0).out())
                .contains(
                        "  requested      yes        KVM requested posting\n"
                                + "                            inferred: the entry is posted, and only KVM requests that",
                        "  by hardware    not shown  the host irq stayed silent for 10.0 s, which does not prove"
                                + " delivery by"
                                + " hardware");
    }

    /** A host of which VFIO has armed one vector, whose entry is posted. */
    private static RecordedHost withOneVector(String name, String device) throws IOException {
        RecordedHost host = GuestHosts.of(name);
        String rows = host.tree()
                .text(INTERRUPTS)
                .orElse("")
                .lines()
                .filter(line -> !line.matches(".*vfio-msix\\[[1-9]\\].*"))
                .collect(Collectors.joining("\n"));
        for (int irq = 28; irq <= 31; irq++) {
            host.remove("sys/bus/pci/devices/" + device + "/msi_irqs/" + irq);
        }
        return host.put(INTERRUPTS, rows + "\n PIW:          4          0   Posted-interrupt wakeup event\n");
    }

    private static List<String> answers(Cli.Ended printed) {
        return printed.out()
                .lines()
                .filter(line -> line.matches("  (can be posted|requested|entry posts|by hardware) .*"))
                .map(line -> line.substring(2, 26).strip().replaceAll(" +", " "))
                .toList();
    }

    /** Nothing was asked for meanwhile: what is requested is not known, and the entry is posted all the same. */
    @Test
    void deliveryByHardwareIsInferredFromItsWakeups() throws IOException {
        RecordedHost host = withOneVector("intel-posted", INTEL);
        Cli.Ended printed = run(
                new Watched(host, traced("x86-6.1", "")).during(() -> count(host, "PIW", 3)), INTEL, "--live", "10");
        assertThat(answers(printed.exited(0)))
                .containsExactly("can be posted yes", "requested yes", "entry posts yes", "by hardware yes");
        assertThat(printed.out())
                .contains("  by hardware    yes        the host irq stayed silent for 10.0 s\n"
                        + "                            inferred: live, the entry is posted, the host irq is silent, and"
                        + " hardware woke vCPUs 3 times; VFIO has no other vector on this host\n");
    }

    /** kvm_avic_ga_log is of interrupts of devices alone. */
    @Test
    void deliveryByHardwareIsInferredFromTheGaLog() throws IOException {
        RecordedHost host = withOneVector("amd-avic", AMD)
                .put(
                        "sys/kernel/debug/iommu/amd/irqtbl",
                        "DeviceId 0000:00:02.0\nIRT[0000] 0000000000000022 0000000000000081\n");
        String log = "     irq/25-AMD-Vi-83      [001] .....    12.000001: kvm_avic_ga_log: vmid=1, vcpuid=0\n"
                + "     irq/25-AMD-Vi-83      [001] .....    12.000002: kvm_avic_ga_log: vmid=1, vcpuid=1\n";
        Cli.Ended printed = run(new Watched(host, traced("x86-7.2", log)), AMD, "--live", "10");
        assertThat(answers(printed.exited(0)))
                .containsExactly("can be posted yes", "requested yes", "entry posts yes", "by hardware yes");
        assertThat(printed.out()).contains("hardware woke vCPUs 2 times; VFIO has no other vector on this host\n");
    }

    /** Each of these leaves another explanation of the wakeups, or of the silence. */
    @ParameterizedTest
    @ValueSource(strings = {"no wakeup", "another vector", "IPIs are posted too", "not posted", "not silent"})
    void wakeupsOfAnotherOriginShowNoDelivery(String difference) throws IOException {
        RecordedHost host = withOneVector("intel-posted", INTEL);
        switch (difference) {
            case "another vector" ->
                host.put(
                        INTERRUPTS,
                        host.tree().text(INTERRUPTS).orElse("")
                                + "\n  40:  0  0  IR-PCI-MSI 49152-edge  vfio-msix[0](0000:00:03.0)\n");
            // Linux 5.19 and newer
            case "IPIs are posted too" -> host.put("sys/module/kvm_intel/parameters/enable_ipiv", "Y\n");
            case "not posted" -> host.remove("sys/kernel/debug/iommu");
            default -> {}
        }
        Watched watched = new Watched(host, traced("x86-6.1", "")).during(() -> {
            count(host, "PIW", difference.equals("no wakeup") ? 0 : 3);
            count(host, "27", difference.equals("not silent") ? 1 : 0);
        });
        assertThat(answers(run(watched, INTEL, "0", "--live", "10").exited(0)))
                .contains(difference.equals("not silent") ? "by hardware no" : "by hardware not shown");
    }

    @Test
    void eventsAreFilteredAndTheInstanceIsClosed() throws IOException {
        RecordedTracing tracing = RecordedTracing.of("x86-7.2", "", 0);
        run(new Watched(GuestHosts.of("amd-avic"), new Known.Observed<>(tracing)), AMD, "--live", "10");
        assertThat(tracing.chosen())
                .containsExactly(
                        "irq/irq_handler_entry if name ~ \"vfio*(" + AMD + ")\"",
                        "irq/irq_handler_exit if irq == 27 || irq == 28 || irq == 29 || irq == 30 || irq == 31",
                        "kvm/kvm_pi_irte_update",
                        "kvm/kvm_avic_ga_log",
                        "kvm/kvm_set_irq",
                        "kvm/kvm_msi_set_irq if (common_flags & 8) || comm ~ \"kworker*\"",
                        "kvm/kvm_apic_accept_irq if (common_flags & 8) || comm ~ \"kworker*\"",
                        "kvm/kvm_apicv_accept_irq if (common_flags & 8) || comm ~ \"kworker*\"");
        assertThat(tracing.isClosed()).isTrue();
    }

    /** A watch shows each row that the files alone show: of virtio, and of a device that the guest may have. */
    @ParameterizedTest
    @ValueSource(strings = {"virtio", "vhost-tasks", "may have"})
    void watchShowsAtLeastWhatTheFilesShow(String guest) throws IOException {
        boolean mayHave = guest.equals("may have");
        RecordedHost host = GuestHosts.of(mayHave ? "amd-avic" : guest);
        if (mayHave) {
            String other = "0000:00:03.0";
            host.put("proc/100/cmdline", "qemu\0").remove(INTERRUPTS);
            host.link("sys/kernel/iommu_groups/1/devices/" + other, "../../../../devices/pci0000:00/" + other)
                    .link("sys/bus/pci/devices/" + other + "/driver", "../../../../bus/pci/drivers/vfio-pci");
        }
        Path root = temporary.resolve("host");
        host.writeTo(root);
        List<String> still = rows(Cli.run("explain", "--root", root.toString(), "--vm", "100"));
        assertThat(still).hasSizeGreaterThan(2);
        Cli.Ended seen = run(new Watched(host, traced("x86-7.2", "")), "--vm", "100", "--live", "10");
        assertThat(rows(seen)).containsAll(still);
        Cli.Ended json = run(new Watched(host, traced("x86-7.2", "")), "--vm", "100", "--live", "10", "--json");
        assertThat(seen.out() + json.out()).doesNotContain("--live 10");
    }

    private static List<String> rows(Cli.Ended printed) {
        return printed.out()
                .lines()
                .filter(line -> line.matches(" ? ?\\w.*"))
                .map(line -> line.substring(0, Math.min(16, line.length())))
                .toList();
    }

    @Test
    void jsonHasWhatWasSeen() throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        Watched watched = new Watched(host, traced("x86-7.2", RecordedTracing.trace("x86-7.2")))
                .during(() -> count(host, "27", 2));
        assertThat(run(watched, "--vm", "web", "--live", "10", "--json")
                        .exited(ExitCode.of(Hop.POSTING))
                        .out())
                .contains(
                        "\"live\":{\"milliseconds\":10000,\"cpuMilliseconds\":20,\"aroundCpuMilliseconds\":0,\"beforeMilliseconds\":0,\"afterwardsMilliseconds\":0,",
                        "{\"name\":\"host irq 27\",\"grew\":2}",
                        "{\"event\":\"kvm_msi_set_irq\",\"count\":7,\"inHandlers\":5,\"ofGuest\":0,\"ofWorkers\":0}",
                        "\"lost\":0,\"missing\":[],\"notes\":[]},\"exitCode\":17}\n");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--live 0            | --live '0' is not a time: expected 1 to 3600 seconds, such as 10",
                "--live 3601         | --live '3601' is not a time: expected 1 to 3600 seconds, such as 10",
                "--live 1.5          | --live '1.5' is not a time: expected 1 to 3600 seconds, such as 10",
                "--live x            | --live 'x' is not a time: expected 1 to 3600 seconds, such as 10",
                "--live 9 --root /   | --live watches this machine, but --root reads another host: use one of them",
                "--live 9 --from x   | --live watches this machine, but --from reads another host: use one of them",
                "--live 9 --fake 7.1 | --live watches this machine, but --fake reads another host: use one of them"
            })
    void wrongTimeOrPlaceIsRefused(String options, String sentence) throws IOException {
        LiveHost host = new Watched(GuestHosts.of("amd-avic"), traced("x86-7.2", ""));
        assertThat(run(host, (AMD + " " + options).split(" ")))
                .isEqualTo(new Cli.Ended(ExitCode.USAGE, "", "kvmirq: " + sentence + ". See kvmirq explain --help\n"));
    }

    /** Nothing is watched then. */
    @ParameterizedTest
    @ValueSource(strings = {"0000:00:09.0", "0000:00:02.0 9", "--vm mail"})
    void absentDeviceIsToldAtOnce(String question) throws IOException {
        RecordedTracing tracing = RecordedTracing.of("x86-7.2", "", 0);
        Watched watched = new Watched(GuestHosts.of("amd-avic"), new Known.Observed<>(tracing));
        Cli.Ended printed = run(watched, (question + " --live 10").split(" "));
        assertThat(printed.exited(ExitCode.COULD_NOT_RUN).out()).isEmpty();
        assertThat(printed.err()).doesNotContain("watching");
        assertThat(tracing.chosen()).isEmpty();
    }
}
