/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.Stages;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveWindow;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.testing.RealKvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Linux drives an nvme by INTx under QEMU's machine pc, whose GSIs below 16 have routes to the PIC and to the IOAPIC. The lab
 * runs it only by name, as {@link LinuxDevicesTest}.
 */
@RealKvm
class LinuxDevicesOnPcTest {
    private static final int READS = 50;
    private static final Pattern TOOK = Pattern.compile("guest: nvme took (\\d+) interrupts");

    @AfterEach
    void nothingIsLeft() throws IOException {
        assertThat(LiveProbesContract.left()).isEmpty();
    }

    private static long took(BufferedReader console) throws IOException {
        for (String line = console.readLine(); line != null; line = console.readLine()) {
            System.out.println(line);
            Matcher found = TOOK.matcher(line);
            if (found.find()) {
                return Long.parseLong(found.group(1));
            }
        }
        throw new AssertionError("the console ended before '" + TOOK + "'");
    }

    /** Reads blocks, and returns the number of interrupts that the guest has taken. */
    private static long read(Process vmm, BufferedReader console) throws IOException {
        vmm.getOutputStream().write((READS + "\n").getBytes(StandardCharsets.US_ASCII));
        vmm.getOutputStream().flush();
        return took(console);
    }

    /** The second process has the arguments and the device of the first one. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void linesOfThePicAndTheIoapicLoseNothing(boolean restarts) throws Exception {
        assumeFalse(LinuxDevicesTest.IS_ARM64, "needs x86: arm64 has one chip");
        String nvme = LinuxDevicesTest.address(LinuxDevicesTest.NVME);
        PciAddress device = PciAddress.parse(nvme);
        ProcessBuilder qemu = new ProcessBuilder(LinuxDevicesTest.qemu(
                        "device=nvme boot=1 typed=1 pci=nomsi",
                        ("-machine pc -serial stdio -device vfio-pci,host=" + nvme).split(" ")))
                .redirectErrorStream(true);
        Process vmm = qemu.start();
        Live live;
        HostFacts after;
        long took;
        try {
            BufferedReader console = vmm.inputReader(StandardCharsets.UTF_8);
            long before = took(console);
            try (LiveWindow window = LiveProbesContract.watch(List.of(device), vmm.pid())) {
                took = read(vmm, console) - before;
                if (restarts) {
                    vmm.destroyForcibly().waitFor();
                    vmm = qemu.start();
                    console = vmm.inputReader(StandardCharsets.UTF_8);
                    took(console);
                    took += read(vmm, console);
                }
                after = LiveProbesContract.host();
                live = LiveProbesContract.ended(window, after);
            }
        } finally {
            vmm.destroyForcibly().waitFor();
        }
        int reads = restarts ? 2 * READS : READS;
        assertThat(live.missing()).isEmpty();
        assertThat(live.stages()).hasSize(1);
        Stages stages = live.stages().get(0);
        LiveProbesContract.printed(stages);
        System.out.println("pc: the guest took " + took + ", " + live.notes());
        assertThat(took).isGreaterThanOrEqualTo(reads);
        assertThat(stages.loses()).isEmpty();
        assertThat(stages.doubt()).isEmpty();
        assertThat(live.notes().stream().filter(note -> note.contains(", which replaced it, ")))
                .hasSize(restarts ? 1 : 0);
        assertThat(stages.stages()).extracting(Stages.Stage::label).contains("taken");
        assertThat(stages.stages())
                .filteredOn(stage -> !Set.of("delivered", "taken").contains(stage.label()))
                .extracting(Stages.Stage::counted)
                .hasSizeGreaterThan(2)
                .containsOnly(String.valueOf(took));
        // Each vCPU counts the vector, also if another interrupt has it there.
        assertThat(stages.stages())
                .filteredOn(stage -> stage.label().equals("taken"))
                .allSatisfy(stage -> assertThat(stage.count().orElse(0)).isGreaterThanOrEqualTo(reads));
        InterruptPath files = DeviceChains.read(after, after.pci(device).orElseThrow(), 0);
        assertThat(files.fails()).isEmpty();
        assertThat(LiveChains.of(live, after).of(files).fails()).isEmpty();
    }
}
