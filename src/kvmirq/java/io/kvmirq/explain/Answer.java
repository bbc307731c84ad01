/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.List;

/**
 * Explains one cause of a kernel errno, or another kernel behaviour, with the evidence. Each kernel area, such as VFIO,
 * has an enum of answers. Likelier answers for a call and errno come first.
 */
public interface Answer {
    /** The constant's unique name, such as {@code IRQFD_BUSY_HOST}. */
    String name();

    /** This answer's calls, errno, evidence and sentences. */
    Row row();

    default Grade grade() {
        return row().grade();
    }

    /** The errno number with which the kernel refuses a call, or 0 if this answer is not a refusal. */
    default int errno() {
        return row().errno();
    }

    /** The cause of the refusal, or the behaviour, as a clause that begins in lower case. */
    default String text() {
        return row().text();
    }

    /** The next thing to check or do, as a clause. Empty for a behaviour. */
    default String check() {
        return row().check();
    }

    /** The kernel source file and function that refuse the call or show the behaviour. */
    default String source() {
        return row().source();
    }

    /** The texts of the conditions that must all hold for this cause. */
    default List<String> conditions() {
        return row().conditions();
    }

    /** The negative errno of a refused call. Throws IllegalStateException if this answer is not a refusal. */
    default int result() {
        if (errno() == 0) {
            throw new IllegalStateException(name() + " refuses nothing");
        }
        return -errno();
    }
}
