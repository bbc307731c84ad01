/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A descriptor in the memory of a real kernel, on a machine with two CPUs in xAPIC mode, whose APIC ids are 0 and 1:
 * Debian's kernels on an emulated processor with APICv. From phase V on a stand-in for the IOMMU posts.
 *
 * @param pir the requested vectors, such as {@code 0x40,0xca}
 * @param cpu the CPU on which the vCPU was loaded last
 * @param phase what led to it, such as {@code V4 preempted}
 */
public record RecordedPid(long control, String pir, int cpu, String phase) {
    private static final Pattern LINE =
            Pattern.compile("PID vcpu=\\d .* PIR=\\{(.*)} raw=(\\p{XDigit}+) mode=\\d cpu=(\\d)  (.*)");

    /** The recorded descriptors of a kernel, 6.1 or 6.12, in the order of the phases. */
    public static List<RecordedPid> of(String kernel) throws IOException {
        try (InputStream in = RecordedPid.class.getResourceAsStream("machine-" + kernel + ".txt")) {
            return new String(Objects.requireNonNull(in).readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .map(RecordedPid::parse)
                    .toList();
        }
    }

    /** The descriptor of a phase, by the beginning of its text. */
    public static RecordedPid of(String kernel, String phase) throws IOException {
        return of(kernel).stream()
                .filter(pid -> pid.phase.startsWith(phase))
                .findFirst()
                .orElseThrow();
    }

    private static RecordedPid parse(String line) {
        Matcher fields = LINE.matcher(line);
        assertThat(fields.matches()).as(line).isTrue();
        return new RecordedPid(
                Long.parseUnsignedLong(fields.group(2), 16),
                fields.group(1),
                Integer.parseInt(fields.group(3)),
                fields.group(4));
    }

    /** The control word of a CPU with another APIC id, in x2APIC mode. */
    public long controlInX2apicMode(long id) {
        assertThat(PostedInterruptDescriptor.NDST.of(control))
                .as("NDST of %s", this)
                .isEqualTo(PostedInterruptDescriptor.destinationXapic(cpu));
        return PostedInterruptDescriptor.NDST.put(control, PostedInterruptDescriptor.destinationX2apic(id));
    }
}
