/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.kvm.VcpuState;
import org.junit.jupiter.api.Test;

class NodeTest {
    /** Java's own sentence names a class of kvmirq, and repeats all of the text. */
    @Test
    void constantThatIsNoneIsQuotedAndCut() {
        Node node = new Node("state.vcpus[0].state", "\033[31m" + "x".repeat(46_000));

        SnapshotException refusal = catchThrowableOfType(SnapshotException.class, () -> node.one(VcpuState.class));

        assertThat(refusal)
                .hasMessageStartingWith("state.vcpus[0].state of the snapshot is invalid: expected one of [RUNNABLE, ")
                .hasMessageEndingWith(", got '?[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'");
    }
}
