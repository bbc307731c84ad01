/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.explorer;

/** A space to search: the actors, and the memory they begin with. */
public interface Space {
    Explorer explorer(Memory memory);

    long[] start();
}
