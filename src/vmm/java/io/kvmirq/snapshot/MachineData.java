/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Route;
import io.kvmirq.text.Foreign;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The state of a VM of one architecture, without its eventfds and devices. */
sealed interface MachineData permits VmData, ArmData {
    String X86 = "x86_64";
    String ARM = "arm64";

    /** @param parts of a paused VM whose vCPUs belong to this thread, and whose irqfds are masked */
    static MachineData read(VmParts parts) {
        return parts.vm().isArm64() ? ArmData.read(parts) : VmData.read(parts);
    }

    private static MachineData of(Node state, String architecture) {
        return architecture.equals(ARM) ? ArmData.of(state) : VmData.of(state);
    }

    static MachineData of(Node state) {
        String architecture = state.at("architecture").text();
        if (!architecture.equals(X86) && !architecture.equals(ARM)) {
            throw new SnapshotException(
                    "the snapshot is of a VM of " + Foreign.quoted(architecture) + ": expected " + X86 + " or " + ARM);
        }
        return of(state, architecture);
    }

    default String architecture() {
        return this instanceof ArmData ? ARM : X86;
    }

    /** By id. */
    Map<Integer, ?> vcpus();

    List<Route> routes();

    void writeVcpus(VmParts parts);

    /** Interrupt controllers, when routes are there. */
    void writeChips(VmParts parts);

    /** Fields that differ from the saved state, clocks excepted. */
    Optional<String> differenceOf(VmParts parts);

    /** Parts that change during the comparison. */
    default void start(VmParts parts) {}

    /** When the devices are there. */
    default void settle(VmParts parts) {}

    Map<String, Object> tree();
}
