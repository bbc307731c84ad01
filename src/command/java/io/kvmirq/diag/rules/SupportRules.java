/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.stream.Stream;

/**
 * Rules for files and control groups that QEMU and libvirt use beside KVM and VFIO.
 *
 * <p>Source: {@code virHostValidateQEMU()} in tools/virt-host-validate-qemu.c of libvirt.
 */
public final class SupportRules {
    /** A host. */
    private record Machine(Fact.Facts facts) implements Fact.Subject {
        boolean lacks(String directory, String name) {
            return !files().list(directory).contains(name);
        }

        /**
         * The controllers of version 2, which counts CPU time and restricts devices without any, or the enabled ones of
         * version 1.
         */
        Known<List<String>> controllers() {
            return files().text(CONTROLLERS.file())
                    .map(text -> List.of((text + " cpuacct devices").split("\\s+")))
                    .or(() -> files().text("proc/cgroups").map(text -> text.lines()
                            .filter(line -> line.endsWith("1"))
                            .map(line -> line.split("\\s+", 2)[0].replace("blkio", "io"))
                            .toList()))
                    .<Known<List<String>>>map(Known.Observed::new)
                    .orElseGet(Known::none);
        }

        String encrypted() {
            return Stream.of("kvm_amd/parameters/sev", "kvm_intel/parameters/tdx")
                    .filter(parameter -> files().text("sys/module/" + parameter)
                            .filter(on -> on.matches("[1Y]"))
                            .isPresent())
                    .findFirst()
                    .map(parameter -> "yes (" + parameter.substring(parameter.lastIndexOf('/') + 1) + ")")
                    .orElse("no");
        }
    }

    // spotless:off: tables
    /** Whoever copies the file copies the names in /dev too: a missing name says nothing without it. */
    private static final Fact<Machine, String> MISC = Fact.text("proc/misc", Fact.form(text -> !text.isEmpty()));
    private static final Fact<Machine, List<String>> CONTROLLERS =
        new Fact<>("sys/fs/cgroup/cgroup.controllers", Machine::controllers);

    public static final Rule.Checks<Machine> CHECKS = new Rule.Checks<>(
        rule("support.no-vhost-net", MISC, machine -> machine.lacks("dev", "vhost-net")),
        rule("support.no-tun", MISC, machine -> machine.lacks("dev/net", "tun")),
        rule("support.no-vhost-vsock", MISC, machine -> machine.lacks("dev", "vhost-vsock")),
        without("cpu"), without("cpuacct"), without("cpuset"), without("memory"), without("devices"), without("io"),
        rule("support.all", MISC, machine -> true)
            .with(machine -> CONTROLLERS.is(machine, value -> true)
            ? ", and control groups for cpu, cpuacct, cpuset, memory, devices, io" : ""));

    private static Rule<Machine> without(String name) {
        return rule("support.no-controller-" + name, CONTROLLERS, machine -> !CONTROLLERS.in(machine).contains(name));
    }
    // spotless:on

    private SupportRules() {}

    public static Finding support(HostFacts host) {
        Machine machine = new Machine(new Fact.Facts(host));
        Finding finding = CHECKS.finding(machine);
        return finding.status() == Finding.Status.UNKNOWN
                ? finding
                : finding.whose(finding.reason(), finding.text() + "; encrypted guests: " + machine.encrypted());
    }
}
