/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Variant;

/** Ours, what the review of December 2012 found or asked about. */
public enum VgicVariant implements Variant<VgicScenario> {
    AS_POSTED("2012, as posted: interrupts are on, and the handler, without the lock, may come before the flag is"
            + " cleared") {
        @Override
        void prepare(VirtualInterface registers, HostCpu here) {
            here.interruptsOn();
            registers.gic.lock();
            // if (!kvm_vgic_vcpu_pending_irq(vcpu)) goto epilog;
            boolean all = !registers.gic.isFlagged(registers.vcpu) || registers.queueAll();
            settleLate(registers, here, all);
            registers.gic.unlock();
            here.interruptsOff();
        }
    },
    LOOKS_ALWAYS("as posted, but an entry looks at pending interrupts also if the flag is clear: a round is lost") {
        @Override
        void prepare(VirtualInterface registers, HostCpu here) {
            here.interruptsOn();
            registers.gic.lock();
            settleLate(registers, here, registers.queueAll());
            registers.gic.unlock();
            here.interruptsOff();
        }
    },
    SET_TWICE(
            "the flag is set once more after the lock is given back: the review calls it harmless",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                public void syncFromCpu() {
                    super.syncFromCpu();
                    if (gic.isFlagged(vcpu)) {
                        gic.setFlag(vcpu, true);
                    }
                }
            }),
    COLLAPSED(
            "the sources of an SGI are collapsed into one interrupt, as the review asked",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                boolean queueSources(int sgi) {
                    int source = Integer.numberOfTrailingZeros(gic.banks().sources(vcpu, sgi));
                    boolean queued = queue(sgi, source);
                    if (queued) {
                        gic.banks().setSources(vcpu, sgi, 0);
                    }
                    return queued;
                }
            }),
    CLEARED_UNLOCKED(
            "ours, but the flag is cleared after the lock is given back",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                public void syncToCpu() {
                    gic.lock();
                    boolean all = queueAll();
                    words.set(at(CONTROL), HypervisorControl.UNDERFLOW.put(control(), all ? 0 : 1));
                    gic.unlock();
                    if (all) {
                        gic.setFlag(vcpu, false);
                    }
                }
            }),
    OURS("ours: both under the lock, with interrupts off"),
    AT_EXIT("ours, and each exit looks at EISR itself, as KVM did from 2013: no handler is needed") {
        @Override
        void exited(VirtualInterface registers) {
            registers.maintain();
            super.exited(registers);
        }
    };

    /** The virtual interface of a vCPU with a number of list registers. */
    private interface Interfaces {
        VirtualInterface of(Distributor gic, int vcpu, int registers, SharedWords words, int base);
    }

    private final String text;

    @SuppressWarnings("ImmutableEnumChecker") // No lambda of these has a state.
    private final Interfaces interfaces;

    VgicVariant(String text) {
        this(text, VirtualInterface::new);
    }

    VgicVariant(String text, Interfaces interfaces) {
        this.text = text;
        this.interfaces = interfaces;
    }

    @Override
    public String text() {
        return text;
    }

    void prepare(VirtualInterface registers, HostCpu here) {
        registers.syncToCpu();
    }

    /** The handler, without the lock, may come before the flag is cleared. */
    private static void settleLate(VirtualInterface registers, HostCpu here, boolean all) {
        if (here.isInterrupted() && ((ExploredWords) registers.words).cpu().choose(2) == 0) {
            registers.words.and(here.at(HostCpu.PENDING), ~(1L << VgicVm.MAINTENANCE));
            registers.handle();
        }
        registers.settle(all);
    }

    void exited(VirtualInterface registers) {
        registers.syncFromCpu();
    }

    /** The parts of a VM. */
    final VgicVm.Parts parts(boolean raisedOnce) {
        return new VgicVm.Parts() {
            @Override
            public VirtualInterface registers(Distributor gic, int vcpu, int registers, SharedWords words, int base) {
                return interfaces.of(gic, vcpu, registers, words, base);
            }

            @Override
            public void prepare(VirtualInterface registers, HostCpu here) {
                VgicVariant.this.prepare(registers, here);
            }

            @Override
            public void entered(VgicVcpu vcpu) {
                if (!raisedOnce) {
                    vcpu.registers().gic.lock();
                    vcpu.signal();
                    vcpu.registers().gic.unlock();
                }
            }

            @Override
            public void exited(VirtualInterface registers) {
                VgicVariant.this.exited(registers);
            }

            @Override
            public void kick(VgicVcpu vcpu) {
                vcpu.kick();
            }
        };
    }
}
