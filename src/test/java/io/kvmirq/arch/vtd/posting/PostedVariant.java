/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vcpu.VcpuThread;
import io.kvmirq.explorer.Cpu;
import io.kvmirq.explorer.ExploredWords;
import io.kvmirq.explorer.Variant;

/**
 * Ours, the historic ones of the thread of January 2019, and ours with one ordering dropped. Each is ours but for what
 * is overridden here.
 */
public enum PostedVariant implements Variant<PostedScenario> {
    ON_ONLY("sync tests ON only, the bug of 2019", Unrepaired::new),
    PIR_ONLY("sync tests PIR only, as first posted", (words, base) -> new Unrepaired(words, base) {
        @Override
        public boolean sync(SharedWords irr, int at) {
            return hasRequests() && acknowledge(irr, at);
        }
    }),
    PIR_OR_ON("sync tests PIR or ON", (words, base) -> new Unrepaired(words, base) {
        @Override
        public boolean sync(SharedWords irr, int at) {
            return (isOn() || hasRequests()) && acknowledge(irr, at);
        }
    }),
    ON_SN_STORE(
            "one 16-bit store clears SN and sets ON, the counter-proposal",
            (words, base) -> new Unrepaired(words, base) {
                @Override
                boolean clearSuppress() {
                    cpu(words).store(control, PostedInterruptDescriptor.ON.mask(), 0xffff);
                    return true;
                }

                @Override
                long loaded(long old, long ndst) {
                    return PostedInterruptDescriptor.ON.put(super.loaded(old, ndst), 1);
                }
            }),
    ON_SN_STORE_AS_QUOTED(
            "the counter-proposal as it was quoted: the store writes ON's bit number, which is 0",
            (words, base) -> new Unrepaired(words, base) {
                @Override
                boolean clearSuppress() {
                    cpu(words).store(control, 0, 0xffff);
                    return true;
                }

                @Override
                long loaded(long old, long ndst) {
                    return PostedInterruptDescriptor.ON.put(super.loaded(old, ndst), 0);
                }
            }),
    CHECK_THEN_CLEAR("ON set if PIR is not empty, then SN cleared", (words, base) -> new Unrepaired(words, base) {
        @Override
        public void load(long ndst) {
            check();
            super.load(ndst);
        }

        @Override
        public void resume() {
            check();
            super.resume();
        }

        private void check() {
            if (hasRequests()) {
                setOn();
            }
        }
    }),
    UP_TO_6_16("Linux up to 6.16: SN set by preemption only, not on the way to user space") {
        @Override
        ApicvKernel kernel() {
            return ApicvKernel.UP_TO_6_16;
        }
    },
    TODAY("SN cleared, then ON set if PIR is not empty: ours"),
    WITH_BARRIERS(
            "ours with the barriers that the kernel writes down beside its locked accesses",
            (words, base) -> new PiDescriptor(words, base) {
                @Override
                boolean clearSuppress() {
                    boolean was = super.clearSuppress();
                    words.fence();
                    return was;
                }

                @Override
                void redirect(long ndst) {
                    super.redirect(ndst);
                    words.fence();
                }

                @Override
                void clearOn(long seen) {
                    super.clearOn(seen);
                    words.fence();
                }

                @Override
                boolean setOn() {
                    boolean first = super.setOn();
                    words.fence();
                    return first;
                }
            }),
    PLAIN_PIR("the sender's PIR bit by load and store", (words, base) -> new PiDescriptor(words, base) {
        @Override
        public boolean deliver(int vector) {
            int word = pir(vector);
            long old = words.get(word);
            words.set(word, old | bit(vector));
            return (old & bit(vector)) == 0 && setOn();
        }
    }),
    ON_BEFORE_PIR("the sender sets ON before the PIR bit", (words, base) -> new PiDescriptor(words, base) {
        @Override
        public boolean deliver(int vector) {
            boolean first = setOn();
            return (words.or(pir(vector), bit(vector)) & bit(vector)) == 0 && first;
        }
    }),
    HARVEST_FIRST("sync takes PIR before it clears ON", (words, base) -> new PiDescriptor(words, base) {
        @Override
        boolean take(long seen, SharedWords irr, int at) {
            boolean found = harvest(irr, at);
            clearOn(seen);
            return found;
        }
    }),
    PLAIN_PUT("preemption sets SN by load and store", (words, base) -> new PiDescriptor(words, base) {
        @Override
        public void put() {
            storeFlags(words, control, words.get(control) | PostedInterruptDescriptor.SN.mask());
        }
    }),
    PLAIN_ON("ON by load and store", (words, base) -> new PiDescriptor(words, base) {
        @Override
        boolean setOn() {
            long old = words.get(control);
            storeFlags(words, control, old | PostedInterruptDescriptor.ON.mask());
            return !PostedInterruptDescriptor.ON.isSet(old);
        }
    }),
    PLAIN_CLEAR_ON("sync clears ON by load and store", (words, base) -> new PiDescriptor(words, base) {
        @Override
        void clearOn(long seen) {
            storeFlags(words, control, words.get(control) & ~PostedInterruptDescriptor.ON.mask());
        }
    }),
    PLAIN_CLEAR_SN(
            "load clears SN by load and store, without a barrier", (words, base) -> new PiDescriptor(words, base) {
                @Override
                boolean clearSuppress() {
                    long old = words.get(control);
                    storeFlags(words, control, old & ~PostedInterruptDescriptor.SN.mask());
                    return PostedInterruptDescriptor.SN.isSet(old);
                }
            }),
    NO_MODE_BARRIER("no barrier between the mode and sync") {
        @Override
        ExploredWords words(int size) {
            return new ExploredWords(size) {
                @Override
                public void fence() {}
            };
        }
    },
    PLAIN_SLEEP("sleep announced by a plain store") {
        @Override
        ExploredWords words(int size) {
            return new ExploredWords(size) {
                @Override
                public long swap(int word, long value) {
                    if (word == PostedVcpu.THREAD + VcpuThread.ASLEEP && value == 1) {
                        set(word, value);
                        return 0;
                    }
                    return super.swap(word, value);
                }
            };
        }
    };

    /** Ours without the repair. */
    private static class Unrepaired extends PiDescriptor {
        private Unrepaired(SharedWords words, int base) {
            super(words, base);
        }

        @Override
        void restoreOn() {}
    }

    /** A descriptor at a place of memory. */
    private interface Descriptors {
        PiDescriptor over(SharedWords words, int base);
    }

    private final String text;

    @SuppressWarnings("ImmutableEnumChecker") // No lambda of these has a state.
    private final Descriptors descriptors;

    PostedVariant(String text) {
        this(text, PiDescriptor::new);
    }

    PostedVariant(String text, Descriptors descriptors) {
        this.text = text;
        this.descriptors = descriptors;
    }

    @Override
    public String text() {
        return text;
    }

    PiDescriptor over(SharedWords words, int base) {
        return descriptors.over(words, base);
    }

    ExploredWords words(int size) {
        return new ExploredWords(size);
    }

    ApicvKernel kernel() {
        return ApicvKernel.FROM_6_17;
    }

    private static Cpu cpu(SharedWords words) {
        return ((ExploredWords) words).cpu();
    }

    /** A plain store of the byte that ON and SN are in. */
    private static void storeFlags(SharedWords words, int control, long value) {
        cpu(words).store(control, value, 0xff);
    }
}
