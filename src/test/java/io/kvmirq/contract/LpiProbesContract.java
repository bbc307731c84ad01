/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.LiveProbesContract.host;
import static io.kvmirq.contract.LiveProbesContract.value;
import static io.kvmirq.contract.LiveProbesContract.watch;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import io.kvmirq.selftest.AnsweringVm;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Messages of a device to a guest of arm64 by probes: the chain is what was set up, and no stage loses. */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#arm64")
class LpiProbesContract {
    private static final int VECTORS = 3;
    private static final int SENT = 5;
    /** The lowest number of an LPI. */
    private static final int FIRST_LPI = 8192;

    private final VfioWorld vfio;
    private LpiDevice nic;

    @SuppressWarnings("NullAway.Init")
    LpiProbesContract(VfioWorld vfio) {
        this.vfio = vfio;
    }

    @BeforeEach
    void setUp() {
        nic = new LpiDevice(vfio, "the fake has no tracefs");
        assumeTrue(!nic.direct, "needs a GICv3: a vLPI passes no probe");
    }

    @AfterEach
    void close() throws IOException {
        if (nic != null) {
            nic.close();
        }
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    @Test
    void chainIsWhatWasSetUpAndNothingIsLost() throws IOException {
        AnsweringVm guest = nic.made.add(new AnsweringVm(
                nic.kernel,
                () -> Mirror.create(new PostingFacts(vfio.kernel().libc().hostFiles()).forMirror(true))));
        VfioDevice device = nic.open(guest.vm());
        PciAddress address = vfio.address(TestDevice.E1000E);
        List<ForwardedIrq> irqs =
                nic.made.add(Forwarding.create(guest.vm(), device)).forwardAll(device.msix(0, VECTORS), guest::message);
        guest.start();
        Live live;
        HostFacts after;
        try (LiveWindow window = watch(List.of(address))) {
            for (int i = 0; i < SENT * VECTORS; i++) {
                int vector = i % VECTORS;
                assertThat(guest.taken(vector, () -> nic.send(vector))).isPositive();
            }
            after = host();
            live = LiveProbesContract.ended(window, after);
        }
        live.missing().forEach(unknown -> System.out.println("not shown: " + unknown));
        live.stages().forEach(LiveProbesContract::printed);
        assertThat(live.stages()).hasSize(VECTORS).allMatch(stages -> stages.loses()
                .isEmpty());
        live.notes().forEach(note -> System.out.println("note: " + note));
        boolean isShown = live.notes().stream()
                .noneMatch(note -> note.startsWith("vCPUs are not shown: ") && note.contains("vgic_queue_irq_unlock"));
        LiveChains chains = LiveChains.of(live, after);
        for (int vector = 0; vector < VECTORS; vector++) {
            InterruptPath chain =
                    chains.of(DeviceChains.read(after, after.pci(address).orElseThrow(), vector));
            for (Hop<?> hop : Hop.all()) {
                System.out.println("by probes: " + vector + " " + hop.label() + " " + value(chain, hop));
            }
            assertThat(value(chain, Hop.EVENTFD)).startsWith("id ");
            assertThat(value(chain, Hop.IRQFD))
                    .isEqualTo("process " + ProcessHandle.current().pid());
            assertThat(value(chain, Hop.GSI))
                    .isEqualTo("gsi " + irqs.get(vector).gsi().orElseThrow().number());
            if (isShown) {
                assertThat(value(chain, Hop.GUEST_VECTOR)).isEqualTo("interrupt " + (FIRST_LPI + vector));
                assertThat(value(chain, Hop.VCPU)).isEqualTo("vcpu 0");
            } else {
                assertThat(chain.link(Hop.VCPU).orElseThrow().state()).isEqualTo(Link.State.NOT_SHOWN);
            }
            assertThat(chain.fails()).isEmpty();
        }
    }
}
