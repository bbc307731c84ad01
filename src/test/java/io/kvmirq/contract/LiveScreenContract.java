/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.TestDevice.E1000E;
import static io.kvmirq.contract.World.MSI_ADDRESS;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.contract.World.eventually;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.contract.World.MsiRoute;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import io.kvmirq.uapi.UapiVfio;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** The first screen of src/docs/command.md: a device of the lab, whose messages a guest takes while {@code explain} watches. */
@VfioContract
class LiveScreenContract extends VfioSuite {
    private static final int GSI = 24;
    private static final int PAUSE_MILLIS = 100;

    @Test
    void commandPrintsWhatThePageShows() throws Exception {
        LiveProbesContract.requireProbes(world);
        LiveLossesContract.requireInjectionByKvm();
        int vm = world.fullVm();
        RealModeGuest guest = RealModeGuest.answering(world, vm);
        String nic = vfio.address(E1000E).toString();
        OpenedDevice device = vfio.device(E1000E);
        device.start();
        int[] events = vfio.events(1);
        assertOk(world.setMsiRoutes(vm, new MsiRoute(GSI, MSI_ADDRESS, World.VECTOR, 0)));
        assertOk(device.arm(UapiVfio.VFIO_PCI_MSIX_IRQ_INDEX, 0, events));
        assertOk(kernel.irqfdAssign(vm, events[0], GSI));
        Process explain = Cli.jvm().start("explain", nic, "0", "--live", "5");
        // The machine has one processor, which explain needs, too.
        while (explain.isAlive()) {
            TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
            device.hardware.send(0);
            eventually("the vector is requested", () -> world.requested(guest.vcpu(), World.VECTOR));
            guest.answer();
        }
        String out = new String(explain.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        System.out.println(out);
        assertThat(explain.exitValue())
                .as(new String(explain.getErrorStream().readAllBytes(), StandardCharsets.UTF_8))
                .isZero();
        Block shown = Page.of("src/docs/command.md").blocks().stream()
                .filter(block -> block.kind().equals("console lab"))
                .filter(block -> block.command().matches("kvmirq explain 0000:00:\\d\\d\\.0 0 --live 5"))
                .findFirst()
                .orElseThrow();
        Block.assertShownExceptNumbers(shown.output(), out);
    }
}
