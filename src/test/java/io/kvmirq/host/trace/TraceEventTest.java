/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Formats and traces of machines of the lab. */
class TraceEventTest {
    private static final String HEADER = "            java-4711    [001] d.h1.   123.456789: ";

    @ParameterizedTest
    @CsvSource({
        "x86-6.1,    kvm_msi_set_irq,         address data",
        "x86-7.2,    kvm_msi_set_irq,         address data",
        "x86-6.12,   kvm_set_irq,             gsi level irq_source_id",
        "x86-6.12,   kvm_apic_accept_irq,     apicid vec",
        "x86-7.2,    kvm_apicv_accept_irq,    apicid vec",
        "x86-6.1,    kvm_pi_irte_update,      set host_irq vcpu_id gsi gvec pi_desc_addr",
        "x86-7.2,    kvm_pi_irte_update,      set host_irq vcpu_id gsi gvec",
        "x86-7.2,    kvm_avic_ga_log,         vmid vcpuid",
        "x86-7.2,    irq_handler_entry,       irq",
        "x86-7.2,    irq_handler_exit,        irq",
        "arm64-6.1,  vgic_update_irq_pending, vcpu_id irq level",
        "arm64-6.12, kvm_set_irq,             gsi level irq_source_id"
    })
    void formatNamesItsNumbers(String machine, String event, String keys) throws IOException {
        EventFormat format = RecordedTracing.formats(machine).get(event);
        assertThat(format).isNotNull();
        for (String key : keys.split(" ")) {
            assertThat(format.has(key)).as(key).isTrue();
        }
        assertThat(format.has("pi_desc_addr")).isEqualTo(keys.contains("pi_desc_addr"));
    }

    private static List<TraceEvent> events(String machine, String trace) throws IOException {
        return RecordedTracing.events(machine, trace, false).stream()
                .map(Optional::orElseThrow)
                .toList();
    }

    /** Every line of a trace is an event, but for the comments that begin it. */
    @ParameterizedTest
    @CsvSource({"x86-6.1, x86-6.1", "x86-7.2, x86-7.2", "x86-6.1, x86-6.1-posted", "arm64-6.12, arm64-6.12"})
    void traceIsReadWhole(String machine, String trace) throws IOException {
        String text = RecordedTracing.trace(trace);
        List<String> lines = text.lines()
                .filter(line -> !line.startsWith("#"))
                .map(line ->
                        line.replaceAll("^.*-(\\d+) +\\[0*(\\d+)].* (\\d+)\\.(\\d+): (\\w+): .*$", "$1 $2 $3$4 $5"))
                .toList();
        assertThat(events(machine, text).stream()
                        .map(event ->
                                event.tid() + " " + event.cpu() + " " + event.nanos() / 1000 + " " + event.name()))
                .containsExactlyElementsOf(lines)
                .hasSizeGreaterThan(20);
    }

    private static String shown(TraceEvent event) {
        return Stream.of("prev_pid", "next_pid", "load")
                        .map(field -> " " + event.number(field).orElse(-1))
                        .collect(Collectors.joining(
                                "",
                                event.cpu() + " " + event.tid() + " " + (event.nanos() + 500) / 1000 + " "
                                        + event.name(),
                                ""))
                + event.flags("prev_state");
    }

    /** A page of a guest's threads on Linux 6.18 has the events that this kernel printed for it. */
    @Test
    void pageHasTheEventsThatTheKernelPrints() throws IOException {
        List<String> printed = events("x86-6.18-pvm", RecordedTracing.trace("x86-6.18-pvm")).stream()
                .map(TraceEventTest::shown)
                .toList();
        Map<Integer, EventFormat> formats = RecordedTracing.formats("x86-6.18-pvm").values().stream()
                .collect(Collectors.toMap(EventFormat::id, Function.identity()));
        List<String> read = new ArrayList<>();
        RecordedTracing.PAGES.read(RecordedTracing.page("x86-6.18-pvm"), 0, formats, new PageFormat.Sink() {
            @Override
            public void lost(long nanos) {
                read.add("lost");
            }

            @Override
            public void event(TraceEvent event) {
                read.add(shown(event));
            }
        });
        assertThat(read).containsExactlyElementsOf(printed).hasSize(67);
    }

    @Test
    void numbersAreThoseOfTheTrace() throws IOException {
        List<TraceEvent> events = events("x86-6.1", RecordedTracing.trace("x86-6.1-posted"));
        List<String> updates = events.stream()
                .filter(event -> event.name().equals("kvm_pi_irte_update"))
                .map(event -> Stream.of("set", "host_irq", "vcpu_id", "gsi", "gvec", "pi_desc_addr")
                        .map(field -> Long.toHexString(event.number(field).orElseThrow()))
                        .collect(Collectors.joining(" ")))
                .toList();
        assertThat(updates.get(1)).isEqualTo("1 1c 0 19 42 1f4f000000000");
        assertThat(updates.get(updates.size() - 1)).startsWith("0 1f ");
        TraceEvent message = events.get(0);
        assertThat(message.number("data")).isEqualTo(OptionalLong.of(65));
        assertThat(message.number("vec")).as("no field").isEmpty();
        assertThat(message.tid()).isEqualTo(972);
        assertThat(message.hardIrq()).isFalse();
    }

    /** A record of another kernel may be shorter than its format. */
    @Test
    void fieldBehindTheEndOfTheRecordIsNone() {
        EventFormat format = EventFormat.parse(
                        "name: a\nID: 7\n\tfield:short common_type;\toffset:0;\tsize:2;\tsigned:0;"
                                + "\n\tfield:int gsi;\toffset:4;\tsize:4;\tsigned:0;")
                .orElseThrow();
        ByteBuffer record = ByteBuffer.allocate(16).putInt(4, 5);
        assertThat(format.number(record, 0, 8, "gsi")).hasValue(5);
        assertThat(format.number(record, 0, 7, "gsi"))
                .as("a part of the field is outside")
                .isEmpty();
    }

    /** irq_handler_entry(27), kvm_msi_set_irq, irq_handler_exit(27) on one CPU, in its interrupt. */
    @Test
    void contextIsThatOfTheFlags() throws IOException {
        String contexts = events("x86-7.2", RecordedTracing.trace("x86-7.2")).stream()
                .filter(event -> event.name().equals("kvm_msi_set_irq"))
                .map(event -> event.cpu() + (event.hardIrq() ? "h" : "-"))
                .collect(Collectors.joining(" "));
        assertThat(contexts).isEqualTo("1- 1h 0h 1h 0h 1h 1-");
    }

    /** The list of the names has the order of the kernel's enum, whose numbers the format does not tell. */
    @ParameterizedTest
    @CsvSource({"0x202, HYPERV PIT_REINJ", "0x1, DISABLED", "0x0, ''"})
    void flagsHaveTheNamesOfTheKernel(String mask, String names) throws IOException {
        assertThat(events("x86-6.18-pvm", HEADER + "kvm_apicv_inhibit_changed: set reason=9, inhibits=" + mask + " x")
                        .get(0)
                        .flags("inhibits"))
                .isEqualTo(names.isEmpty() ? Set.of() : Set.of(names.split(" ")));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "name: a",
                "name: a\\nID: 7",
                "name: a\\nID: 7\\n\tfield:int b;\toffset:0;\tsize:4;\tsigned:1;",
                "ID: 7\\n\tfield:short common_type;\toffset:0;\tsize:2;\tsigned:0;",
                "''"
            })
    void formatOfAnotherFormIsNone(String text) {
        assertThat(EventFormat.parse(text.replace("\\n", "\n"))).isEmpty();
    }
}
