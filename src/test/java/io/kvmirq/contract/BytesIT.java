/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.choice.Backends;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import io.kvmirq.testing.SeenCalls;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every binding asks the kernel the same, byte for byte: their system calls are compared. No KVM is needed for that. */
class BytesIT {
    /** The first JVM that has the foreign-function API. */
    private static final int FFM_SINCE = 22;

    @TempDir
    private Path temporary;

    @Test
    void bindingsAskTheSameByteForByte() throws Exception {
        Map<String, List<String>> calls = new LinkedHashMap<>();
        for (String backend : backends()) {
            calls(backend).ifPresent(made -> calls.put(backend, made));
        }
        assertThat(calls).as("bindings that work here").isNotEmpty();
        String first = calls.keySet().iterator().next();
        List<String> expected = calls.getOrDefault(first, List.of());
        int primitives = EveryPrimitive.primitives().size();
        assertThat(expected).as("calls of " + first).hasSizeGreaterThanOrEqualTo(primitives);
        assumeTrue(calls.size() > 1, "needs two bindings to compare, only " + first + " works here");
        long differences = 0;
        for (List<String> made : calls.values()) {
            differences += differences(expected, made);
        }
        System.out.println(primitives + " primitives x " + calls.size() + " bindings compared ("
                + String.join(", ", calls.keySet()) + ", " + expected.size() + " calls each), " + differences
                + " differences");
        for (Map.Entry<String, List<String>> made : calls.entrySet()) {
            assertThat(made.getValue()).as(made.getKey() + " beside " + first).isEqualTo(expected);
        }
    }

    /** From gen.c over the headers of Linux 7.1.8, as {@code make headers} leaves them; VFIO's over those of 6.1. */
    private static final Map<String, String> VECTORS = Map.of(
            "irqfd, resampled", request(Uapi.KVM_IRQFD, "070000000a0000000200000009000000" + "00".repeat(16)),
            "irqfd, deassigned", request(Uapi.KVM_IRQFD, "070000000a0000000100000000000000" + "00".repeat(16)),
            "ioeventfd, MMIO",
                    request(
                            Uapi.KVM_IOEVENTFD,
                            "0000000000000000003000fe00000000040000000b00000000000000" + "00".repeat(36)),
            "ioeventfd, PIO and datamatch",
                    request(
                            Uapi.KVM_IOEVENTFD,
                            "341200000000000050c0000000000000020000000b00000003000000" + "00".repeat(36)),
            "two routes",
                    request(
                            Uapi.KVM_SET_GSI_ROUTING,
                            "0200000000000000040000000100000000000000000000000200000004000000" + "00".repeat(24)
                                    + "180000000200000000000000000000000010e0fe0000000041400000" + "00".repeat(20)),
            "a pin, and words of Hyper-V",
                    request(
                            Uapi.KVM_SET_GSI_ROUTING,
                            "0200000000000000040000000100000000000000000000000200000004000000" + "00".repeat(24)
                                    + "18000000040000000000000000000000" + "0000000000000000414000008877665544332211"
                                    + "000000000700000000000000"),
            "signal msi", request(Uapi.KVM_SIGNAL_MSI, "0000e0fe0000000030000000" + "00".repeat(20)),
            "test of a device", request(Uapi.KVM_CREATE_DEVICE, "040000000000000001000000"),
            "vfio irq info", request(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, "10000000000000000200000000000000"),
            "two vfio eventfds",
                    request(UapiVfio.VFIO_DEVICE_SET_IRQS, "1c00000024000000020000000300000002000000eb030000ffffffff"));

    private static String request(long number, String hex) {
        return String.format(" 0x%x %s", number, hex);
    }

    @Test
    void everyBindingsBytesAreThoseOfTheKernelsHeaders() throws Exception {
        int compared = 0;
        for (String backend : backends()) {
            Optional<List<String>> calls = calls(backend);
            if (calls.isPresent()) {
                VECTORS.forEach((name, bytes) ->
                        assertThat(calls.get()).as(backend + ": " + name).anyMatch(line -> line.endsWith(bytes)));
                compared++;
            }
        }
        assertThat(compared).as("bindings that work here").isPositive();
    }

    // What to run

    /** Bindings that call a kernel: the fake makes no system call. */
    private static List<String> backends() {
        List<String> named = Optional.ofNullable(System.getProperty("kvmirq.test.backends"))
                .map(names -> List.of(names.split(" ", -1)))
                .orElseGet(() -> Backends.ofThisMachine().names());
        List<String> calling = named.stream()
                .filter(name -> !name.equals(Backends.AUTO) && !name.equals(Backends.FAKE))
                .toList();
        assumeTrue(!calling.isEmpty(), "needs a binding that calls a kernel");
        return calling;
    }

    /** Absent when this binding cannot be used here, and was not asked for by name. */
    private Optional<List<String>> calls(String backend) throws IOException, InterruptedException {
        Path java = Path.of(System.getProperty("java.home"));
        if (backend.equals("ffm") && Runtime.version().feature() < FFM_SINCE) {
            List<Path> jdks = jdks();
            java = jdks.get(jdks.size() - 1);
        }
        Path calls = temporary.resolve(backend);
        Path target = Machine.root().resolve("target");
        Program.Ended ended = Program.run(new SeenCalls(temporary)
                .all(
                        calls,
                        List.of(
                                java.resolve("bin/java").toString(),
                                "-cp",
                                Machine.jar() + ":" + target.resolve("test-classes"),
                                "--enable-native-access=ALL-UNNAMED",
                                EveryPrimitive.class.getName(),
                                backend)));
        String said = ended.said();
        if (ended.code() == 3 && System.getProperty("kvmirq.test.backends") == null) {
            System.out.println("not compared: " + backend + ": " + said.strip());
            return Optional.empty();
        }
        assertThat(ended.code()).as(said).isZero();
        try (Stream<String> lines = Files.lines(calls)) {
            return Optional.of(
                    lines.map(line -> line.replaceAll(" id=-?\\d+", "")).toList());
        }
    }

    private static List<Path> jdks() throws IOException, InterruptedException {
        return Program.output(List.of(Machine.root() + "/scripts/jdks"))
                .lines()
                .map(Path::of)
                .toList();
    }

    // What was compared

    private static long differences(List<String> expected, List<String> found) {
        long differing = Math.abs(expected.size() - found.size());
        for (int i = 0; i < Math.min(expected.size(), found.size()); i++) {
            differing += expected.get(i).equals(found.get(i)) ? 0 : 1;
        }
        return differing;
    }
}
