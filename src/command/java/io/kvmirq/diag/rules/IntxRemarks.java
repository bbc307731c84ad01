/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.PciAddress;
import io.kvmirq.arch.intx.Breakage;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.IntxLine;
import io.kvmirq.host.facts.IntxLine.Request;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * Remarks about a device's INTx line: its other users, how VFIO requests it, whether direct EOI would be allowed, and
 * the three conflicts of an exclusive line. A conflict names its devices of this host.
 */
public final class IntxRemarks {
    private static final List<Breakage> CONFLICTS =
            List.of(Breakage.TWO_VMS, Breakage.LATER_REBOOT, Breakage.TWO_DEVICES);

    private final HostFacts host;
    private final PciDevice device;
    private final IntxLine line;

    private IntxRemarks(HostFacts host, PciDevice device) {
        this.host = host;
        this.device = device;
        this.line = IntxLine.read(host, device);
    }

    /** The remarks for a device whose INTx is armed. */
    public static List<String> find(HostFacts host, PciDevice device, ArmedVector armed) {
        IntxRemarks remarks = new IntxRemarks(host, device);
        List<String> all = new ArrayList<>();
        all.add(
                armed.sharers().isEmpty()
                        ? "no other handler uses " + armed.irq()
                        : armed.irq() + " is shared with " + String.join(", ", armed.sharers()));
        all.add(remarks.request());
        all.add("direct EOI " + remarks.directEoi());
        if (remarks.isExclusive()) {
            CONFLICTS.forEach(conflict -> all.add("exclusive line: " + remarks.conflict(conflict)));
        }
        return all;
    }

    /** The remarks for a device whose guest uses messages: on an exclusive line, a return to INTx may fail. */
    public static List<String> ofMessages(HostFacts host, PciDevice device) {
        // On most hosts the other devices of the line need not be read.
        if (!host.nointxmask().known().orElse(false)) {
            return List.of();
        }
        IntxRemarks remarks = new IntxRemarks(host, device);
        boolean contended =
                !remarks.handlers().isEmpty() || !remarks.neighbours(false).isEmpty();
        return remarks.isExclusive() && contended
                ? List.of("exclusive line: " + remarks.conflict(Breakage.LATER_REBOOT))
                : List.of();
    }

    private boolean isExclusive() {
        return line.irq().known().isPresent()
                && line.requested()
                        .known()
                        .filter(made -> made.request() == Request.EXCLUSIVE)
                        .isPresent();
    }

    private String request() {
        String irq = line.irq().known().map(Object::toString).orElse("the line");
        if (line.requested() instanceof Known.Observed<IntxLine.Requested> known) {
            IntxLine.Requested made = known.value();
            return "VFIO requests " + irq
                    + (made.request() == Request.EXCLUSIVE ? " exclusively, because " : " as shareable, because ")
                    + made.why();
        }
        return "it is not known whether VFIO requests " + irq + " exclusively: "
                + reason((Known.Unknown<?>) line.requested());
    }

    private static String reason(Known.Unknown<?> unknown) {
        return unknown.why() + (unknown.remedy().equals("none") ? "" : " (to see it, " + unknown.remedy() + ")");
    }

    // Direct EOI

    private String directEoi() {
        if (line.policy() instanceof Known.Observed<DirectEoiPolicy> known) {
            List<NotDirect> reasons = against(known.value());
            return reasons.isEmpty() ? "would be allowed" : refused(reasons);
        }
        int others = handlers().size();
        List<NotDirect> both = new ArrayList<>(against(DirectEoiPolicy.shared(others)));
        both.retainAll(against(new DirectEoiPolicy(DirectEoiPolicy.exclusive().traits(), others)));
        return both.isEmpty() ? "would be allowed or refused depending on how VFIO requests the line" : refused(both);
    }

    /** Only a controller such as the GIC ends the physical interrupt with the virtual one (HW=1). */
    private List<NotDirect> against(DirectEoiPolicy policy) {
        boolean deactivates =
                host.interrupts().filter(all -> all.hasChip("GIC")).isPresent();
        return policy.withDeactivatingEoi(deactivates).decide() instanceof DirectEoiDecision.Refused refused
                ? refused.reasons()
                : List.of();
    }

    private static String refused(List<NotDirect> reasons) {
        return "would be refused: " + reasons.stream().map(NotDirect::text).collect(Collectors.joining("; "));
    }

    // Conflicts

    private String conflict(Breakage conflict) {
        boolean ofSameVm = conflict == Breakage.TWO_DEVICES;
        List<PciDevice> devices = neighbours(ofSameVm);
        String here;
        if (conflict == Breakage.LATER_REBOOT && !line.armed() && !handlers().isEmpty()) {
            here = String.join(", ", handlers()) + " uses the line, and this guest uses messages now";
        } else if (devices.isEmpty()) {
            here = "no device of " + (ofSameVm ? "the same VM" : "another VM") + " is seen on the line";
        } else {
            here = "the line is shared with "
                    + devices.stream().map(this::named).collect(Collectors.joining(", "));
        }
        return conflict.text() + "; here, " + here;
    }

    private List<String> handlers() {
        return line.handlers().known().orElse(List.of());
    }

    /** The devices of VFIO on the line: those of the same VM, or all others. */
    private List<PciDevice> neighbours(boolean ofSameVm) {
        Optional<VmProcess> own = vm(device.address());
        return line.neighbours().stream()
                .filter(PciDevice::isBoundToVfio)
                .filter(other -> (own.isPresent() && vm(other.address()).equals(own)) == ofSameVm)
                .toList();
    }

    private Optional<VmProcess> vm(PciAddress address) {
        return host.vms().using(address).stream().findFirst();
    }

    private String named(PciDevice other) {
        return other.address()
                + vm(other.address())
                        .map(vm -> " of guest " + vm.name() + " (process " + vm.pid() + ")")
                        .orElse(", which is assigned to no visible guest");
    }
}
