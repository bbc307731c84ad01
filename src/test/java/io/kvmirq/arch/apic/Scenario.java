/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.explorer.Exploration;
import io.kvmirq.explorer.Memory;

/** Who acts. The vCPU's thread does any three things of enter, exit, sync, preempt, load and block, then runs on. */
public enum Scenario {
    DEVICE("a device posts to a loaded vCPU") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1).bypassed().loaded().device().explore(memory, OPERATIONS);
        }
    },
    DEVICE_AND_SOFTWARE("a device posts, software requests") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1).bypassed().device().software().explore(memory, OPERATIONS);
        }
    },
    TWO_DEVICES("two devices post") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1).bypassed().device().device().explore(memory, OPERATIONS + 1);
        }
    },
    TWO_OF_SOFTWARE("software requests twice at once, no device is bypassed") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1).software().software().explore(memory, OPERATIONS);
        }
    },
    TWO_PROCESSORS("a device posts, software requests, the vCPU is on either of two processors") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 2).bypassed().device().software().explore(memory, OPERATIONS);
        }
    },
    START_OF_BYPASS("the VM's first device is bypassed and posts, software requests") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1).startsBypass().software().explore(memory, OPERATIONS);
        }
    },
    TWO_VCPUS("devices post to a vCPU and to one that sleeps on the same processor") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return PostedVmSpace.withSleeper(variant).device().deviceOfSleeper().explore(memory, OPERATIONS);
        }
    },
    MASKED("a device posts, software requests, the guest may halt with interrupts off until an NMI comes") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1)
                    .bypassed()
                    .device()
                    .software()
                    .masked()
                    .explore(memory, OPERATIONS);
        }
    },
    IN_TWO_ACCESSES("a device posts as the live descriptor does, first PIR, then ON; software requests") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new PostedVmSpace(variant, 1)
                    .bypassed()
                    .liveDevice()
                    .software()
                    .explore(memory, OPERATIONS - 1);
        }
    },
    DATA("a sender writes data and requests, twice") {
        @Override
        public Exploration explore(Variant variant, Memory memory) {
            return new DataSpace(variant).explore(memory);
        }
    };

    private static final int OPERATIONS = 3;

    private final String text;

    Scenario(String text) {
        this.text = text;
    }

    public String text() {
        return text;
    }

    public abstract Exploration explore(Variant variant, Memory memory);
}
