/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.gic.HypervisorControl;
import io.kvmirq.arch.gic.ListRegister;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Variant;

/** Ours, what the review of December 2012 found or asked about, and ours with one rule dropped. */
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
    FIRST_SOURCE(
            "an SGI is pending until its first source is queued",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                boolean queueSources(int sgi) {
                    int before = gic.banks().sources(vcpu, sgi);
                    boolean all = super.queueSources(sgi);
                    if (gic.banks().sources(vcpu, sgi) != before) {
                        gic.banks().setSources(vcpu, sgi, 0);
                    }
                    return all;
                }
            }),
    ANY_SOURCE(
            "an SGI is added to a list register that holds it from another source",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                int find(int id, int source) {
                    for (int other = 0; other < gic.vcpus(); other++) {
                        int number = super.find(id, other);
                        if (number >= 0) {
                            return number;
                        }
                    }
                    return -1;
                }
            }),
    NO_EOI(
            "the end of a level raises no maintenance interrupt",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                long withEnd(int id, long word) {
                    return word;
                }
            }),
    SPENT_IS_EMPTY(
            "an exit frees a list register that waits for its maintenance interrupt, and its line is not looked at",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                public void syncFromCpu() {
                    gic.lock();
                    for (int number = 0; number < registers(); number++) {
                        if (ListRegister.isSpent(listRegister(number))) {
                            put(number, 0, false);
                        }
                    }
                    gic.unlock();
                    super.syncFromCpu();
                }
            }),
    NO_UNDERFLOW(
            "UIE is not set when a list register is missing",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                void settle(boolean all) {
                    if (all) {
                        super.settle(true);
                    }
                }
            }),
    KICK_ONLY("a sender kicks and makes no request: a vCPU on its way into the guest has filled its list registers") {
        @Override
        void kick(VgicVcpu vcpu) {
            vcpu.thread().kick();
        }
    },
    QUIET_END(
            "the end of a level that was routed to another vCPU kicks nothing",
            (gic, vcpu, count, words, base) -> new VirtualInterface(gic, vcpu, count, words, base) {
                @Override
                public void maintain() {
                    gic.lock();
                    for (int number = 0; number < registers(); number++) {
                        long word = listRegister(number);
                        if (ListRegister.isSpent(word)) {
                            put(number, 0, false);
                            gic.ended(vcpu, (int) ListRegister.VIRTUAL_ID.of(word));
                        }
                    }
                    words.set(at(CONTROL), HypervisorControl.UNDERFLOW.put(control(), 0));
                    gic.unlock();
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

    void kick(VgicVcpu vcpu) {
        vcpu.kick();
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
                VgicVariant.this.kick(vcpu);
            }
        };
    }
}
