/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.screens.MemoryEvidence;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.StillHost;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.KernelImage;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.path.Known;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The vLPIs of a guest in made images of a kernel's memory for arm64, beside recorded files of the host. */
class VlpiMemoryTest {
    private static final int PROCESS = 100;
    private static final int FIRST_IRQ = 25;
    private static final int VECTORS = 5;
    private static final int HOST_LPI = 8226;
    private static final int GUEST_LPI = 8257;
    private static final HostIrq IRQ = new HostIrq(FIRST_IRQ + 3);

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    /** A host whose device has five LPIs, which are vLPIs of one vCPU. */
    private final class Host implements StillHost {
        final RecordedHost files = GuestHosts.of("gicv4");
        final KernelImage image;
        final long vm;
        final long[] vcpus = new long[2];
        final long device;
        final long[] descs = new long[VECTORS];
        final long[] eventfds = new long[VECTORS];
        final long[] irqfds = new long[VECTORS];
        final long[] maps = new long[VECTORS];
        final long[] guests = new long[VECTORS];

        Host(String kernel) throws IOException {
            image = KernelImage.ofArm(kernel);
            vm = image.vm(PROCESS);
            for (int i = 0; i < vcpus.length; i++) {
                vcpus[i] = image.armVcpu(vm, i);
            }
            device = image.itsDevice(HOST_LPI, 8);
            for (int i = 0; i < VECTORS; i++) {
                long eventfd = image.eventfd(i + 1);
                descs[i] = image.lpi(FIRST_IRQ + i, eventfd, device, HOST_LPI + i);
                eventfds[i] = eventfd;
                irqfds[i] = irqfd(vm, i);
                guests[i] = image.guestLpi(vm, vcpus[0], GUEST_LPI + i, FIRST_IRQ + i);
                maps[i] = image.vlpi(descs[i], vm, vcpus[0], GUEST_LPI + i);
            }
        }

        long irqfd(long of, int vector) {
            MsiMessage message = MsiMessage.to(new VcpuId(0), new InterruptVector(0x40 + vector));
            return image.irqfd(of, eventfds[vector], 224 + vector, 0, message);
        }

        /** Gives the LPI of vector 3 back to the host: the driver does not clear its map. */
        void unmap() {
            image.put(image.word(image.data(descs[3], 1) + 16), "irq_common_data", "state_use_accessors", 1 << 9);
        }

        @Override
        public HostFiles files() {
            return files.tree();
        }

        @Override
        public KernelPaths memory() {
            try {
                return KernelPaths.open(image.files(), image.write(temporary.resolve("kcore")));
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        Known<Optional<HostLpi>> lpi(HostIrq irq) throws IOException {
            try (KernelStructures structures = KernelStructures.open(
                            image.files(), image.write(temporary.resolve("kcore")))
                    .known()
                    .orElseThrow()) {
                return structures.lpi(irq);
            }
        }

        String why() throws IOException {
            return ((Known.Unknown<?>) lpi(IRQ)).why();
        }

        Cli.Ended run(String... words) throws IOException {
            List<String> all = new ArrayList<>(
                    List.of(words[0], "--from", files.archive(temporary).toString()));
            all.addAll(List.of(words).subList(1, words.length));
            return Watched.run(this, all.toArray(String[]::new));
        }
    }

    static Stream<String> kernels() {
        return KernelImage.ARM_KERNELS.stream();
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void lpiIsTheOneOfDriverAndKvm(String kernel) throws IOException {
        Host host = new Host(kernel);
        HostLpi.Recorded recorded =
                new HostLpi.Recorded(Optional.of((long) IRQ.number()), Optional.of(new VcpuId(0)), 0xa1);
        assertThat(host.lpi(IRQ).known().orElseThrow())
                .contains(new HostLpi(Optional.of(new HostLpi.Vlpi(
                        PROCESS, Optional.of(true), GUEST_LPI + 3, new VcpuId(0), 0, 0xa1, Optional.of(recorded)))));
        host.unmap();
        assertThat(host.lpi(IRQ).known().orElseThrow()).contains(new HostLpi(Optional.empty()));
        KernelImage x86 = new KernelImage("6.12", Vendor.AMD);
        x86.irq(IRQ.number(), 0, 5, 0x10, 1, 0);
        try (KernelStructures structures = KernelStructures.open(x86.files(), x86.write(temporary.resolve("x86")))
                .known()
                .orElseThrow()) {
            assertThat(structures.lpi(IRQ).known().orElseThrow()).isEmpty();
        }
    }

    @Test
    void textIsAsRecorded() throws IOException {
        Host host = new Host("6.12-arm64");
        host.unmap();
        String posted = host.run("explain", "0000:00:01.0", "0", "--evidence").out();
        String remapped = host.run("explain", "0000:00:01.0", "3", "--evidence").out();
        assertThat(posted + remapped)
                .isEqualTo(Recorded.text(VlpiMemoryTest.class, "explain-memory-gicv4.txt", posted + remapped))
                .doesNotContain("DIFFER");
        String list = host.run("list", "--device", "0000:00:01.0").exited(0).out();
        assertThat(list.lines().filter(line -> line.contains("  yes")).count()).isEqualTo(VECTORS - 1);
        assertThat(list).contains("  no ");
    }

    /** Memory may show a vLPI that a file of debugfs, which is read at another time, does not show. */
    @Test
    void vlpiThatTheOtherSourceDeniesIsSaid() throws IOException {
        Host host = new Host("7.2-arm64");
        assertThat(host.run("explain", "0000:00:01.0", "3").out())
                .contains("names vLPI 8260 of vCPU 0 (posted) [observed: ");
        host.image.put(host.maps[3], "its_vlpi_map", "vpe", vpe(host, 1));
        assertThat(host.run("explain", "0000:00:01.0", "3").out())
                .contains("names vLPI 8260 of vCPU 1 (posted), which vgic-state does not show [observed: ");
        // Since Linux 6.7, vgic-state names a vCPU by its place in the VM.
        host.image.put(host.maps[3], "its_vlpi_map", "vpe", vpe(host, 0));
        host.image.put(host.vcpus[0], "kvm_vcpu", "vcpu_id", 7);
        assertThat(host.run("explain", "0000:00:01.0", "3").out())
                .contains("names vLPI 8260 of vCPU 7 (posted) [observed: ");
    }

    private static long vpe(Host host, int vcpu) {
        return host.image.at(host.vcpus[vcpu], "kvm_vcpu", "arch.vgic_cpu.vgic_v3.its_vpe");
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void plantedDriftIsNamedByItsField(String kernel) throws IOException {
        drifts(
                kernel,
                host -> host.image.put(host.maps[3], "its_vlpi_map", "vintid", GUEST_LPI + 2),
                "its_vlpi_map.vintid is the LPI of host irq 27, expected the LPI of host irq 28 (written by");
        drifts(
                kernel,
                host -> host.image.put(host.maps[3], "its_vlpi_map", "vintid", GUEST_LPI + 1000),
                "its_vlpi_map.vintid is LPI 9257, which KVM has mapped to no host irq, expected the LPI of host irq 28");
        drifts(
                kernel,
                host -> host.image.put(host.guests[3], "vgic_irq", "hw", 0),
                "its_vlpi_map.vintid is LPI 8260, which KVM has mapped to no host irq");
        drifts(
                kernel,
                host -> host.image.put(host.maps[3], "its_vlpi_map", "vpe", vpe(host, 1)),
                "its_vlpi_map.vpe is vCPU 1, expected vCPU 0 (written by its_vlpi_map() and lpi_write_config(), from vgic_irq)");
        drifts(
                kernel,
                host -> host.image.put(host.maps[3], "its_vlpi_map", "properties", 0xa2),
                "its_vlpi_map.properties is 0xa0, expected 0xa1 (written by its_vlpi_map()");
        drifts(
                kernel,
                host -> {
                    host.image.deassign(host.irqfds[3]);
                    host.irqfd(host.image.vm(PROCESS), 3);
                },
                "its_vlpi_map.vm is another VM, created by thread 100, expected the VM of the irqfd (written by");
    }

    @Test
    void vmOfAVlpiIsComparedWithOneIrqfdAlone() throws IOException {
        Host host = new Host("7.2-arm64");
        host.image.deassign(host.irqfds[3]);
        assertThat(host.run("explain", "0000:00:01.0", "3", "--evidence").out())
                .contains("UNOBSERVABLE  its_vlpi_map.vm  the eventfd has no unique irqfd");
    }

    private void drifts(String kernel, Consumer<Host> drift, String sentence) throws IOException {
        Host host = new Host(kernel);
        drift.accept(host);
        String text =
                host.run("explain", "0000:00:01.0", "3", "--evidence").out().replaceAll("\\s+", " ");
        assertThat(text).contains(" host irq doubtful ").contains(sentence);
        assertThat(text).containsOnlyOnce("DIFFER ");
        assertThat(text).contains("DIFFER " + sentence.substring(0, sentence.indexOf(" is ")));
        assertThat(host.run("explain", "0000:00:01.0", "0").out()).doesNotContain("doubtful");
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void damagedMemoryIsNoTruth(String kernel) throws IOException {
        Host host = new Host(kernel);
        host.image.put(host.image.data(host.descs[3], 1), "irq_data", "hwirq", HOST_LPI + 8);
        assertThat(host.why()).isEqualTo("irq_data.hwirq is 8234, expected an LPI of the device, which has 8");
        host = new Host(kernel);
        host.image.put(host.maps[3], "its_vlpi_map", "vm", host.device);
        assertThat(host.why()).isEqualTo("its_vlpi_map.vm changed while it was read");
        host = new Host(kernel);
        host.image.put(host.maps[3], "its_vlpi_map", "vpe", host.device);
        assertThat(host.why()).isEqualTo("its_vpe.its_vm changed while it was read");
        host = new Host(kernel);
        host.image.put(host.vcpus[0], "kvm_vcpu", "kvm", host.device);
        assertThat(host.why()).isEqualTo("kvm_vcpu.kvm changed while it was read");
        host = new Host(kernel);
        host.image.put(host.guests[3], "vgic_irq", "intid", GUEST_LPI);
        assertThat(host.why()).isEqualTo("vgic_irq.intid changed while it was read");
        host = new Host(kernel);
        host.image.undescribed("its_device");
        assertThat(host.why()).isEqualTo("this kernel has no struct its_device with event_map.lpi_base");
        assertThat(host.run("explain", "0000:00:01.0", "3", "--evidence").out())
                .contains("UNOBSERVABLE  its_device.event_map  this kernel has no struct its_device with")
                .contains("KVM raises the interrupt itself, unless it is a vLPI, which is not shown")
                .contains("LPIs of the VM are vLPIs (H=1)");
    }

    /** As Debian's 6.1 for arm64, which has no symbols of variables. */
    @Test
    void kernelWithoutSymbolsPassesNoCheck() throws IOException {
        Host host = new Host("6.12-arm64");
        host.image.finish().withoutSymbol("sparse_irqs").withoutSymbol("vm_list");
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(finding.status()).isEqualTo(Finding.Status.UNKNOWN);
            assertThat(finding.text()).isEqualTo("/proc/kallsyms has no symbol vm_list");
        }
        host = new Host("6.12-arm64");
        host.image.finish().withoutSymbol("sparse_irqs");
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(finding.status()).isEqualTo(Finding.Status.UNKNOWN);
            assertThat(finding.text()).contains(" 0 fields compared");
        }
    }

    /** Bits flipped and pointers swapped in each structure of the walk: the answer is a value or one sentence. */
    @ParameterizedTest
    @MethodSource("kernels")
    void anyDamageEndsInASentenceOrAValue(String kernel) throws IOException {
        Host host = new Host(kernel);
        KernelImage image = host.image;
        assertThat(host.lpi(IRQ).known()).isPresent();
        Random random = new Random(71);
        long[] places = {
            host.descs[3],
            image.data(host.descs[3], 1),
            host.device,
            host.maps[3],
            host.guests[3],
            host.vcpus[0],
            vpe(host, 0),
            image.at(host.vm, "kvm", "arch.vgic.lpi_xa.xa_head"),
            image.at(host.vm, "kvm", "userspace_pid") & -Long.BYTES
        };
        Set<String> sentences = new TreeSet<>();
        for (int round = 0; round < 200; round++) {
            long at = places[random.nextInt(places.length)] + Long.BYTES * random.nextInt(8);
            long before = image.word(at);
            boolean flips = random.nextBoolean();
            image.word(at, flips ? before ^ 1L << random.nextInt(Long.SIZE) : places[random.nextInt(places.length)]);
            if (host.lpi(IRQ) instanceof Known.Unknown<?> unknown) {
                sentences.add(unknown.why().replaceAll("-?[0-9]+", "N"));
            }
            image.word(at, before);
        }
        assertThat(host.lpi(IRQ).known().orElseThrow().orElseThrow().vlpi()).isPresent();
        assertThat(sentences).hasSizeGreaterThan(5).allSatisfy(text -> assertThat(text)
                .doesNotContain("\n")
                .doesNotContainPattern("ffff[0-9a-fN]{8}")
                .hasSizeBetween(10, 200));
    }

    /** The guest moves its LPI to another vCPU: KVM writes its own record before the driver's map. */
    @ParameterizedTest
    @CsvSource({"1, false", "1000, true"})
    void vlpiThatMovesIsReadAgain(int moves, boolean torn) throws IOException {
        Host host = new Host("6.12-arm64");
        long target = host.image.at(host.guests[3], "vgic_irq", "target_vcpu");
        long map = host.image.at(host.maps[3], "its_vlpi_map", "vpe");
        int[] reads = {0};
        Known<KernelStructures> memory =
                host.image.changing(temporary.resolve("kcore"), target, Integer.MAX_VALUE, file -> {
                    if (reads[0] % 2 == 0 && reads[0] / 2 < moves) {
                        int vcpu = 1 - reads[0] / 2 % 2;
                        file.seek(host.image.offset(target));
                        file.writeLong(Long.reverseBytes(host.vcpus[vcpu]));
                        file.seek(host.image.offset(map));
                        file.writeLong(Long.reverseBytes(vpe(host, vcpu)));
                    }
                    reads[0]++;
                });
        try (KernelStructures structures = memory.known().orElseThrow()) {
            Known<Optional<HostLpi>> lpi = structures.lpi(IRQ);
            if (torn) {
                assertThat(((Known.Unknown<?>) lpi).why())
                        .isEqualTo("the vLPI of host irq 28 changed while it was read");
            } else {
                HostLpi.Vlpi vlpi =
                        lpi.known().orElseThrow().orElseThrow().vlpi().orElseThrow();
                assertThat(vlpi.vcpu()).isEqualTo(new VcpuId(1));
                assertThat(vlpi.recorded().orElseThrow().target()).contains(new VcpuId(1));
            }
        }
    }
}
