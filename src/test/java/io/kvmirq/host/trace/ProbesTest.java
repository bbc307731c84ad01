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
import java.util.Set;
import java.util.stream.Collectors;
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
        return Probes.of(tracefs, owner, new KvmBtf().types(), new KvmBtf().types(), Set.of(100));
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
        Known<ProbePlan> plan = ProbePlan.of(
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
                .isEqualTo("this kernel's vfio_pci_core_device.ctx is no pointer");
        Probes probes = Probes.of(
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
        Probes probes = Probes.of(tracefs, OWN, new KvmBtf().withVgic().types(), new KvmBtf().types(), Set.of(100))
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
                .startsWith("the vCPU of an interrupt is not shown: ")
                .contains("vgic_queue_irq_unlock");
        probes.close();
    }

    private static Known<String> intx(KvmBtf vfio) {
        return ProbePlan.of(NAME, new KvmBtf().types(), vfio.types())
                .known()
                .orElseThrow()
                .intx();
    }

    @Test
    void nothingIsLeftAfterManyRuns() {
        for (int i = 0; i < 200; i++) {
            begin(OWN).close();
            assertThat(tracefs.isEmpty()).isTrue();
        }
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
            List<String> removed = Probes.removeLeft(tracefs, OWN::equals);
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
        assertThat(why(ProbePlan.of(NAME, new KvmBtf().without("irqfd_wakeup").types(), new KvmBtf().types())))
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
                        "this kernel has no " + file + " in tracefs, so the tracepoints alone are watched",
                        "a kernel with CONFIG_" + configuration));
        assertThat(tracefs.written).isEmpty();
    }

    @Test
    void hostWithoutVfioIsWatchedFromTheEventfdOn() {
        Probes probes = Probes.of(
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
