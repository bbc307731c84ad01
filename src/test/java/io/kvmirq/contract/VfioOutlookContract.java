/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.OpenedDevice.INTX;
import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.TestDevice.EDU;
import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.IntxLine;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** The answers that {@link VfioOutlook} derives from the files of a host are those of VFIO there. */
@VfioContract
class VfioOutlookContract extends VfioSuite {
    private static final List<VfioOutlook.Flag> FLAGS = List.of(VfioOutlook.Flag.values());

    private HostFacts host() {
        return new HostFacts(world.kernel().libc().hostFiles());
    }

    private PciDevice device(TestDevice device) {
        return host().pci(vfio.address(device)).orElseThrow();
    }

    private VfioOutlook outlook(TestDevice device) {
        return VfioOutlook.read(host(), device(device));
    }

    /** As {@link OpenedDevice#irqInfo} tells it. */
    private static String text(VfioOutlook.Irqs irqs) {
        if (irqs.flags().isEmpty()) {
            return "EINVAL";
        }
        int flags =
                irqs.flags().stream().mapToInt(flag -> 1 << FLAGS.indexOf(flag)).sum();
        return flags + " " + irqs.count().orElseThrow();
    }

    @Test
    void interruptsAreThoseThatWerePredicted() {
        for (TestDevice opened : TestDevice.values()) {
            VfioOutlook outlook = outlook(opened);
            assertThat(outlook.irqs()).hasSize(5);
            OpenedDevice device = vfio.device(opened);
            for (VfioOutlook.Irqs irqs : outlook.irqs()) {
                assertThat(text(irqs))
                        .as(opened + " " + irqs.kind())
                        .isEqualTo(device.irqInfo(outlook.irqs().indexOf(irqs)));
            }
        }
    }

    @Test
    void deviceWithoutRefusalsOpens() {
        for (TestDevice device : TestDevice.values()) {
            assertThat(outlook(device).refusals()).as(device.name()).isEmpty();
            assertThat(device(device).group()).hasValue(vfio.place(device).group());
            vfio.device(device);
        }
    }

    private void assumeRealFiles() {
        vfio.place(E1000E);
        Assumptions.assumeTrue(world.fake().isEmpty(), "needs a real kernel: the fake shows no processes and irqs");
    }

    @Test
    void openGroupIsInUseAndBusy() {
        assumeRealFiles();
        vfio.group(E1000E);
        assertThat(outlook(E1000E).refusals()).singleElement().satisfies(refusal -> assertThat(refusal.text())
                .containsPattern("process " + ProcessHandle.current().pid() + "\\b.*EBUSY"));
        assertErrno(Errno.EBUSY, vfio.open(vfio.groupPath(E1000E)));
    }

    @Test
    void armedVectorsHaveAHostIrqEach() {
        assumeRealFiles();
        OpenedDevice device = vfio.device(E1000E);
        int[] events = vfio.events(3);
        assertOk(device.arm(OpenedDevice.MSIX, 0, events));
        PciDevice facts = device(E1000E);
        List<HostInterrupts.ArmedVector> armed =
                host().interrupts().orElseThrow().armed(facts.address());
        assertThat(armed).extracting(HostInterrupts.ArmedVector::vector).containsExactly(0, 1, 2);
        assertThat(armed).extracting(HostInterrupts.ArmedVector::kind).containsOnly(IrqKind.MSIX);
        assertThat(facts.messageIrqs())
                .containsAll(armed.stream().map(HostInterrupts.ArmedVector::irq).collect(Collectors.toList()));
    }

    /** Edu is a conventional device: only its second user proves that it has DisINTx. */
    @Test
    void lineThatTwoDevicesShareIsSeenToBeShareable() {
        OpenedDevice first = vfio.device(EDU);
        OpenedDevice second = vfio.secondEdu();
        assertOk(first.arm(INTX, 0, world.eventfd()));
        assertThat(IntxLine.read(host(), device(EDU)).requested()).isInstanceOf(Known.Unknown.class);
        assertOk(second.arm(INTX, 0, world.eventfd()));
        IntxLine line = IntxLine.read(host(), device(EDU));
        assertThat(line.handlers().known())
                .hasValueSatisfying(
                        others -> assertThat(others).singleElement().asString().startsWith("vfio-intx("));
        assertThat(line.requested().known().map(IntxLine.Requested::request)).contains(IntxLine.Request.SHAREABLE);
    }

    @Test
    void lineOfAPciExpressDeviceIsSeenToBeShareable() {
        OpenedDevice device = vfio.device(E1000E);
        assertOk(device.arm(INTX, 0, world.eventfd()));
        IntxLine line = IntxLine.read(host(), device(E1000E));
        assertThat(line.armed()).isTrue();
        assertThat(line.requested().known().map(IntxLine.Requested::request)).contains(IntxLine.Request.SHAREABLE);
    }
}
