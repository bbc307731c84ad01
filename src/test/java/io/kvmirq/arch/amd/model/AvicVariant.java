/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.SharedSet;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.explorer.Variant;

/**
 * Ours, those of the thread of August 2016, the kernels, and ours with one order or lock dropped. Each is ours but for
 * what is overridden here.
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
    NO_MEDIATOR("two updates of one irqfd at once: no lock of irqfds", Unmediated::new),
    OUTSIDE_LOCK(
            "the entry is written before the lock of the new list is taken",
            (vm, unit) -> new AvicIrqfd(vm, 0, unit, AvicSpace.ENTRY) {
                @Override
                boolean moveThenWrite(AvicVcpu vcpu, int vector, boolean fits) {
                    unlink();
                    write(vcpu, vector, vcpu.isActive());
                    vcpu.list().lock();
                    link(vcpu);
                    vcpu.list().unlock();
                    return true;
                }
            }) {
        @Override
        boolean readsShadowLocked() {
            return false;
        }
    },
    NOTIFY_FIRST("the unit reads IsRun before it sets the IRR") {
        @Override
        GaUnit unit(AvicHost avic, SharedWords words, int base, GaUnit.Setup setup, boolean cachesLog) {
            return new Unit(avic, words, base, setup, this, cachesLog) {
                @Override
                Outcome post(int entry, AvicVcpu vcpu, int vector, long cached) {
                    Outcome outcome = notify(entry, cached);
                    vcpu.request(vector);
                    return outcome;
                }
            };
        }
    },
    CLEAR_LAST("the poller of the GA log clears the interrupt bit after it took the entries") {
        @Override
        GaLogRing log(AvicHost avic, SharedWords words, int base, GaUnit.Setup setup) {
            return new GaLogRing(avic, words, base, setup) {
                @Override
                void handle() {
                    poll();
                    clearInterrupt();
                }
            };
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
    CACHES_LOG("ours on a unit that has GALogIntr from its cache, as no source says"),
    TODAY("the previous vCPU is kicked after the write, the rest as Linux 6.17: ours");

    /** Of the kernels: the previous vCPU is not kicked. */
    private static class Unkicked extends AvicIrqfd {
        private Unkicked(AvicVm vm, GaUnit unit) {
            super(vm, 0, unit, AvicSpace.ENTRY);
        }

        @Override
        void kick(int previous) {}
    }

    private static final class Unmediated extends AvicIrqfd {
        private Unmediated(AvicVm vm, GaUnit unit) {
            super(vm, 0, unit, AvicSpace.ENTRY);
        }

        @Override
        void lock() {}

        @Override
        void unlock() {}
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

    private static class Unit extends GaUnit {
        private final boolean cachesLog;

        private Unit(AvicHost avic, SharedWords words, int base, Setup setup, AvicVariant variant, boolean cachesLog) {
            super(avic, words, base, setup, variant::log);
            this.cachesLog = cachesLog;
        }

        @Override
        boolean logs(long cached, long now) {
            return super.logs(cached, cachesLog ? cached : now);
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

    GaUnit unit(AvicHost avic, SharedWords words, int base, GaUnit.Setup setup, boolean cachesLog) {
        return new Unit(avic, words, base, setup, this, cachesLog && this == CACHES_LOG);
    }

    GaLogRing log(AvicHost avic, SharedWords words, int base, GaUnit.Setup setup) {
        return new GaLogRing(avic, words, base, setup);
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
        return this == TODAY || this == CACHES_LOG;
    }

    boolean hasMediator() {
        return this != EMBEDDED_NODE && this != TWO_LOCKS && this != NO_MEDIATOR;
    }

    /** Whether the previous vCPU is kicked. */
    boolean kicks() {
        return isOurs() || this == NO_MEDIATOR || this == OUTSIDE_LOCK || this == NOTIFY_FIRST || this == CLEAR_LAST;
    }

    boolean readsShadowLocked() {
        return true;
    }

    boolean readsListLocked() {
        return true;
    }
}
