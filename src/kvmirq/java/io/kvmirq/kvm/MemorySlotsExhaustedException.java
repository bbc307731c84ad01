/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/** The VM has no memory slot left. No memory was added. */
public final class MemorySlotsExhaustedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    MemorySlotsExhaustedException(String message) {
        super(message);
    }
}
