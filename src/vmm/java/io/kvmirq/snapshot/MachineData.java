/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Route;
import io.kvmirq.text.Foreign;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The state of a VM of one architecture, without its eventfds and devices. */
sealed interface MachineData permits X86Data, ArmData {
    String X86 = "x86_64";
    String ARM = "arm64";

    /** @param parts the parts of a paused VM whose vCPUs belong to this thread and whose irqfds are masked */
    static MachineData read(VmParts parts) {
        return parts.vm.isArm64() ? ArmData.read(parts) : X86Data.read(parts);
    }

    private static MachineData parse(Node state, String architecture) {
        return architecture.equals(ARM) ? ArmData.parse(state) : X86Data.parse(state);
    }

    static MachineData parse(Node state) {
        String architecture = state.at("architecture").text();
        if (!architecture.equals(X86) && !architecture.equals(ARM)) {
            throw new SnapshotException(
                    "the snapshot is of a VM of " + Foreign.quoted(architecture) + ": expected " + X86 + " or " + ARM);
        }
        return parse(state, architecture);
    }

    default String architecture() {
        return this instanceof ArmData ? ARM : X86;
    }

    /** The vCPUs by id. */
    Map<Integer, ?> vcpus();

    List<Route> routes();

    void writeVcpus(VmParts parts);

    /** Restores interrupt controllers, after the routes. */
    void writeChips(VmParts parts);

    /** Fields that differ from the saved state, clocks excepted. */
    Optional<String> differenceOf(VmParts parts);

    /** Starts parts that would change during the comparison. */
    default void start(VmParts parts) {}

    /** Called after the devices are restored. */
    default void settle(VmParts parts) {}

    Map<String, Object> tree();
}
