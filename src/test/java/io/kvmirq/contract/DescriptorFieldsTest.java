/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vtd.posting.RecordedPid;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.HostApicId;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.PredictedPid;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The comparison of the lab's walk, with descriptors that it recorded and with a wrong bit in them. */
class DescriptorFieldsTest {
    private static final VcpuId VCPU = DescriptorWalk.VCPU;

    /** A recorded phase with the descriptor that the mirror predicts from its events. */
    private record Phase(long[] words, boolean isListed, DescriptorFields.Expected expected) {
        static Phase of(String kernel, String name, boolean isAssigned, Event... stops) throws IOException {
            RecordedPid recorded = RecordedPid.of(kernel, name);
            Mirror mirror = DescriptorWalk.mirror(LinuxVersion.parse(kernel).orElseThrow(), isAssigned);
            mirror.apply(new Event.VcpuLoaded(VCPU, new HostApicId(recorded.cpu())));
            mirror.apply(List.of(stops));
            PredictedPid pid = mirror.now().pid(VCPU).known().orElseThrow();
            List<Integer> pir = Arrays.stream(recorded.pir().split(","))
                    .filter(vector -> !vector.isEmpty())
                    .map(Integer::decode)
                    .toList();
            long[] words = new long[PostedInterruptDescriptor.BYTES / Long.BYTES];
            pir.forEach(vector -> words[vector / Long.SIZE] |= 1L << vector);
            words[PostedInterruptDescriptor.CONTROL] = recorded.control();
            boolean on = PostedInterruptDescriptor.ON.isSet(recorded.control());
            return new Phase(
                    words,
                    name.startsWith("V1"),
                    new DescriptorFields.Expected(Optional.of(pid), pir, on, List.of(), List.of(), Set.of()));
        }

        static List<Phase> all() throws IOException {
            return List.of(
                    of("6.1", "P1 vcpu 0 runs", false),
                    of("6.12", "P6 0x40 sent while preempted", false, new Event.VcpuPreempted(VCPU)),
                    of("6.12", "P8 affinity moved to CPU 0 while blocked", false, new Event.VcpuBlocked(VCPU)),
                    of("6.1", "V1 right after", true, new Event.VcpuBlocked(VCPU)),
                    of("6.1", "V4 the unit posted 0x40, not urgent", true, new Event.VcpuPreempted(VCPU)),
                    of("6.1", "V4 the unit posted 0xca, urgent", true, new Event.VcpuPreempted(VCPU)));
        }

        List<String> differing(KernelVcpu kernel) {
            return DescriptorFields.compare("", expected, kernel).differing();
        }

        KernelVcpu kernel() {
            return kernel(words, isListed, true, List.of(), new KernelVcpu.Page(List.of(), List.of()));
        }

        static KernelVcpu kernel(
                long[] words, boolean isListed, boolean active, List<String> inhibits, KernelVcpu.Page page) {
            return new KernelVcpu(
                    1,
                    VCPU,
                    active,
                    inhibits,
                    new Known.Observed<>(page),
                    new Known.Observed<>(new KernelVcpu.Posted(PostedInterruptDescriptor.decode(words), 1, isListed)),
                    OptionalLong.empty());
        }
    }

    @Test
    void recordedDescriptorsAreAsPredicted() throws IOException {
        for (Phase phase : Phase.all()) {
            DescriptorFields.Result result = DescriptorFields.compare("", phase.expected, phase.kernel());
            assertThat(result.differing()).isEmpty();
            assertThat(result.compared()).isEqualTo(11);
            assertThat(result.unknown()).isZero();
        }
    }

    @ParameterizedTest
    @CsvSource({
        "0x20, PIR",
        "0x3f, PIR",
        "0x40, PIR",
        "0x7f, PIR",
        "0x80, PIR",
        "0xca, PIR",
        "0xff, PIR",
        "256, ON",
        "257, SN",
        "258, reserved bits",
        "271, reserved bits",
        "272, NV",
        "273, NV",
        "275, NV",
        "279, NV",
        "280, reserved bits",
        "287, reserved bits",
        "288, NDST",
        "296, NDST",
        "297, NDST",
        "303, NDST",
        "319, NDST",
        "320, reserved bits",
        "383, reserved bits",
        "447, reserved bits",
        "511, reserved bits"
    })
    void wrongBitIsNamed(int bit, String field) throws IOException {
        for (Phase phase : Phase.all()) {
            long[] words = phase.words.clone();
            words[bit / Long.SIZE] ^= 1L << bit;
            KernelVcpu wrong =
                    Phase.kernel(words, phase.isListed, true, List.of(), new KernelVcpu.Page(List.of(), List.of()));
            assertThat(phase.differing(wrong)).singleElement().asString().startsWith(": " + field + " is ");
        }
    }

    @Test
    void wrongValueBesideTheDescriptorIsNamed() throws IOException {
        KernelVcpu.Page empty = new KernelVcpu.Page(List.of(), List.of());
        String inhibit = InhibitReason.BLOCKIRQ.name();
        for (Phase phase : Phase.all()) {
            long[] words = phase.words;
            boolean listed = phase.isListed;
            assertNamed(phase, "wake-up list", Phase.kernel(words, !listed, true, List.of(), empty));
            assertNamed(phase, "APICv", Phase.kernel(words, listed, false, List.of(), empty));
            assertNamed(phase, "inhibits", Phase.kernel(words, listed, true, List.of(inhibit), empty));
            KernelVcpu.Page requested = new KernelVcpu.Page(List.of(0x40), List.of());
            assertNamed(phase, "IRR", Phase.kernel(words, listed, true, List.of(), requested));
            KernelVcpu.Page inService = new KernelVcpu.Page(List.of(), List.of(0x40));
            assertNamed(phase, "ISR", Phase.kernel(words, listed, true, List.of(), inService));
        }
    }

    private static void assertNamed(Phase phase, String field, KernelVcpu wrong) {
        assertThat(phase.differing(wrong)).singleElement().asString().startsWith(": " + field + " is ");
    }

    /** A call may load a vCPU in user space on another CPU, so its NDST is not predicted. */
    @Test
    void fieldsThatAreNotPredictedAreCounted() throws IOException {
        Phase outside = Phase.of("6.12", "P3 vectors 0x40 and 0xca", false, new Event.VcpuLeft(VCPU));
        assertThat(DescriptorFields.compare("", outside.expected, outside.kernel()))
                .isEqualTo(new DescriptorFields.Result(10, 1, List.of()));

        Phase running = Phase.all().get(0);
        DescriptorFields.Expected unheard = DescriptorFields.Expected.idle(Optional.empty(), Set.of());
        assertThat(DescriptorFields.compare("", unheard, running.kernel()))
                .isEqualTo(new DescriptorFields.Result(7, 4, List.of()));
    }
}
