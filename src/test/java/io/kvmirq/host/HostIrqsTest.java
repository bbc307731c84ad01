/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.vfio.HostIrqs;
import io.kvmirq.vfio.VfioDevice;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Which host irq serves a vector, by the names of handlers in /proc/interrupts. */
class HostIrqsTest {
    private static final PciAddress ADDRESS = PciAddress.parse("0000:00:02.0");

    @Test
    void vectorIsFoundByDeviceKindAndNumber() throws Exception {
        HostIrqs irqs =
                new HostFacts(RecordedHost.of("amd-6.12").tree()).interrupts().orElseThrow();
        FakeKernel fake = new FakeKernel(Profile.V6_12);
        fake.pciDevice(ADDRESS.toString(), 1).intx().msi(1).msix(6).add();
        PciAddress other = PciAddress.parse("0000:00:09.0");
        fake.pciDevice(other.toString(), 9).msix(6).add();
        try (Kernel kernel = fake.open();
                VfioDevice device = VfioDevice.open(kernel, ADDRESS);
                VfioDevice another = VfioDevice.open(kernel, other)) {
            assertThat(irqs.of(device.msix().get(0))).contains(new HostIrq(27));
            assertThat(irqs.of(device.msix().get(4))).contains(new HostIrq(31));
            assertThat(irqs.of(device.msix().get(5))).as("not armed there").isEmpty();
            assertThat(irqs.of(device.msi(0, 1).get(0))).isEmpty();
            assertThat(irqs.of(another.msix().get(0))).isEmpty();
        }
    }

    /** A thread of a VMM may have a small stack, and a host thousands of CPUs. */
    @Test
    void lineOfThousandsOfCpusIsReadOnASmallStack() throws Exception {
        String text = "           CPU0\n" + line(27, "IR-PCI-MSIX-0000:00:02.0  0-edge  vfio-msix[0](0000:00:02.0)")
                + line(28, "8259A")
                + "NMI:  1 2  Non-maskable interrupts\n 29: 1 2 3\nERR: 0\n 30:\n 1234567890: 1 chip\n";
        AtomicReference<HostInterrupts> read = new AtomicReference<>();
        Thread reader = new Thread(null, () -> read.set(new HostInterrupts(text)), "small", 128 << 10);
        reader.start();
        reader.join();
        assertThat(read.get().armed(ADDRESS)).singleElement().matches(vector -> vector.irq()
                .equals(new HostIrq(27)));
        assertThat(read.get().hasChip("IR-")).isTrue();
        assertThat(read.get().hasChip("8259A")).isTrue();
        assertThat(read.get().hasChip("3")).as("a count").isFalse();
        assertThat(read.get().hasChip("chip")).as("of a number that no irq has").isFalse();
    }

    @Test
    void countsOfAllCpusAreAdded() {
        HostInterrupts irqs = new HostInterrupts((" 22:  4294967295 4294967295 IR-IO-APIC  22-fasteoi   eth0,"
                        + " vfio-intx(0000:00:02.0), usb1\nPIN: 7 8   Posted-interrupt notification event\nERR: 5\n")
                .getBytes(StandardCharsets.UTF_8));
        assertThat(irqs.armed()).singleElement().satisfies(vector -> {
            assertThat(vector.count()).isEqualTo(2 * 0xffffffffL);
            assertThat(vector.sharers()).containsExactly("eth0", "usb1");
        });
        assertThat(irqs.count("PIN")).hasValue(15);
        assertThat(irqs.count("PIW")).isEmpty();
    }

    private static String line(int irq, String rest) {
        return " " + irq + ":" + " 4294967295".repeat(8192) + "  " + rest + "\n";
    }

    /** Rows in the columns of the kernel are not read whole: the answers are those of rows in other columns. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 12, 300})
    void columnsOfTheKernelAreSkippedAndNothingIsLost(int cpus) {
        StringBuilder text = new StringBuilder(" ".repeat(11));
        for (int cpu = 0; cpu < cpus; cpu++) {
            text.append(String.format("CPU%-8d", cpu));
        }
        text.append('\n');
        String counts = String.format("%10d ", 4_000_000_000L).repeat(cpus);
        String[] rows = {
            "  0: " + counts + "  IO-APIC   2-edge      timer",
            " 24: " + counts + " IR-PCI-MSIX-0000:3b:00.0    0-edge      vfio-msix[0](0000:3b:00.0)",
            " 25: " + counts + " IR-PCI-MSIX-0000:3b:00.0    1-edge      vfio-msix[1](0000:3b:00.0)",
            "125: " + counts + "   GICv3  35 Level     other",
            "126: " + counts,
            "127: " + counts + "7 odd",
            "128: " + counts.substring(1) + "  SHORT  35 Level     other",
            "PIN: " + counts + "  Posted-interrupt notification event",
            "ERR:          0"
        };
        text.append(String.join("\n", rows)).append('\n');
        HostInterrupts fast = new HostInterrupts(text.toString());
        HostInterrupts whole = new HostInterrupts("\n" + text);
        assertThat(fast.armed()).isEqualTo(whole.armed()).hasSize(2);
        assertThat(fast.armed().get(0).count()).isEqualTo(4_000_000_000L * cpus);
        assertThat(fast.count("PIN")).hasValue(4_000_000_000L * cpus).isEqualTo(whole.count("PIN"));
        for (String chip : List.of("IO-APIC", "IR-PCI", "GICv3", "odd", "SHORT", "35", "other", "7")) {
            assertThat(fast.hasChip(chip)).as(chip).isEqualTo(whole.hasChip(chip));
        }
        assertThat(fast.hasChip("GICv3")).isTrue();
    }

    /** The kernel prints no description of some rows: {@code arch_show_interrupts()} in arch/x86/kernel/irq.c. */
    @Test
    void rowWithoutADescriptionIsCountedAndEachIrqIsARowOnce() {
        HostInterrupts all =
                new HostInterrupts("  CPU0 CPU1\n 24: 7 1 PCI-MSI 0-edge a, b\nERR:          3\nMIS: 4 x\nBAD:\n");
        assertThat(all.count("ERR")).hasValue(3);
        assertThat(all.count("MIS")).hasValue(4);
        assertThat(all.count("BAD")).isEmpty();
        assertThat(all.rows()).containsExactly(new HostInterrupts.Row(new HostIrq(24), "PCI-MSI", 8, " 0-edge a, b"));
    }
}
