/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import io.kvmirq.fake.file.IrqHardware;
import org.jspecify.annotations.Nullable;

/** The ITS of a host with GICv4. It takes the messages of devices, and has each a vLPI or an interrupt of the host. */
public final class GicHardware implements IrqHardware {
    /** The event of one message. */
    static final class Event implements Entry {
        private @Nullable ArmVm vm;
        private int hostIrq;

        /** KVM may have made a vLPI of the event; the VM tells. */
        void mapTo(ArmVm to, int number) {
            vm = to;
            hostIrq = number;
        }

        @Override
        public boolean request() {
            return vm == null || !vm.receive(hostIrq);
        }

        @Override
        public void free() {
            vm = null;
        }
    }

    @Override
    public Entry allocate(int requester) {
        return new Event();
    }
}
