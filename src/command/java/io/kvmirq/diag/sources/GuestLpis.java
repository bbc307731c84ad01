/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * An arm64 VM's LPIs, as debugfs shows them. Debugfs does not show the device of an LPI: the guest's ITS identifies a
 * device by an id of the guest.
 *
 * @param vlpis those that GICv4 delivers
 */
public record GuestLpis(List<Lpi> vlpis) {
    /**
     * An LPI.
     *
     * @param event its event id; empty where the kernel does not show the ITS
     * @param target the vCPU
     */
    public record Lpi(OptionalInt event, int id, OptionalInt target) {}

    private static final String KVM = "kvm";
    private static final String STATE = "vgic-state";
    private static final String ITS = "vgic-its-state@";
    private static final String REMEDY = "look while the VM runs";

    /** LPIs of a process's first VM. */
    public static Known<GuestLpis> read(HostFacts host, VmProcess process) {
        String directory = VcpuThreads.directories(host, process).stream()
                .findFirst()
                .orElse(process.pid() + "-"
                        + process.vms().stream()
                                .findFirst()
                                .map(String::valueOf)
                                .orElse("FD"));
        String path = KVM + "/" + directory + "/";
        Known<String> text = host.debugfs(path + STATE, REMEDY);
        if (text instanceof Known.Unknown<String> unknown) {
            return unknown.typed();
        }
        try {
            List<ItsState> tables = new ArrayList<>();
            for (String name : host.debugfsNames(KVM + "/" + directory)) {
                if (name.startsWith(ITS)) {
                    tables.add(ItsState.parse(
                            host.debugfs(path + name, REMEDY).known().orElse("")));
                }
            }
            return new Known.Observed<>(read(VgicState.parse(text.known().orElse("")), tables));
        } catch (IllegalArgumentException e) {
            return new Known.Unknown<>(
                    "/sys/kernel/debug/" + path + STATE + " has an unknown format", "report it to kvmirq's authors");
        }
    }

    private static GuestLpis read(VgicState vgic, List<ItsState> tables) {
        Map<Long, OptionalInt> events = new HashMap<>();
        for (ItsState table : tables) {
            for (ItsState.Device device : table.devices()) {
                for (ItsState.Translation row : device.translations()) {
                    if (row.event() <= Integer.MAX_VALUE) {
                        events.put(row.id(), OptionalInt.of((int) row.event()));
                    }
                }
            }
        }
        List<Lpi> vlpis = vgic.vlpis().stream()
                .map(vlpi ->
                        new Lpi(events.getOrDefault((long) vlpi.id(), OptionalInt.empty()), vlpi.id(), vlpi.target()))
                .toList();
        return new GuestLpis(vlpis);
    }
}
