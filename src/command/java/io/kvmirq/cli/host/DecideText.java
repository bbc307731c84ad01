/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.MsiMessage;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTagKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.text.Foreign;
import java.io.PrintStream;
import java.util.List;
import java.util.stream.Collectors;

/** A decision about posting as lines of text. */
final class DecideText {
    private static final long EXAMPLE_ADDRESS = 0x1_0000_0000L;
    private static final int PAGE = 4096;

    private DecideText() {}

    static void print(DecideQuestion question, List<PostingDecision> decisions, Terminal terminal) {
        ApicMessage message = question.decoded();
        PrintStream out = terminal.out();
        out.println(terminal.bold(question.message().toString()));
        out.println("  " + (message.logical() ? "logical" : "physical") + " destination "
                + Hex.of(Integer.toUnsignedLong(question.destination()))
                + (message.redirectionHint() ? " with redirection hint" : "") + ", " + message.mode() + ", vector "
                + Hex.of(message.vector()) + (message.level() ? ", level" : ""));
        int vcpus = question.vcpus();
        out.println("  means " + meant(question) + ", of " + vcpus + (vcpus == 1 ? " vCPU" : " vCPUs"));
        question.format().violations().stream()
                .map(Violation::toString)
                .forEach(remark -> out.println("  strange: " + remark));
        for (int i = 0; i < decisions.size(); i++) {
            print(question, question.hosts().get(i), decisions.get(i), terminal);
        }
    }

    private static void print(DecideQuestion question, PostingHost host, PostingDecision decision, Terminal terminal) {
        PrintStream out = terminal.out();
        String name = Command.label(host.vendor())
                + (question.observed() ? " (Linux " + host.kernel() + ", as the host's files show it)" : "");
        if (decision instanceof PostingDecision.Posted posted) {
            out.println(name + ": " + terminal.good("posted") + " to " + posted.vcpu() + ", vector "
                    + Hex.of(posted.vector().number()));
            out.println("  entry    " + entry(host, posted));
            out.println("           with examples of addresses and of a VM's number; kvmirq decode shows each field");
            posted.inhibits()
                    .forEach(reason -> out.println("  inhibited: " + reason.cause()
                            + "; the entry stays posted, and software takes the vector to the guest"));
        } else if (decision instanceof PostingDecision.Unposted unposted) {
            PostingObstacle reason = unposted.reason();
            out.println(name + ": " + terminal.bad("not posted") + ": " + reason.text());
            out.println("  here:    " + unposted.detail());
            out.println("  decided: " + reason.decidedBy());
            out.println("  see:     " + reason.seen());
            out.println("  do:      " + question.remedy(host, unposted));
            out.println("  entry    remapped, as the host set it up: the host's interrupt signals the eventfd");
        }
        question.bugs(host).forEach(bug -> out.println("  note:    " + bug));
    }

    static void print(MsiMessage message, ArmDecision decision, Terminal terminal) {
        terminal.line(terminal.bold(message.toString()));
        terminal.line("  event " + Integer.toUnsignedString(message.data()) + ", for an ITS of the guest");
        boolean posted = decision.vlpi().orElse(false);
        terminal.line("arm64 (Linux " + Foreign.printable(decision.kernel())
                + ", as the host's files show it): "
                + (posted ? terminal.good("a vLPI") : terminal.bad("no vLPI")) + ": " + decision.text());
        if (!posted) {
            terminal.line("  do:      " + decision.remedy());
        }
    }

    private static String meant(DecideQuestion question) {
        List<Integer> meant = question.meant();
        return meant.isEmpty()
                ? "no vCPU"
                : meant.stream().map(vcpu -> "vcpu " + vcpu).collect(Collectors.joining(", "));
    }

    /** The two words of an IRTE. */
    record Entry(Format format, long low, long high) {
        @Override
        public String toString() {
            return format.text(low, high);
        }
    }

    /**
     * The IRTE for a vCPU that is preempted, with an example address and without the device's source id. The vCPU's
     * index is its id.
     */
    static Entry entry(PostingHost host, PostingDecision.Posted posted) {
        int vcpu = posted.vcpu().number();
        int vector = posted.vector().number();
        if (host.vendor() == Vendor.INTEL) {
            long descriptor = EXAMPLE_ADDRESS + (long) vcpu * PostedInterruptDescriptor.BYTES;
            return new Entry(
                    PostedIrte.FORMAT,
                    PostedIrte.lowWord(descriptor, vector),
                    PostedIrte.highWord(descriptor, 0, 0, 0));
        }
        long page = EXAMPLE_ADDRESS + (long) vcpu * PAGE;
        long tag = GaTagKernel.of(host.kernel()).tag(1, vcpu, vcpu);
        boolean logs = AvicKernel.of(host.kernel()).alwaysLogs();
        return new Entry(GaIrte.GUEST, GaIrte.guestLow(tag, logs), GaIrte.guestHigh(page, vector));
    }

    static void printReasons(Terminal terminal) {
        for (PostingObstacle reason : PostingObstacle.values()) {
            terminal.line(terminal.bold(Command.label(reason)) + ": " + reason.text());
            terminal.line("  decided: " + reason.decidedBy());
            terminal.line("  see:     " + reason.seen());
            terminal.line("  do:      " + reason.remedy());
        }
    }
}
