/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.explorer.Explorer;
import io.kvmirq.explorer.Memory;

/** What can be searched: the actors, and the memory they begin with. */
interface Space {
    Explorer explorer(Memory memory);

    long[] start();
}
