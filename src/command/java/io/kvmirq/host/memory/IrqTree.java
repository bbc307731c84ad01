/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.HostIrq;

/**
 * The tree of irq descriptors: a radix tree up to Linux 6.4, a maple tree since. BTF has their nodes, and neither the tags in
 * their pointers nor the types of the variables.
 *
 * <p>Source: {@code irq_to_desc()} in kernel/irq/irqdesc.c; include/linux/xarray.h ({@code xa_is_node}, {@code xa_to_node});
 * include/linux/maple_tree.h and {@code mtree_lookup_walk()} in lib/maple_tree.c.
 */
final class IrqTree {
    static final String RADIX = "irq_desc_tree";
    static final String MAPLE = "sparse_irqs";

    /** Bits 1:0 of a pointer to a node of an xarray. A pointer without them is the only entry, of index 0. */
    private static final int INTERNAL = 2;

    private static final int TAGS = 3;
    private static final int RADIX_BITS = 6;
    /** The bit at which the root of an xarray may begin whose indexes have 32 bits. */
    private static final int RADIX_HIGHEST = 30;

    private static final int NODE_MASK = 255;
    private static final int TYPE_SHIFT = 3;
    private static final int TYPE_MASK = 15;
    private static final int LEAF_64 = 1;
    private static final int RANGE_64 = 2;
    private static final int ARANGE_64 = 3;
    private static final int ROOT_PARENT = 1;
    /** The pivots of a leaf or a node with ranges, and of one that also has gaps. */
    private static final int PIVOTS = 15;

    private static final int ARANGE_PIVOTS = 9;
    /** A maple tree of 2^32 entries with four in each node has fewer levels. */
    private static final int MAPLE_DEEPEST = 31;

    private final KernelMemory memory;
    private final Types types;
    private final Symbols symbols;

    IrqTree(KernelMemory memory, Types types, Symbols symbols) {
        this.memory = memory;
        this.types = types;
        this.symbols = symbols;
    }

    /** The address of an irq's descriptor; its reader checks the number in it. */
    long find(HostIrq irq) {
        long found = symbols.has(MAPLE) ? inMaple(irq.number()) : inRadix(irq.number());
        if (found == 0) {
            throw new Unseen("the kernel has no descriptor for " + irq, "look while the device is in use");
        }
        return KernelMemory.checked(found, "the descriptor of " + irq);
    }

    private long inRadix(long index) {
        long head = symbols.address(RADIX) + types.layout("xarray", "xa_head").offset("xa_head");
        return inXarray(memory, types, head, index, "the tree of irq descriptors");
    }

    /**
     * The entry of an xarray, or of a radix tree, which is the same; 0 if it has none.
     *
     * @param head the address of its {@code xa_head}
     * @param what it is, for the sentence of a failure
     */
    static long inXarray(KernelMemory memory, Types types, long head, long index, String what) {
        Layout node = types.layout("xa_node", "shift", "parent", "slots");
        long entry = memory.word(head, what);
        if ((entry & TAGS) != INTERNAL) {
            return index == 0 ? entry : 0;
        }
        long address = entry - INTERNAL;
        long parent = 0;
        Layout.Snapshot here = node.at(memory, address);
        long shift = here.number("shift");
        if (shift % RADIX_BITS != 0 || shift > RADIX_HIGHEST) {
            throw Unseen.wrong(what + " begins at bit " + shift + ", expected a multiple of 6");
        }
        if (index >>> shift >= 1 << RADIX_BITS) {
            return 0;
        }
        while (here.number("shift") == shift && here.number("parent") == parent) {
            long slot = index >>> shift & (1 << RADIX_BITS) - 1;
            entry = memory.word(address + node.offset("slots") + slot * Long.BYTES, "xa_node.slots");
            boolean deeper = (entry & TAGS) == INTERNAL;
            if (shift == 0 || !deeper) {
                return shift == 0 && !deeper ? entry : 0;
            }
            parent = address;
            address = entry - INTERNAL;
            here = node.at(memory, address);
            shift -= RADIX_BITS;
        }
        throw Unseen.torn(what);
    }

    private long inMaple(long index) {
        long tree = symbols.address(MAPLE);
        long entry = types.layout("maple_tree", "ma_root").at(memory, tree).number("ma_root");
        long up = types.layout("maple_node", "parent").offset("parent");
        Layout range = types.layout("maple_range_64", "pivot", "slot");
        Layout gaps = types.layout("maple_arange_64", "pivot", "slot");
        if ((entry & TAGS) != INTERNAL) {
            return index == 0 ? entry : 0;
        }
        long parent = tree | ROOT_PARENT;
        boolean root = true;
        long max = -1;
        for (int left = MAPLE_DEEPEST; left > 0; left--) {
            int type = (int) (entry >>> TYPE_SHIFT & TYPE_MASK);
            long address = entry & ~(long) NODE_MASK;
            if (type < LEAF_64 || type > ARANGE_64) {
                throw Unseen.wrong("the maple tree of irqs has a node of type " + type + ", expected 1 to 3");
            }
            long above = memory.word(KernelMemory.checked(address, "maple_tree.ma_root") + up, "maple_node.parent");
            if (root ? above != parent : (above & ~(long) NODE_MASK) != parent) {
                throw Unseen.torn("the maple tree of irqs");
            }
            Layout node = type == ARANGE_64 ? gaps : range;
            int count = type == ARANGE_64 ? ARANGE_PIVOTS : PIVOTS;
            long[] pivots = memory.words(address + node.offset("pivot"), count, "the pivots of a maple_node");
            int slot = 0;
            while (slot < count && Long.compareUnsigned(pivots[slot], index) < 0) {
                slot++;
            }
            // Pivots of one node grow, and none is beyond the range of its parent.
            if (slot < count && Long.compareUnsigned(pivots[slot], max) > 0) {
                throw Unseen.torn("the maple tree of irqs");
            }
            max = slot < count ? pivots[slot] : max;
            entry = memory.word(address + node.offset("slot") + (long) slot * Long.BYTES, "maple_node.slot");
            if (type < RANGE_64) {
                return entry;
            }
            parent = address;
            root = false;
        }
        throw Unseen.torn("the maple tree of irqs");
    }
}
