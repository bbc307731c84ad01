/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.testing.RealKvm;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/**
 * The same Linux with the same nvme under QEMU and under scripts/tiny-vmm, in turn: the guest counts as many interrupts. The
 * times are printed, and nothing is expected of them. The lab runs it only by name, as {@link LinuxDevicesTest}.
 */
@RealKvm
class LinuxDevicesBesideQemuTest {
    private static final int ROUNDS = 3;
    private static final String APPEND = "device=nvme reads=500 boot=1";
    private static final Pattern INIT = Pattern.compile("guest: init after ([0-9.]+) s");

    /** Seconds since the start of the VMM; those of the guest's own clock are from the start of its kernel. */
    private record Boot(double toInit, double clockOfGuest, List<String> counts) {
        double beforeKernel() {
            return toInit - clockOfGuest;
        }
    }

    private static Boot boot(List<String> command) throws Exception {
        long since = System.nanoTime();
        Process vmm = new ProcessBuilder(command).redirectErrorStream(true).start();
        vmm.getOutputStream().close();
        StringBuilder console = new StringBuilder();
        double toInit = 0;
        try (BufferedReader lines =
                new BufferedReader(new InputStreamReader(vmm.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                toInit = toInit == 0 && line.contains("guest: init") ? (System.nanoTime() - since) / 1e9 : toInit;
                console.append(line).append('\n');
            }
        }
        assertThat(vmm.waitFor()).as(console::toString).isZero();
        Matcher init = INIT.matcher(console);
        assertThat(init.find()).as(console::toString).isTrue();
        return new Boot(toInit, Double.parseDouble(init.group(1)), LinuxDevicesTest.counts(console.toString()));
    }

    private static String median(List<Boot> boots, ToDoubleFunction<Boot> of) {
        return String.format(
                "%.1f",
                boots.stream()
                        .mapToDouble(of)
                        .sorted()
                        .skip(boots.size() / 2)
                        .findFirst()
                        .orElseThrow());
    }

    @Test
    void guestCountsTheSameInterrupts() throws Exception {
        assumeTrue(LinuxDevicesTest.IS_ARM64, "needs arm64");
        String nvme = LinuxDevicesTest.address(LinuxDevicesTest.NVME);
        List<String> tiny = LinuxDevicesTest.tinyVmm(APPEND, "--device", nvme);
        List<String> other = LinuxDevicesTest.qemu(APPEND, "-serial", "stdio", "-device", "vfio-pci,host=" + nvme);
        Map<String, List<String>> commands = new TreeMap<>(Map.of("QEMU", other, "tiny-vmm", tiny));
        Map<String, List<Boot>> boots = new TreeMap<>();
        for (int round = 0; round < ROUNDS; round++) {
            for (Map.Entry<String, List<String>> entry : commands.entrySet()) {
                Boot boot = boot(entry.getValue());
                System.out.printf("beside: %s %s%n", entry.getKey(), boot);
                boots.computeIfAbsent(entry.getKey(), name -> new ArrayList<>()).add(boot);
            }
        }
        boots.forEach((name, all) -> System.out.printf(
                "beside: %-20s median to init %s s, before its kernel %s s%n",
                name, median(all, Boot::toInit), median(all, Boot::beforeKernel)));
        List<String> expected = List.of("boot 1: 500", "moved: 50", "reset: 50");
        assertThat(boots.values())
                .allSatisfy(all -> assertThat(all).extracting(Boot::counts).containsOnly(expected));
    }
}
