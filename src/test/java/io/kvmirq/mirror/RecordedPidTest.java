/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.posting.RecordedPid;
import io.kvmirq.path.FieldValue;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The predicted fields of a descriptor, beside descriptors in the memory of a real kernel. */
class RecordedPidTest {
    private static final VcpuId VCPU = new VcpuId(0);
    private static final List<BitField> FIELDS =
            List.of(PostedInterruptDescriptor.SN, PostedInterruptDescriptor.NV, PostedInterruptDescriptor.NDST);

    private static Mirror mirror(Optional<Boolean> x2apic, Event... events) {
        PostingHost host = PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse("6.1").orElseThrow());
        Mirror mirror = Mirror.create(new MirrorHost.X86(host, Optional.empty(), x2apic, Optional.of(false)));
        EventFdId event = new EventFdId(1);
        Gsi gsi = new Gsi(24);
        mirror.apply(List.of(
                new Event.VcpuAdded(VCPU),
                Event.RoutesCommitted.of(new Route.Msi(gsi, MsiMessage.to(VCPU, new InterruptVector(0x40)))),
                new Event.ConsumerAdded(event, gsi),
                new Event.ProducerAdded(
                        event, new Producer(PciAddress.parse("0000:3b:00.0"), Producer.Kind.MSI_X, 0))));
        mirror.apply(List.of(events));
        return mirror;
    }

    private static Known<Long> field(Mirror mirror, BitField field) {
        return mirror.now().vcpuStructure(VCPU).known().orElseThrow().value().known().orElseThrow().fields().stream()
                .filter(predicted -> predicted.name().equals(field.name()))
                .map(FieldValue::value)
                .findFirst()
                .orElseThrow();
    }

    private static Event loaded(int cpu) {
        return new Event.VcpuLoaded(VCPU, new HostApicId(cpu));
    }

    /** On a host in xAPIC mode NDST has the id in bits 15:8: {@code vmx_vcpu_pi_load()}. */
    @ParameterizedTest
    @CsvSource({
        "'V2 runs', LOADED",
        "'V4 preempted', PREEMPTED",
        "'V0 blocked, after the start', BLOCKED",
        "'V7 blocked on CPU 1', BLOCKED",
        "'V7 posted: woken, blocked again', BLOCKED",
        "'V3 in user space', LEFT",
        "'V8 halted with IF=0', LEFT"
    })
    void fieldsAreThoseOfTheMachine(String phase, String stage) throws Exception {
        RecordedPid recorded = RecordedPid.of("6.1", phase);
        Mirror mirror = mirror(
                Optional.of(false),
                loaded(recorded.cpu()),
                switch (stage) {
                    case "PREEMPTED" -> new Event.VcpuPreempted(VCPU);
                    case "BLOCKED" -> new Event.VcpuBlocked(VCPU);
                    case "LEFT" -> new Event.VcpuLeft(VCPU);
                    default -> loaded(recorded.cpu());
                });
        for (BitField field : FIELDS) {
            Known<Long> predicted = field(mirror, field);
            if (stage.equals("LEFT") && field.equals(PostedInterruptDescriptor.NDST)) {
                assertThat(predicted).as("a call on the vCPU loads it").isInstanceOf(Known.Unknown.class);
            } else {
                assertThat(predicted)
                        .as("%s of %s", field, recorded)
                        .isEqualTo(new Known.Predicted<>(field.of(recorded.control())));
            }
        }
    }

    private static Known<PredictedPid> stock(PostingHost host, Optional<Boolean> ipiv, Event... events) {
        Mirror mirror = Mirror.create(new MirrorHost.X86(host, Optional.empty(), Optional.of(false), ipiv));
        mirror.apply(new Event.VcpuAdded(VCPU));
        mirror.apply(List.of(events));
        return mirror.now().pid(VCPU);
    }

    private static PostingHost host(String kernel) {
        return PostingHost.of(Vendor.INTEL)
                .withKernel(LinuxVersion.parse(kernel).orElseThrow());
    }

    /** On a host that cannot post, only loads write the descriptor: {@code vmx_vcpu_pi_put()} returns at once. */
    @ParameterizedTest
    @CsvSource({
        "6.1, 'P1 vcpu 0 runs', LOADED",
        "6.1, 'P3 vCPU in user space', LEFT",
        "6.1, 'P4 vCPU blocked', BLOCKED",
        "6.1, 'P6 vCPU preempted', PREEMPTED",
        "6.1, 'P8 affinity moved', BLOCKED",
        "6.12, 'P4 vCPU blocked', BLOCKED",
        "6.12, 'P6 vCPU preempted', PREEMPTED"
    })
    void descriptorWithoutADeviceIsThatOfTheMachine(String kernel, String phase, String stage) throws Exception {
        RecordedPid recorded = RecordedPid.of(kernel, phase);
        PredictedPid predicted = stock(
                        host(kernel).without(PostingHost.Feature.POSTING_UNITS),
                        Optional.of(false),
                        loaded(recorded.cpu()),
                        switch (stage) {
                            case "PREEMPTED" -> new Event.VcpuPreempted(VCPU);
                            case "BLOCKED" -> new Event.VcpuBlocked(VCPU);
                            case "LEFT" -> new Event.VcpuLeft(VCPU);
                            default -> loaded(recorded.cpu());
                        })
                .known()
                .orElseThrow();
        assertThat(predicted.nv()).isEqualTo((int) PostedInterruptDescriptor.NV.of(recorded.control()));
        assertThat(predicted.sn()).isEqualTo(PostedInterruptDescriptor.SN.isSet(recorded.control()));
        if (!stage.equals("LEFT")) {
            assertThat(predicted.cpu()).hasValue(recorded.cpu());
        }
    }

    @Test
    void whatMayUpdateADescriptorMakesItUnknown() {
        Event[] blocked = {loaded(1), new Event.VcpuBlocked(VCPU)};
        PredictedPid listed = new PredictedPid(0xf1, false, OptionalInt.of(1));
        PredictedPid left = new PredictedPid(0xf2, false, OptionalInt.of(1));
        PostingHost without = host("6.12").without(PostingHost.Feature.POSTING_UNITS);
        assertThat(stock(without, Optional.of(true), blocked).known())
                .as("IPI virtualization")
                .contains(listed);
        assertThat(stock(without, Optional.empty(), blocked)).isInstanceOf(Known.Unknown.class);
        assertThat(stock(host("6.16"), Optional.of(false), blocked))
                .as("a device of KVM-VFIO is enough")
                .isInstanceOf(Known.Unknown.class);
        assertThat(stock(host("6.17"), Optional.of(false), blocked).known()).contains(left);
    }

    @Test
    void modeOfTheHostDecidesTheFormOfNdst() {
        BitField ndst = PostedInterruptDescriptor.NDST;
        assertThat(field(mirror(Optional.of(true), loaded(5)), ndst)).isEqualTo(new Known.Predicted<>(5L));
        assertThat(field(mirror(Optional.of(false), loaded(0xfe)), ndst)).isEqualTo(new Known.Predicted<>(0xfe00L));
        assertThat(field(mirror(Optional.empty(), loaded(5)), ndst).toString())
                .isEqualTo("unknown: it holds APIC id 5, in bits 15:8 if the host is in xAPIC mode, and no file shows"
                        + " the host's mode");
        Stream.of(0, 0xff, 0x1000).forEach(id -> assertThat(field(mirror(Optional.empty(), loaded(id)), ndst))
                .as("id %s has one form", id)
                .isEqualTo(new Known.Predicted<>((long) id)));
        assertThat(field(mirror(Optional.empty(), loaded(5)), PostedInterruptDescriptor.SN))
                .isEqualTo(new Known.Predicted<>(0L));
    }
}
