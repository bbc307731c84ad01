/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.host.FakeRecording;
import io.kvmirq.host.trace.EventFormat;
import io.kvmirq.host.trace.TraceEvent;
import io.kvmirq.host.trace.TraceReader;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86SystemRegisters.Name;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The reasons that inhibit APIC virtualization, as kvm_apicv_inhibit_changed names them, what they change, and the GA log. */
class InhibitsTest {
    private static final long PAGE = 0x1000;
    private static final int ID_OF_XAPIC = 24;

    private final TraceReader reader = new TraceReader();
    private final List<String> seen = new ArrayList<>();

    @AutoClose
    private final Undo undo = new Undo();

    /** Records the changes of all VMs from now on. */
    private void watch(FakeKernel fake) {
        watch(
                fake,
                "kvm/kvm_apicv_inhibit_changed",
                event -> (number(event, "set") == 0 ? "-" : "+")
                        + number(event, "reason")
                        + ' '
                        + event.flags("inhibits"));
    }

    private static long number(TraceEvent event, String field) {
        return event.number(field).orElseThrow();
    }

    private void watch(FakeKernel fake, String name, Function<TraceEvent, String> text) {
        FakeRecording recording = undo.add(new FakeRecording(fake.tracing()));
        List<EventFormat> formats = List.of(recording.choose(name, "").known().orElseThrow());
        reader.add(recording, recording.start().known().orElseThrow(), formats, new TraceReader.Sink() {
            @Override
            public void event(TraceEvent event) {
                seen.add(text.apply(event));
            }

            @Override
            public void lost() {
                seen.add("lost");
            }
        });
    }

    private PostingSetup posted(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        EventFd event = setup.event();
        setup.irqfd(event, setup.routeTo(0));
        setup.arm(event);
        watch(setup.fake);
        return setup;
    }

    /** {@code VMX_REQUIRED_APICV_INHIBITS}: neither the timer nor logical ids count on Intel. */
    @ParameterizedTest
    @CsvSource({
        "'6.1,vtd-posting', +5",
        "'6.12,vtd-posting', +4 +5 -4",
        "vtd, +4 +5 -4",
        "vtd-posting, +4 +5 -4",
        "'6.12,amd-avic', +9 -9 +11 -11 +4 +5 +11 -4 -11",
    })
    void eachVendorKnowsItsReasons(String profile, String expected) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        watch(setup.fake);
        setup.vm.x86().createPit();
        setup.vm.x86().setPitReinjection(false);
        for (X86Lapic.Name name : List.of(X86Lapic.Name.LDR, X86Lapic.Name.ID)) {
            X86Lapic first = setup.vcpus.get(0).x86().lapic();
            X86Lapic second = setup.vcpus.get(1).x86().lapic();
            setup.vcpus.get(0).x86().setLapic(first.set(name, 1 << ID_OF_XAPIC));
            setup.vcpus.get(1).x86().setLapic(second.set(name, 1 << ID_OF_XAPIC));
            setup.vcpus.get(1).x86().setLapic(second.set(name, 2 << ID_OF_XAPIC));
        }
        reader.end();
        assertThat(String.join(" ", seen).replaceAll(" \\[[^]]*]", "")).isEqualTo(expected);
        assertThat(setup.brokenRules()).isEmpty();
    }

    /** On Intel the entry stays posted, and on AMD it does not. The guest takes the message all the same. */
    @ParameterizedTest
    @CsvSource({"vtd-posting, true", "'6.12,vtd-posting', true", "amd-avic, false", "'6.12,amd-avic', false"})
    void movedLapicInhibitsForGood(String profile, boolean staysPosted) {
        PostingSetup setup = posted(profile);
        long base = setup.vcpus.get(1).x86().systemRegisters().get(Name.APIC_BASE);
        for (long moved : new long[] {base + PAGE, base}) {
            setup.vcpus
                    .get(1)
                    .x86()
                    .setSystemRegisters(
                            setup.vcpus.get(1).x86().systemRegisters().set(Name.APIC_BASE, moved));
            setup.vcpu(0).enterGuest();
            assertThat(setup.hardware.irte(0).isPosted()).isEqualTo(staysPosted);
            setup.hardware.sendMessage(0);
            assertThat(setup.vcpu(0).takeInterrupt()).hasValue(PostingSetup.VECTOR);
        }
        reader.end();
        assertThat(seen).containsExactly("+6 [APIC_BASE_MODIFIED]");
        assertThat(setup.brokenRules()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic", "split,amd-avic"})
    void irqchipEndsTheInhibitOfANewVm(String profile) {
        PostingSetup setup = undo.add(new PostingSetup(profile));
        watch(setup.fake);
        Vm vm = undo.add(Vm.create(setup.kernel));
        if (profile.contains("split")) {
            vm.x86().createSplitIrqchip(24);
        } else {
            vm.x86().createIrqchip();
        }
        reader.end();
        assertThat(seen).containsExactly("-2 []");
    }

    @ParameterizedTest
    @ValueSource(strings = {"amd-avic", "6.12,amd-avic"})
    void entryOfTheGaLogNamesTheVmAndTheVcpu(String profile) {
        PostingSetup setup = posted(profile);
        watch(setup.fake, "kvm/kvm_avic_ga_log", event -> number(event, "vmid") + " " + number(event, "vcpuid"));
        setup.vcpu(0).load(0);
        setup.vcpu(0).block();
        setup.hardware.sendMessage(0);
        reader.end();
        assertThat(seen).containsExactly("1 0");
    }
}
