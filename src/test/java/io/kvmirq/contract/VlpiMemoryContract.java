/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.KernelPlaces;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.path.Known;
import io.kvmirq.selftest.AnsweringVm;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The vLPIs of a device in the memory of a real arm64 kernel, and what the command says of them, against the set-up. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#arm64")
class VlpiMemoryContract {
    private static final int VECTORS = 3;
    /** The lowest number of an LPI, which the guest gives its first interrupt. */
    private static final int FIRST_LPI = 8192;

    private static final HostFiles FILES = HostFiles.at(Path.of("/"));

    private final VfioWorld vfio;
    private LpiDevice nic;
    private AnsweringVm guest;
    private PciAddress address;
    private List<ForwardedIrq> irqs;

    @SuppressWarnings("NullAway.Init")
    VlpiMemoryContract(VfioWorld vfio) {
        this.vfio = vfio;
    }

    @BeforeEach
    void setUp() {
        nic = new LpiDevice(vfio, "the fake has no memory of a kernel");
        guest = nic.made.add(new AnsweringVm(
                nic.kernel,
                () -> Mirror.create(new PostingFacts(vfio.kernel().libc().hostFiles()).forMirror(true))));
        VfioDevice device = nic.open(guest.vm());
        address = vfio.address(TestDevice.E1000E);
        irqs = nic.made.add(Forwarding.create(guest.vm(), device)).forwardAll(device.msix(0, VECTORS), guest::message);
        guest.message(VECTORS);
        guest.start();
        for (int i = 0; i < VECTORS; i++) {
            int vector = i;
            assertThat(guest.taken(vector, () -> nic.send(vector))).isPositive();
        }
    }

    @AfterEach
    void close() {
        if (nic != null) {
            nic.close();
        }
    }

    private Map<Integer, HostIrq> armed() {
        return new HostFacts(FILES)
                .armed(address).stream().collect(Collectors.toMap(vector -> vector.vector(), vector -> vector.irq()));
    }

    @Test
    void vlpiInMemoryIsTheOneThatWasSetUp() throws IOException {
        try (KernelPaths memory = KernelPaths.open(FILES, KernelStructures.CORE)) {
            if (memory.irqfds() instanceof Known.Unknown<?> unknown) {
                System.out.println("lab-memory: " + unknown.why());
                assertThat(unknown.why()).as("Debian's 6.1 for arm64").startsWith("/proc/kallsyms has no symbol ");
                assertThat(Cli.run("doctor", "--check", "kernel-memory").out()).contains(unknown.why());
                return;
            }
            Map<Integer, HostIrq> armed = armed();
            assertThat(armed).hasSize(VECTORS);
            int compared = 0;
            for (int vector = 0; vector < VECTORS; vector++) {
                compared += compared(memory, armed.get(vector), vector, nic.direct);
            }
            System.out.println("lab-memory: " + VECTORS + " LPIs, mapped to vLPIs: " + nic.direct + ", " + compared
                    + " fields compared, 0 differ");
            String number = String.valueOf(armed.get(0).number());
            Cli.Ended with = Cli.run("explain", number, "--evidence");
            with.out().lines().forEach(line -> System.out.println("lab-memory: | " + line));
            if (nic.direct) {
                assertThat(with.out())
                        .contains("GSI            ok ", "LPI 8192: ", "[observed: kernel memory, its_vlpi_map.vintid]")
                        .contains("vcpu 0: ", "names vLPI 8192 of vCPU 0 (posted) [observed: kernel memory, its_device")
                        .contains("AGREE         its_vlpi_map.vpe  vCPU 0")
                        .doesNotContain("vgic-state does not show", "doubtful", "DIFFER");
            }
            String list = Cli.run("list", "--device", address.toString()).out();
            assertThat(list).contains(nic.direct ? "  yes" : "  no  ");
            assertThat(Cli.run("doctor", "--check", "kernel-memory").exited(0).out())
                    .contains("PASS")
                    .contains(" 0 differ");
            if (nic.direct) {
                masked(memory, armed.get(0));
            }
        }
    }

    private static HostLpi lpi(KernelPaths memory, HostIrq irq) {
        return memory.path(irq)
                .known()
                .orElseThrow()
                .lpi()
                .known()
                .orElseThrow()
                .orElseThrow();
    }

    /** Compares an LPI with the set-up; the number of fields in memory that agree. */
    private static int compared(KernelPaths memory, HostIrq irq, int interrupt, boolean direct) {
        HostLpi lpi = lpi(memory, irq);
        assertThat(lpi.vlpi().isPresent()).isEqualTo(direct);
        lpi.vlpi().ifPresent(vlpi -> {
            assertThat(vlpi.id()).isEqualTo(FIRST_LPI + interrupt);
            assertThat(vlpi.vcpu()).isEqualTo(new VcpuId(0));
            assertThat(vlpi.properties() & 1).as("enabled").isEqualTo(1);
        });
        List<Drift> fields = Drift.find(memory.path(irq).known().orElseThrow());
        assertThat(fields).noneMatch(field -> field.verdict() == Drift.Verdict.DIFFER);
        return (int) fields.stream()
                .filter(field -> field.verdict() == Drift.Verdict.AGREE)
                .count();
    }

    /** A masked vector goes to the host; another route gives it another vLPI. */
    private void masked(KernelPaths memory, HostIrq irq) {
        irqs.get(0).mask();
        memory.forget();
        assertThat(lpi(memory, irq).vlpi()).isEmpty();
        irqs.get(0).unmask();
        irqs.get(0).reroute(guest.message(VECTORS));
        memory.forget();
        compared(memory, irq, VECTORS, true);
        irqs.get(0).reroute(guest.message(0));
        memory.forget();
        compared(memory, irq, 0, true);
    }

    /** Changes the driver's record of the vLPI, looks, and changes it back. */
    @Test
    void plantedBitIsNamedByIrqAndField() throws IOException {
        assumeTrue(nic.direct, "needs a GICv4, which has vLPIs");
        HostIrq irq = armed().get(1);
        HostLpi.Vlpi vlpi;
        try (KernelPaths memory = KernelPaths.open(FILES, KernelStructures.CORE)) {
            assumeTrue(memory.irqfds().known().isPresent(), "needs a kernel that has CONFIG_KALLSYMS_ALL");
            vlpi = lpi(memory, irq).vlpi().orElseThrow();
        }
        byte[] map = ByteBuffer.allocate(5)
                .order(ByteOrder.nativeOrder())
                .putInt((int) vlpi.id())
                .put((byte) (vlpi.properties() | 2)) // LPI_PROP_GROUP1
                .array();
        try (KernelPlaces places = new KernelPlaces()) {
            long address = places.of(place -> place.lpi(irq), map).get(0);
            KernelMemoryContract.planted(places, address + 4, irq, "its_vlpi_map.properties is ");
            KernelMemoryContract.planted(
                    places,
                    address,
                    irq,
                    "its_vlpi_map.vintid is the LPI of " + armed().get(0) + ", expected the LPI of " + irq);
        }
    }
}
