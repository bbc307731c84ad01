/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

/** No GSI or routing table entry is free. No part of the change was made. */
public final class RoutesExhaustedException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    RoutesExhaustedException(String message) {
        super(message);
    }
}
