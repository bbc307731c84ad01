/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

/** A scenario found that this machine's interrupt path does not do what it must. */
final class SelftestFailedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    SelftestFailedException(String finding) {
        super(finding);
    }
}
