/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.List;

/**
 * One reason for one answer of the kernel. The constants are in one enum per area; within a call and an errno they stand
 * likeliest first.
 */
public sealed interface Cause
        permits VmCause,
                IrqfdCause,
                InterruptCause,
                VfioCause,
                VfioFileCause,
                VfioDeviceCause,
                IommufdCause,
                FileCause,
                ArmCause,
                VgicCause {
    /** The constant's name, such as {@code IRQFD_BUSY_HOST}. */
    String name();

    /** The call, the errno and the sentences of this cause. */
    Explanation explanation();

    /** What was asked of the kernel. */
    default KernelCall call() {
        return explanation().call();
    }

    /** The errno's number; 0 for a success that is not what it seems. */
    default int errno() {
        return explanation().errno();
    }

    /** The cause, one clause that begins in lower case. */
    default String text() {
        return explanation().text();
    }

    /** What to look at or do next, one clause. */
    default String check() {
        return explanation().check();
    }

    /** File and function of the kernel that answers so. */
    default String source() {
        return explanation().source();
    }

    /** What must be so for it to be the cause, in words: all of these. */
    default List<String> conditions() {
        return explanation().conditions();
    }
}
