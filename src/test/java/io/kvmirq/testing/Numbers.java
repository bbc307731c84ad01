/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.kernel.Fd;

/** The numbers of descriptors, as a VMM of the same process would know them. */
public final class Numbers {
    private Numbers() {}

    public static int of(Fd open) {
        try (Fd.Lease lease = open.lease()) {
            return lease.number();
        }
    }
}
