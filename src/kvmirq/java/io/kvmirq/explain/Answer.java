/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.List;

/**
 * A row of the table of answers: one refusal of the kernel, or one behaviour, with its evidence. The constants are in
 * one enum per area; within a call and an errno the likeliest row is the first.
 */
public interface Answer {
    /** The constant's name, such as {@code IRQFD_BUSY_HOST}; no two answers have the same. */
    String name();

    /** The calls, the errno, the evidence and the sentences of this answer. */
    Row row();

    default Grade grade() {
        return row().grade();
    }

    /** The errno's number; 0 for an answer that is no refusal. */
    default int errno() {
        return row().errno();
    }

    /** The cause or the behaviour, one clause that begins in lower case. */
    default String text() {
        return row().text();
    }

    /** The next thing to look at or to do, one clause; empty for a behaviour. */
    default String check() {
        return row().check();
    }

    /** File and function of the kernel that contain the check. */
    default String source() {
        return row().source();
    }

    /** The conditions that must all hold for this cause, in words. */
    default List<String> conditions() {
        return row().conditions();
    }

    /** The negative errno of a refused call; IllegalStateException if the answer refuses nothing. */
    default int result() {
        if (errno() == 0) {
            throw new IllegalStateException(name() + " refuses nothing");
        }
        return -errno();
    }
}
