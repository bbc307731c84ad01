/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

/** A scenario found a fault in this machine's interrupt path. */
final class SelftestFailedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    SelftestFailedException(String finding) {
        super(finding);
    }
}
