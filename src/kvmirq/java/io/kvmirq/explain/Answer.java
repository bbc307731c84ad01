/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explain;

import java.util.List;

/**
 * Explains one cause of an errno that the kernel returns, or one other behaviour of the kernel, with the evidence. Each
 * kernel area, such as VFIO, has an enum of answers. Likelier answers for a call and errno come first.
 */
public interface Answer {
    /** The constant's name, such as {@code IRQFD_BUSY_HOST}; no two answers have the same name. */
    String name();

    /** The calls, the errno, the evidence and the sentences of this answer. */
    Row row();

    default Grade grade() {
        return row().grade();
    }

    /** The errno number with which the kernel refuses a call; 0 if this answer is a behaviour. */
    default int errno() {
        return row().errno();
    }

    /** The cause of the refusal, or the behaviour: one clause that begins in lower case. */
    default String text() {
        return row().text();
    }

    /** The next thing to check or to do after the refusal, one clause; empty for a behaviour. */
    default String check() {
        return row().check();
    }

    /** The kernel source file and function that refuse the call or show the behaviour. */
    default String source() {
        return row().source();
    }

    /** The conditions that must all hold for this cause, as texts. */
    default List<String> conditions() {
        return row().conditions();
    }

    /** The negative errno of a refused call; throws IllegalStateException if this answer is not a refusal. */
    default int result() {
        if (errno() == 0) {
            throw new IllegalStateException(name() + " refuses nothing");
        }
        return -errno();
    }
}
