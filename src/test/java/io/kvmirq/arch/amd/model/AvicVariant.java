/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.explorer.Variant;

/**
 * Ours, those of the thread of August 2016, the kernels. Each is ours but for what is
 * overridden here.
 */
public enum AvicVariant implements Variant<AvicScenario> {
    EMBEDDED_NODE(
            "2016, as posted: the node is in the entry's data and is added without leaving the old list",
            (vm, unit) -> new Unlocked(vm, unit) {
                @Override
                boolean moveThenWrite(AvicVcpu vcpu, int vector, boolean fits) {
                    write(vcpu, vector);
                    vcpu.list().lock();
                    boolean found = false;
                    for (int i = vcpu.list().next(0); i >= 0; i = vcpu.list().next(i + 1)) {
                        found |= i == number();
                    }
                    vcpu.list().unlock();
                    if (!found) {
                        vcpu.list().lock();
                        link(vcpu);
                        vcpu.list().unlock();
                    }
                    return true;
                }
            }) {
        @Override
        boolean isLinked() {
            return true;
        }
    },
    WRAPPERS(
            "2016, before that: a node of its own in each list, the old one stays",
            (vm, unit) -> new Unkicked(vm, unit) {
                @Override
                void unlink() {}
            }),
    REFUSE_SECOND_ADD(
            "2016, the remark taken literally: an entry that is on a list is not added again",
            (vm, unit) -> new Unkicked(vm, unit) {
                @Override
                void unlink() {}

                @Override
                void link(AvicVcpu vcpu) {
                    if (vcpu().isEmpty()) {
                        super.link(vcpu);
                    }
                }
            }),
    TWO_LOCKS(
            "the question whether the entry is on a list, and the insertion, under two locks; no lock of irqfds",
            (vm, unit) -> new Unlocked(vm, unit) {
                @Override
                boolean moveThenWrite(AvicVcpu vcpu, int vector, boolean fits) {
                    unlink();
                    write(vcpu, vector);
                    vcpu.list().lock();
                    boolean free = vcpu().isEmpty();
                    vcpu.list().unlock();
                    if (free) {
                        vcpu.list().lock();
                        link(vcpu);
                        vcpu.list().unlock();
                    }
                    return true;
                }
            }) {
        @Override
        boolean isLinked() {
            return true;
        }
    },
    UP_TO_6_16(
            "Linux 6.5 to 6.16: the entry is written, then leaves the old list; GALogIntr is always set",
            Unkicked::new) {
        @Override
        AvicKernel kernel() {
            return AvicKernel.UP_TO_6_16;
        }
    },
    FROM_6_17(
            "Linux 6.17 and later: the entry leaves the old list, then is written",
            (vm, unit) -> new Unkicked(vm, unit) {
                @Override
                boolean moveThenWrite(AvicVcpu vcpu, int vector, boolean fits) {
                    unlink();
                    boolean active = vcpu.isActive();
                    vcpu.list().lock();
                    write(vcpu, vector, active);
                    link(vcpu);
                    vcpu.list().unlock();
                    return true;
                }
            }),
    TODAY("the previous vCPU is kicked after the write, the rest as Linux 6.17: ours");

    /** The kernel's behaviour: the previous vCPU is not kicked. */
    private static class Unkicked extends AvicIrqfd {
        private Unkicked(AvicVm vm, GaUnit unit) {
            super(vm, 0, unit, AvicSpace.ENTRY);
        }

        @Override
        void kick(int previous) {}
    }

    private static class Unlocked extends Unkicked {
        private Unlocked(AvicVm vm, GaUnit unit) {
            super(vm, unit);
        }

        @Override
        void lock() {}

        @Override
        void unlock() {}

        /** As 2016, with today's fields of the entry. */
        void write(AvicVcpu vcpu, int vector) {
            vcpu.list().lock();
            write(vcpu, vector, true);
            vcpu.list().unlock();
        }
    }

    /** The irqfd of a VM. */
    private interface Irqfds {
        AvicIrqfd of(AvicVm vm, GaUnit unit);
    }

    private final String text;

    @SuppressWarnings("ImmutableEnumChecker") // No lambda of these has a state.
    private final Irqfds irqfds;

    AvicVariant(String text) {
        this(text, (vm, unit) -> new AvicIrqfd(vm, 0, unit, AvicSpace.ENTRY));
    }

    AvicVariant(String text, Irqfds irqfds) {
        this.text = text;
        this.irqfds = irqfds;
    }

    @Override
    public String text() {
        return text;
    }

    AvicKernel kernel() {
        return AvicKernel.FROM_6_17;
    }

    AvicIrqfd irqfd(AvicVm vm, GaUnit unit) {
        return irqfds.of(vm, unit);
    }

    /** Whether the lists are linked. */
    boolean isLinked() {
        return false;
    }

    AvicVm.Lists lists(Links links) {
        if (!isLinked()) {
            return SharedSet::new;
        }
        int[] made = {0};
        return (words, base, most) -> links.new Linked(words, base, most, made[0]++);
    }

    boolean isOurs() {
        return this == TODAY;
    }

    boolean hasMediator() {
        return this != EMBEDDED_NODE && this != TWO_LOCKS;
    }
}
