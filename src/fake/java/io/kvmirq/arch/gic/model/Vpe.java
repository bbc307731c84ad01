/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuHooks;
import io.kvmirq.arch.vcpu.VcpuThread;
import java.util.Optional;

/**
 * The state of a vCPU in GICv4 (vPE): its table of pending vLPIs, its residency in a redistributor, and its doorbell.
 * Hardware delivers a resident vPE's vLPIs. While the vPE is not resident, vLPIs stay in the table, and its doorbell, a
 * host interrupt, wakes a blocking vCPU. Safe for use by any number of threads. vLPIs have numbers from 0.
 *
 * <p>Source: arch/arm64/kvm/vgic/vgic-v4.c; {@code its_make_vpe_resident()} and {@code its_make_vpe_non_resident()} in
 * drivers/irqchip/irq-gic-v4.c; {@code its_vpe_deschedule()} and {@code its_vpe_4_1_deschedule()} in irq-gic-v3-its.c.
 */
public final class Vpe implements VcpuHooks {
    public enum Version {
        /**
         * The doorbell is an LPI that KVM enables before the vPE leaves its redistributor, and that is disabled when it
         * rings. A disabled doorbell may become pending; KVM clears the pending state when it makes the vPE resident
         * ({@code vgic_v4_load()}), so the model does not keep this state.
         */
        V4_0,
        /** The redistributor sends a doorbell once, and only on request. */
        V4_1
    }

    /** The lock that hardware holds for each step, and KVM for {@link #PENDING_LAST}. */
    private static final int LOCK = 0;

    private static final int RESIDENT = 1;
    private static final int DOORBELL = 2;
    /** Whether KVM has noticed a pending vLPI, so that the vCPU does not sleep. */
    private static final int PENDING_LAST = 3;

    /** A bit for each pending vLPI, then as many words with a bit for each enabled one. */
    private static final int TABLE = 4;

    private final Version version;
    private final VcpuThread thread;
    private final SharedWords words;
    private final int base;
    private final int vlpis;
    private final int doorbell;
    private final HostCpus host;

    /** Creates a vPE that is not resident, without pending vLPIs. {@code doorbell} is the vPE's host vector, 0–255. */
    public Vpe(HostCpus host, int index, Version version, int vlpis, int doorbell) {
        this(host, index, version, vlpis, doorbell, SharedWords.of(new long[words(vlpis)]), 0);
    }

    Vpe(HostCpus host, int index, Version version, int vlpis, int doorbell, SharedWords words, int base) {
        this.host = host;
        this.version = version;
        this.vlpis = vlpis;
        this.doorbell = doorbell;
        this.words = words;
        this.base = base;
        this.thread = new VcpuThread(host, index, words, base + TABLE + 2 * tableWords(vlpis), this);
        host.handle(doorbell, cpu -> ring());
    }

    static int words(int vlpis) {
        return TABLE + 2 * tableWords(vlpis) + VcpuThread.WORDS;
    }

    private static int tableWords(int vlpis) {
        return (vlpis + Long.SIZE - 1) / Long.SIZE;
    }

    public Version version() {
        return version;
    }

    public VcpuThread thread() {
        return thread;
    }

    private int at(int word) {
        return base + word;
    }

    private boolean is(int word) {
        return words.get(at(word)) != 0;
    }

    private void put(int word, boolean value) {
        words.set(at(word), value ? 1 : 0);
    }

    public boolean isResident() {
        return is(RESIDENT);
    }

    /** Whether the doorbell rings when the next vLPI arrives. */
    public boolean isDoorbellArmed() {
        return is(DOORBELL);
    }

    // Hardware

    /** Sets a vLPI's pending bit. While the vPE is not resident, an enabled vLPI rings an armed doorbell. */
    public void setPending(int vlpi, boolean pending) {
        change(vlpi, pendingWord(vlpi), pending);
    }

    /** Enables or disables a vLPI in its property table. Enabling a pending vLPI rings an armed doorbell. */
    public void setEnabled(int vlpi, boolean enabled) {
        change(vlpi, enabledWord(vlpi), enabled);
    }

    private void change(int vlpi, int word, boolean to) {
        check(vlpi);
        words.lock(at(LOCK));
        long bit = 1L << vlpi;
        boolean before = (words.get(pendingWord(vlpi)) & words.get(enabledWord(vlpi)) & bit) != 0;
        if (to) {
            words.or(word, bit);
        } else {
            words.and(word, ~bit);
        }
        boolean now = (words.get(pendingWord(vlpi)) & words.get(enabledWord(vlpi)) & bit) != 0;
        boolean rings = now && !before && !is(RESIDENT) && is(DOORBELL);
        if (rings) {
            put(DOORBELL, false);
        }
        words.unlock(at(LOCK));
        if (rings) {
            thread.last().orElse(host.cpu(0)).interrupt(doorbell);
        }
    }

    private int pendingWord(int vlpi) {
        return at(TABLE + vlpi / Long.SIZE);
    }

    private int enabledWord(int vlpi) {
        return pendingWord(vlpi) + tableWords(vlpis);
    }

    private void check(int vlpi) {
        if (vlpi < 0 || vlpi >= vlpis) {
            throw new IllegalArgumentException("vLPI " + vlpi + " does not exist: expected 0-" + (vlpis - 1));
        }
    }

    public boolean isPending(int vlpi) {
        check(vlpi);
        return (words.get(pendingWord(vlpi)) >>> vlpi & 1) != 0;
    }

    /** Whether any vLPI is pending and enabled. */
    public boolean hasPending() {
        for (int word = 0; word < tableWords(vlpis); word++) {
            if ((words.get(at(TABLE + word)) & words.get(at(TABLE + tableWords(vlpis) + word))) != 0) {
                return true;
            }
        }
        return false;
    }

    // KVM

    private void ring() {
        words.lock(at(LOCK));
        put(PENDING_LAST, true);
        words.unlock(at(LOCK));
        thread.request();
        thread.kick();
    }

    private void makeResident() {
        words.lock(at(LOCK));
        put(RESIDENT, true);
        put(DOORBELL, false);
        words.unlock(at(LOCK));
    }

    /** @param blocks whether the vCPU blocks and wants a doorbell */
    private void makeNonResident(boolean blocks) {
        if (!isResident()) {
            return;
        }
        words.lock(at(LOCK));
        put(RESIDENT, false);
        put(DOORBELL, blocks && (version == Version.V4_0 || !hasPending()));
        // With GICv4.1, KVM assumes a pending vLPI unless the vCPU blocks.
        put(PENDING_LAST, hasPending() || version == Version.V4_1 && !blocks);
        words.unlock(at(LOCK));
    }

    /** Makes the vPE resident. If its vCPU blocks, {@link #unblocked} does this later. */
    @Override
    public void load(HostCpu here, Optional<HostCpu> last) {
        if (!thread.isBlocking()) {
            makeResident();
        }
    }

    @Override
    public void preempted(HostCpu here) {
        makeNonResident(false);
    }

    @Override
    public void blocking(HostCpu here) {
        makeNonResident(true);
    }

    @Override
    public void unblocked(HostCpu here) {
        makeResident();
    }

    @Override
    public boolean hasInterrupt() {
        return is(PENDING_LAST);
    }
}
