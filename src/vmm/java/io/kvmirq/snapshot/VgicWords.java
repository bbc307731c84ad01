/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.VcpuId;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.VgicV3;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.LongConsumer;
import java.util.function.LongSupplier;
import java.util.function.LongUnaryOperator;
import java.util.stream.IntStream;

/**
 * The registers of a GICv3 and of its ITSs, in the order of restoring: a register that changes the meaning of another
 * one is restored first. The ITSs' tables are in guest memory.
 *
 * <p>Source: Documentation/virt/kvm/devices/arm-vgic-v3.rst and arm-vgic-its.rst, "ITS Restore Sequence".
 */
@SuppressWarnings("UnnecessaryLambda") // a table names what a reset makes of a value
final class VgicWords {
    // The same offsets in the distributor and, from SGIS on, in a redistributor
    private static final int GROUP = 0x80;
    private static final int ENABLED = 0x100;
    private static final int PENDING = 0x200;
    private static final int ACTIVE = 0x300;
    private static final int PRIORITY = 0x400;
    private static final int CONFIGURATION = 0xc00;
    /** The distance from a set register to its clear register, such as ISENABLER to ICENABLER. */
    private static final int CLEAR = 0x80;

    private static final int INTERRUPTS_STEP = 32;

    private static final int CTLR = 0;
    private static final int IIDR = 8;
    private static final int ROUTER = 0x6000;

    private static final int WAKER = 0x14;
    private static final int[] LPI_TABLES = {0x70, 0x74, 0x78, 0x7c};
    private static final int SGIS = 0x1_0000;

    private static final int ICC_CTLR = VgicV3.systemRegister(3, 0, 12, 12, 4);
    /** The position in ICC_CTLR_EL1 of the number of priority bits, minus 1. */
    private static final int PRIORITY_BITS = 8;

    private static final int MOST_BITS = 7;
    /** SRE, CTLR, IGRPEN0, IGRPEN1, PMR, BPR0, BPR1. */
    private static final int[] INTERFACE = {
        VgicV3.systemRegister(3, 0, 12, 12, 5),
        ICC_CTLR,
        VgicV3.systemRegister(3, 0, 12, 12, 6),
        VgicV3.systemRegister(3, 0, 12, 12, 7),
        VgicV3.systemRegister(3, 0, 4, 6, 0),
        VgicV3.systemRegister(3, 0, 12, 8, 3),
        VgicV3.systemRegister(3, 0, 12, 12, 3)
    };

    private static final int ITS_IIDR = 4;
    private static final int[] QUEUE = {0x80, 0x90, 0x88};
    private static final int TABLES = 0x100;
    private static final int TABLE_COUNT = 8;

    /** EOImode and CBPR, the bits of ICC_CTLR_EL1 that a guest writes. */
    private static final long WRITTEN_OF_CTLR = 3;

    // Reset values; source: kvm_vgic_dist_init() and vgic_v3_enable()
    private static final LongUnaryOperator KEPT = now -> now;
    private static final LongUnaryOperator CLEARED = now -> 0;
    private static final LongUnaryOperator GROUP_1 = now -> 0xffff_ffffL;
    private static final LongUnaryOperator EDGES = now -> 0xaaaa_aaaaL;
    private static final LongUnaryOperator ENABLED_SGIS = now -> 0xffff;
    private static final LongUnaryOperator CACHED_TABLE = now -> 0x580;

    private record Word(String name, LongSupplier read, LongConsumer write, LongUnaryOperator reset) {}

    /** @param layout addresses and sizes, as text */
    record State(String layout, List<Long> values) {
        Map<String, Object> tree() {
            Map<String, Object> tree = new LinkedHashMap<>();
            tree.put("layout", layout);
            tree.put("values", values.stream().map(Node::word).toList());
            return tree;
        }

        static State of(Node node) {
            return new State(
                    node.at("layout").text(),
                    node.all("values").stream().map(Node::word).toList());
        }
    }

    private final VgicV3 vgic;
    private final List<Its> units;
    private final String layout;
    private final List<Word> words = new ArrayList<>();

    VgicWords(VgicV3 vgic, List<Its> units, List<VcpuId> vcpus) {
        this.vgic = vgic;
        this.units = units;
        layout = vgic.interrupts() + " interrupts, its distributor at " + text(vgic.distributor())
                + ", redistributors at "
                + vgic.redistributors().stream()
                        .map(region -> "0x" + Long.toHexString(region.address()) + " (" + region.count() + ")")
                        .toList()
                + ", ITSs at " + units.stream().map(its -> text(its.address())).toList();
        distributor(IIDR, KEPT);
        distributor(CTLR);
        vcpus.forEach(this::redistributor);
        for (int first = INTERRUPTS_STEP; !vcpus.isEmpty() && first < vgic.interrupts(); first += INTERRUPTS_STEP) {
            interrupts(first, vcpus.get(0));
        }
        vcpus.forEach(this::cpuInterface);
        units.forEach(this::unit);
    }

    private static String text(OptionalLong address) {
        return address.isPresent() ? "0x" + Long.toHexString(address.getAsLong()) : "no address";
    }

    /**
     * Adds a register. A restore skips a register that already has its value, because writing the initial value may
     * change it.
     */
    private void add(String name, LongSupplier read, LongConsumer write, LongUnaryOperator reset) {
        words.add(new Word(
                name,
                read,
                value -> {
                    if (read.getAsLong() != value) {
                        write.accept(value);
                    }
                },
                reset));
    }

    private static String at(String what, int offset) {
        return what + " 0x" + Integer.toHexString(offset);
    }

    private void distributor(int offset) {
        distributor(offset, CLEARED);
    }

    private void distributor(int offset, LongUnaryOperator reset) {
        add(
                at("GICD", offset),
                () -> Integer.toUnsignedLong(vgic.readDistributor(offset)),
                value -> vgic.writeDistributor(offset, (int) value),
                reset);
    }

    /** Writing ones sets bits. */
    private void distributorBits(int offset) {
        add(
                at("GICD", offset),
                () -> Integer.toUnsignedLong(vgic.readDistributor(offset)),
                value -> {
                    vgic.writeDistributor(offset + CLEAR, -1);
                    vgic.writeDistributor(offset, (int) value);
                },
                CLEARED);
    }

    private void distributors(int offset, int count, LongUnaryOperator reset) {
        for (int i = 0; i < count; i++) {
            distributor(offset + i * Integer.BYTES, reset);
        }
    }

    /** Adds 32 interrupts. Line levels come before pending latches, and both before the active state. */
    private void interrupts(int first, VcpuId vcpu) {
        int word = first / Byte.SIZE;
        distributor(GROUP + word, GROUP_1);
        distributors(CONFIGURATION + first / 4, 2, EDGES);
        distributors(ROUTER + first * Long.BYTES, 2 * INTERRUPTS_STEP, CLEARED);
        distributors(PRIORITY + first, INTERRUPTS_STEP / Integer.BYTES, CLEARED);
        distributorBits(ENABLED + word);
        lines(vcpu, first);
        distributor(PENDING + word);
        distributorBits(ACTIVE + word);
    }

    private void lines(VcpuId vcpu, int first) {
        add(
                "lines of " + vcpu + " from " + first,
                () -> Integer.toUnsignedLong(vgic.readLines(vcpu, first)),
                value -> vgic.writeLines(vcpu, first, (int) value),
                KEPT);
    }

    private void redistributor(VcpuId vcpu, int offset) {
        redistributor(vcpu, offset, CLEARED);
    }

    private void redistributor(VcpuId vcpu, int offset, LongUnaryOperator reset) {
        add(
                at("GICR of " + vcpu, offset),
                () -> Integer.toUnsignedLong(vgic.readRedistributor(vcpu, offset)),
                value -> vgic.writeRedistributor(vcpu, offset, (int) value),
                reset);
    }

    private void redistributorBits(VcpuId vcpu, int offset, LongUnaryOperator reset) {
        add(
                at("GICR of " + vcpu, offset),
                () -> Integer.toUnsignedLong(vgic.readRedistributor(vcpu, offset)),
                value -> {
                    vgic.writeRedistributor(vcpu, offset + CLEAR, -1);
                    vgic.writeRedistributor(vcpu, offset, (int) value);
                },
                reset);
    }

    /** Adds a redistributor. The tables of LPIs are set before GICR_CTLR enables LPIs. */
    private void redistributor(VcpuId vcpu) {
        for (int table : LPI_TABLES) {
            redistributor(vcpu, table, table % Long.BYTES == 0 ? CACHED_TABLE : CLEARED);
        }
        redistributor(vcpu, CTLR);
        redistributor(vcpu, WAKER, KEPT);
        redistributor(vcpu, SGIS + GROUP, GROUP_1);
        redistributor(vcpu, SGIS + CONFIGURATION, KEPT);
        redistributor(vcpu, SGIS + CONFIGURATION + Integer.BYTES);
        for (int i = 0; i < INTERRUPTS_STEP; i += Integer.BYTES) {
            redistributor(vcpu, SGIS + PRIORITY + i);
        }
        redistributorBits(vcpu, SGIS + ENABLED, ENABLED_SGIS);
        lines(vcpu, 0);
        redistributor(vcpu, SGIS + PENDING);
        redistributorBits(vcpu, SGIS + ACTIVE, CLEARED);
    }

    private void cpuInterface(VcpuId vcpu) {
        List<Integer> registers =
                new ArrayList<>(IntStream.of(INTERFACE).boxed().toList());
        int bits = (int) (vgic.readSystemRegister(vcpu, ICC_CTLR) >>> PRIORITY_BITS & MOST_BITS) + 1;
        int count = bits <= 5 ? 1 : 1 << bits - 5; // the number of active-priority registers
        for (int i = 0; i < count; i++) {
            registers.add(VgicV3.systemRegister(3, 0, 12, 8, 4 | i));
            registers.add(VgicV3.systemRegister(3, 0, 12, 9, i));
        }
        for (int register : registers) {
            add(
                    at("ICC of " + vcpu, register),
                    () -> vgic.readSystemRegister(vcpu, register),
                    value -> vgic.writeSystemRegister(vcpu, register, value),
                    register == INTERFACE[0] ? KEPT : register == ICC_CTLR ? now -> now & ~WRITTEN_OF_CTLR : CLEARED);
        }
    }

    private void unit(Its its, int offset) {
        add(at("GITS", offset), () -> its.readRegister(offset), value -> its.writeRegister(offset, value), KEPT);
    }

    /** Adds an ITS. It is enabled last, because an enabled ITS executes its queue and refuses tables. */
    private void unit(Its its) {
        unit(its, ITS_IIDR);
        for (int offset : QUEUE) {
            unit(its, offset);
        }
        for (int i = 0; i < TABLE_COUNT; i++) {
            unit(its, TABLES + i * Long.BYTES);
        }
        words.add(new Word("tables", () -> 0, unused -> its.restoreTables(), KEPT));
        unit(its, CTLR);
    }

    // As a whole

    State read() {
        units.forEach(Its::saveTables);
        vgic.savePendingTables();
        return new State(
                layout, words.stream().map(word -> word.read.getAsLong()).toList());
    }

    void write(State state) {
        for (int i = 0; i < words.size(); i++) {
            words.get(i).write.accept(state.values.get(i));
        }
    }

    /** Resets twice, because a table register can be written only while another register has disabled the table. */
    void reset() {
        units.forEach(Its::reset);
        List<Word> written = words.stream().filter(word -> word.reset != KEPT).toList();
        for (int i = 0; i < 2; i++) {
            written.forEach(word -> word.write.accept(word.reset.applyAsLong(word.read.getAsLong())));
        }
    }

    Optional<String> misfit(State saved) {
        return saved.layout.equals(layout) && saved.values.size() == words.size()
                ? Optional.empty()
                : Optional.of("its VGIC has " + saved.layout + ", and this one has " + layout);
    }

    Optional<String> difference(State now, State saved) {
        return IntStream.range(0, words.size())
                .boxed()
                .flatMap(
                        i -> VcpuData.differs(
                                words.get(i).name, Node.word(now.values.get(i)), Node.word(saved.values.get(i)))
                                .stream())
                .findFirst();
    }
}
