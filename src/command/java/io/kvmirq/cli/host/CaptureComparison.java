/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Capture;
import io.kvmirq.diag.CaptureDiff;
import io.kvmirq.diag.HostChanges;
import io.kvmirq.diag.HostChanges.Change;
import io.kvmirq.text.Foreign;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Two captures of a host, compared. */
final class CaptureComparison {
    private final List<String> notes = new ArrayList<>();
    private final List<Change> changes;
    private final List<CaptureDiff> files;

    /**
     * Reads both.
     *
     * @throws io.kvmirq.cli.frame.UnreadableInputException if one is not a capture
     */
    CaptureComparison(Path before, Path after) {
        Capture first = HostSource.capture(before);
        Capture second = HostSource.capture(after);
        if (first.redacted() != second.redacted()) {
            notes.add(FileSentence.shown(first.redacted() ? after : before) + " has names and addresses, which "
                    + FileSentence.shown(first.redacted() ? before : after)
                    + " has not: they are left out of the comparison");
        }
        Capture old = second.redacted() ? first.redact() : first;
        Capture now = first.redacted() ? second.redact() : second;
        Optional<String> two = HostChanges.ofTwoHosts(old.tree(), now.tree());
        two.ifPresent(why -> notes.add("these seem to be captures of two hosts: " + why
                + "; the differences of two hosts follow, and no changes of one"));
        this.changes = HostChanges.of(old.tree(), now.tree());
        this.files = CaptureDiff.of(old, now);
    }

    int print(Terminal terminal, boolean withFiles, boolean json) {
        List<CaptureDiff> steady =
                files.stream().filter(file -> !file.isVolatile()).toList();
        if (json) {
            write(terminal);
        } else {
            text(terminal, withFiles ? files : List.of(), steady.size());
        }
        return changes.isEmpty() && steady.isEmpty() ? ExitCode.OK : ExitCode.FAILED;
    }

    private void text(Terminal terminal, List<CaptureDiff> shown, int steady) {
        notes.forEach(note -> terminal.line(terminal.wrapped(note, 2)));
        changes.forEach(change -> terminal.line(terminal.wrapped("- " + Foreign.printable(change.toString()), 2)));
        if (!shown.isEmpty()) {
            terminal.line(terminal.wrapped(
                    "files that differ; a line with - is of the first capture alone, a line with + of the second", 2));
        }
        for (CaptureDiff file : shown) {
            String end =
                    file.before() ? file.after() ? "" : ": only in the first capture" : ": only in the second capture";
            terminal.line(terminal.bold(Terminal.printable(file.path()) + end));
            file.gone().forEach(line -> terminal.line("  - " + Terminal.printable(line)));
            file.added().forEach(line -> terminal.line("  + " + Terminal.printable(line)));
        }
        if (shown.isEmpty() && steady > 0) {
            terminal.line((changes.isEmpty() ? "no verdict, guest, device or interrupt changed; " : "")
                    + (steady == 1 ? "one file differs" : steady + " files differ") + ": --files shows "
                    + (steady == 1 ? "its" : "their") + " lines");
        } else if (changes.isEmpty() && shown.isEmpty()) {
            terminal.line("nothing changed, except counts of interrupts");
        }
    }

    private void write(Terminal terminal) {
        Json.print(terminal, "kvmirq.capture-diff/1", json -> json.texts("notes", notes)
                .objects("changes", changes, (to, one) -> to.text("subject", one.subject())
                        .text("text", one.text()))
                .objects("files", files, (to, one) -> to.text("path", one.path())
                        .flag("before", one.before())
                        .flag("after", one.after())
                        .texts("gone", one.gone())
                        .texts("added", one.added())));
    }
}
