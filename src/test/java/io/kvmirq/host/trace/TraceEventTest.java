/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Formats and traces of machines of the lab, and lines that nobody should believe. */
class TraceEventTest {
    private static final String HEADER = "            java-4711    [001] d.h1.   123.456789: ";

    @ParameterizedTest
    @CsvSource({
        "x86-6.1,    kvm_msi_set_irq,         dst vec",
        "x86-7.2,    kvm_msi_set_irq,         dst vec",
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
            assertThat(format.shows(key)).as(key).isTrue();
        }
        assertThat(format.shows("pi_desc_addr")).isEqualTo(keys.contains("pi_desc_addr"));
    }

    /** Every line of a trace is an event, but for the comment that begins it. */
    @ParameterizedTest
    @CsvSource({"x86-6.1, x86-6.1", "x86-7.2, x86-7.2", "x86-6.1, x86-6.1-posted", "arm64-6.12, arm64-6.12"})
    void traceIsReadWhole(String machine, String trace) throws IOException {
        String text = RecordedTracing.trace(trace);
        List<TraceEvent> events = TraceEvent.read(text, RecordedTracing.formats(machine));
        assertThat(events)
                .hasSize(
                        (int) text.lines().filter(line -> !line.startsWith("#")).count())
                .hasSizeGreaterThan(20);
        for (TraceEvent event : events) {
            assertThat(text).contains("] ", event.name() + ": " + event.text() + "\n");
            assertThat(event.cpu()).isBetween(0, 1);
        }
    }

    @Test
    void numbersAreThoseOfTheTrace() throws IOException {
        List<TraceEvent> events =
                TraceEvent.read(RecordedTracing.trace("x86-6.1-posted"), RecordedTracing.formats("x86-6.1"));
        List<Map<String, Long>> updates = events.stream()
                .filter(event -> event.name().equals("kvm_pi_irte_update"))
                .map(TraceEvent::numbers)
                .toList();
        assertThat(updates.get(1))
                .isEqualTo(Map.of(
                        "set", 1L,
                        "host_irq", 28L,
                        "vcpu_id", 0L,
                        "gsi", 0x19L,
                        "gvec", 0x42L,
                        "pi_desc_addr", 0x1f4f000000000L));
        assertThat(updates.get(updates.size() - 1)).containsEntry("set", 0L).containsEntry("host_irq", 31L);
        TraceEvent message = events.get(0);
        assertThat(message.number("vec")).isEqualTo(OptionalLong.of(65));
        assertThat(message.tid()).isEqualTo(972);
        assertThat(message.hardIrq()).isFalse();
    }

    /** irq_handler_entry(27), kvm_msi_set_irq, irq_handler_exit(27) on one CPU, in its interrupt. */
    @Test
    void contextIsThatOfTheFlags() throws IOException {
        String contexts = TraceEvent.read(RecordedTracing.trace("x86-7.2"), RecordedTracing.formats("x86-7.2")).stream()
                .filter(event -> event.name().equals("kvm_msi_set_irq"))
                .map(event -> event.cpu() + (event.hardIrq() ? "h" : "-"))
                .collect(Collectors.joining(" "));
        assertThat(contexts).isEqualTo("1- 1h 0h 1h 0h 1h 1-");
    }

    /** A thread may have any name of up to 15 characters, line ends among them. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "' [000] d.h1. 1:'",
                "'-1 [000] d.h1.'",
                "'-1-2-3'",
                "': kvm_set_irq: '",
                "'x [001] '",
                "'\n-1 [000] d.h1. '",
                "'kworker/0:1'",
                "'\u001b[2J'",
                "''"
            })
    void nameOfAThreadIsNoEvent(String name) throws IOException {
        String line = "    " + name + "-4711    [001] d.h1.   123.456789: kvm_set_irq: gsi 24 level 1 source 0\n";
        assertThat(TraceEvent.read(line, RecordedTracing.formats("x86-7.2")))
                .singleElement()
                .satisfies(event -> {
                    assertThat(event.tid()).isEqualTo(4711);
                    assertThat(event.cpu()).isEqualTo(1);
                    assertThat(event.number("gsi")).isEqualTo(OptionalLong.of(24));
                });
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "kvm_set_irq: gsi x level 1 source 0",
                "kvm_set_irq: gsi 24 level 1",
                "kvm_set_irq: gsi 24 level 1 source 0 more",
                "kvm_set_irq: gsi 99999999999999999999999 level 1 source 0",
                "kvm_set_irq:gsi 24 level 1 source 0",
                "kvm_nothing: gsi 24 level 1 source 0",
                "kvm_pi_irte_update: PI is enabled for irq 27",
                "''"
            })
    void lineOfAnotherFormIsLeftOut(String event) throws IOException {
        Map<String, EventFormat> formats = RecordedTracing.formats("x86-7.2");
        assertThat(TraceEvent.read(HEADER + event + "\n", formats)).isEmpty();
        assertThat(TraceEvent.read(HEADER + "kvm_set_irq: gsi 24 level 1 source 0", formats))
                .as("without a line end")
                .hasSize(1);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "name: a",
                "print fmt: \"gsi %u\", REC->gsi",
                "name: a\\nprint fmt: \"gsi %u",
                "name: a\\nprint fmt: \"gsi %u\"",
                "name: a\\nprint fmt: \"gsi %",
                "name: a\\nprint fmt: \"gsi %l\", REC->gsi",
                "''"
            })
    void formatOfAnotherFormIsNone(String text) {
        assertThat(EventFormat.parse(text.replace("\\n", "\n"))).isEmpty();
    }

    /** The names of the reasons stand behind the number, with no text between in the format. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "set reason=9, inhibits=0x202 HYPERV/PIT_REINJ | 1 | 0x202",
                "cleared reason=9, inhibits=0x0               | 0 | 0"
            })
    void numberEndsWhereTheNextConversionBegins(String text, long set, String inhibits) throws IOException {
        assertThat(TraceEvent.read(
                        HEADER + "kvm_apicv_inhibit_changed: " + text.replace('/', '|'),
                        RecordedTracing.formats("x86-6.18-pvm")))
                .singleElement()
                .satisfies(event -> assertThat(event.numbers())
                        .containsEntry("set", set)
                        .containsEntry("inhibits", Long.decode(inhibits)));
    }

    /** A kernel to come may print the fields in another order, and with other words. */
    @Test
    void unknownFormIsReadByItsOwnFormat() {
        EventFormat format = EventFormat.parse(
                        "name: kvm_set_irq\nprint fmt: \"100%% level=%-3d gsi: %#010x \\\"%s\\\" of"
                                + " %s%s\", REC->level, REC->gsi, __get_str(name), REC->a ? \"on\" : \"off\", \"x, y\"\n")
                .orElseThrow();
        String line = HEADER + "kvm_set_irq: 100% level=1   gsi: 0x00000018 \"a: b\" of on!";
        assertThat(TraceEvent.read(line, Map.of("kvm_set_irq", format)))
                .singleElement()
                .satisfies(event ->
                        assertThat(event.numbers()).containsEntry("level", 1L).containsEntry("gsi", 24L));
    }
}
