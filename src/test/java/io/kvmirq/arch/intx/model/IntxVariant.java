/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.arch.intx.model.IntxScenario.*;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.intx.model.PhysicalLine.Taken;
import io.kvmirq.explorer.Variant;
import java.util.List;
import java.util.Optional;

/** Ours, what Linux and the patch of 2017 do instead, and ours with one order or lock dropped. */
public enum IntxVariant implements Variant<IntxScenario> {
    SIGNAL_FIRST(
            "the handler signals, then masks",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                Taken handle() {
                    if (!device.isRequesting() || isMasked()) {
                        return Taken.NONE;
                    }
                    signal();
                    maskAlone();
                    return Taken.HANDLED;
                }
            },
            ONE,
            USER,
            DISINTX,
            CONTROLLER,
            MESSAGES,
            CONTROLLER_MESSAGES,
            TRIGGER,
            PLATFORM) {
        @Override
        boolean readsMaskedLocked() {
            return false;
        }
    },
    NO_SECOND_SIGNAL(
            "an unmask that finds the device requesting leaves it masked and does not signal",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                boolean unmaskLocked() {
                    super.unmaskLocked();
                    return false;
                }
            },
            Concerned.REQUESTING),
    NO_LOOK(
            "an unmask clears DisINTx of a device that requests, and does not signal",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                boolean unmaskLocked() {
                    boolean masks = device.isDisabled();
                    boolean again = super.unmaskLocked();
                    if (again && masks) {
                        device.disable(false);
                    }
                    return false;
                }
            },
            Concerned.REQUESTING),
    RESAMPLE_FIRST("the EOI signals the resamplefd, then lowers the source", Concerned.RESAMPLED) {
        @Override
        GuestLine guest(IntxVcpu vcpu, VfioIntx device, LineEvent resamplefd, SharedWords words, int base) {
            return new GuestLine(vcpu, 0, Optional.of(device), words, base) {
                @Override
                void acknowledge() {
                    resamplefd.signal();
                    super.acknowledge();
                }
            };
        }

        @Override
        boolean resamples() {
            return false;
        }
    },
    RESAMPLE_LOST("the EOI lowers the source, and no resamplefd is signalled", Concerned.RESAMPLED) {
        @Override
        boolean resamples() {
            return false;
        }
    },
    CHOSEN_OUTSIDE(
            "the EOI acts as the choice says then; the handler is chosen before the lock is taken",
            (device, words, base) -> new FollowsChoice(device, words, base) {
                @Override
                Taken handle() {
                    boolean direct = isDirect();
                    words.lock(at(LOCK));
                    boolean forwards = direct && !isMasked() && reaches();
                    if (forwards) {
                        signalMapped();
                    }
                    boolean mine = !forwards && maskForGuest();
                    words.unlock(at(LOCK));
                    if (mine) {
                        signal();
                    }
                    return forwards ? Taken.DIRECT : mine ? Taken.HANDLED : Taken.NONE;
                }
            },
            SWITCH) {
        @Override
        boolean followsChoice() {
            return true;
        }
    },
    CHOSEN_INSIDE(
            "the same; the handler is chosen under the lock, and while nothing is in flight",
            FollowsChoice::new,
            SWITCH) {
        @Override
        boolean followsChoice() {
            return true;
        }
    },
    POSTED_2017(
            "the direct handler as posted in 2017: an interrupt stays active, also if the guest is not signalled",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                Taken handle() {
                    if (!isDirect()) {
                        return super.handle();
                    }
                    words.lock(at(LOCK));
                    if (reaches()) {
                        signalMapped();
                    }
                    words.unlock(at(LOCK));
                    return Taken.DIRECT;
                }
            },
            SHARED,
            GONE,
            SWITCH,
            DIRECT,
            DIRECT_DISINTX,
            DIRECT_MESSAGES) {
        @Override
        boolean isDirectWhenShared() {
            return true;
        }
    },
    NO_DEACTIVATION(
            "the EOI of a mapped interrupt does not deactivate",
            DIRECT,
            DIRECT_DISINTX,
            DIRECT_MESSAGES,
            SWITCH,
            PLATFORM_DIRECT) {
        @Override
        GuestLine guest(IntxVcpu vcpu, VfioIntx device, LineEvent resamplefd, SharedWords words, int base) {
            return new GuestLine(vcpu, 0, Optional.of(device), words, base) {
                @Override
                void acknowledge() {
                    resampler().acknowledge();
                }
            };
        }
    },
    LEFT_ACTIVE(
            "the close of a device with direct EOI does not deactivate",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                public void endDirect() {}
            },
            GONE,
            SWITCH_CLOSE,
            DESTROYED),
    FOLLOWED_AT_CLOSE(
            "the same, unless the handler is that of direct EOI at the close",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                public void endDirect() {
                    if (isDirect()) {
                        super.endDirect();
                    }
                }
            },
            SWITCH_CLOSE),
    CLOSED_FIRST(
            "the close sets DisINTx, then detaches the unmask eventfd",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                public void close() {
                    device.disable(true);
                    disable();
                }
            },
            GONE_RUNNING),
    CHOSEN_UNLOCKED(
            "the automatic mask is chosen without the lock",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                public void chooseAutoMask() {
                    words.set(at(DIRECT), 0);
                }
            },
            SWITCH,
            SWITCH_CLOSE),
    NO_WAIT(
            "a trigger is replaced or removed while the handler runs",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                void awaitSignals() {}
            },
            TRIGGER,
            PLATFORM_TRIGGER),
    WAITS_FOR_ALL("the EOI deactivates when all devices that forwarded the interrupt have ended it", TWO_DIRECT) {
        @Override
        boolean waitsForAll() {
            return true;
        }
    },
    DIRECT_SHARED("direct EOI on a shared line", SHARED) {
        @Override
        boolean isDirectWhenShared() {
            return true;
        }
    },
    EXCLUSIVE("the line is requested exclusively, as direct EOI of 2017 needs it", ANOTHER_VM) {
        @Override
        boolean enable(VfioIntx device, Signal eventfd) {
            return device.enableExclusive(eventfd);
        }
    },
    LINUX_7_1(
            "Linux 7.1: without DisINTx a late handler disables the line again",
            (device, words, base) -> new VfioIntx(device, false, words, base) {
                @Override
                boolean maskForGuest() {
                    if (masksAtDevice() || !isMasked()) {
                        return super.maskForGuest();
                    }
                    device.line().disable();
                    return true;
                }
            },
            CONTROLLER),
    OURS("ours");

    private interface Concerned {
        IntxScenario[] RESAMPLED = {
            ONE, USER, DISINTX, CONTROLLER, MESSAGES, SWITCH, PLATFORM, PLATFORM_TRIGGER, PLATFORM_DIRECT
        };
        /** Those in which an unmask may find the device requesting. */
        IntxScenario[] REQUESTING = {ONE, USER, DISINTX, MESSAGES, SWITCH};
    }

    /** Refuses a choice while an interrupt is in flight. */
    private static class FollowsChoice extends VfioIntx {
        private boolean isSetUp;

        private FollowsChoice(IntxDevice device, SharedWords words, int base) {
            super(device, false, words, base);
        }

        @Override
        public void chooseDirect(Signal eventfd) {
            if (!isSetUp) {
                isSetUp = true;
                super.chooseDirect(eventfd);
                return;
            }
            words.lock(at(LOCK));
            if (!isMasked()) {
                words.set(at(DIRECT), 1);
            }
            words.unlock(at(LOCK));
        }

        @Override
        public void chooseAutoMask() {
            int lockOfLine = device.line().at(PhysicalLine.LOCK);
            words.lock(at(LOCK));
            words.lock(lockOfLine);
            boolean active = device.line().isActive();
            words.unlock(lockOfLine);
            if (!active) {
                words.set(at(DIRECT), 0);
            }
            words.unlock(at(LOCK));
        }
    }

    /** A device's INTx in VFIO. */
    private interface Lines {
        VfioIntx of(IntxDevice device, SharedWords words, int base);
    }

    private final String text;

    @SuppressWarnings("ImmutableEnumChecker") // No lambda of these has a state.
    private final Lines lines;

    @SuppressWarnings("ImmutableEnumChecker") // made by List.of
    private final List<IntxScenario> concerned;

    IntxVariant(String text, IntxScenario... concerned) {
        this(text, (device, words, base) -> new VfioIntx(device, false, words, base), concerned);
    }

    IntxVariant(String text, Lines lines, IntxScenario... concerned) {
        this.text = text;
        this.lines = lines;
        this.concerned = List.of(concerned);
    }

    @Override
    public boolean concerns(IntxScenario scenario) {
        return concerned.contains(scenario);
    }

    @Override
    public String text() {
        return text;
    }

    VfioIntx vfio(IntxDevice device, SharedWords words, int base) {
        return lines.of(device, words, base);
    }

    GuestLine guest(IntxVcpu vcpu, VfioIntx device, LineEvent resamplefd, SharedWords words, int base) {
        return new GuestLine(vcpu, 0, Optional.of(device), words, base);
    }

    boolean enable(VfioIntx device, Signal eventfd) {
        return device.enable(eventfd);
    }

    /** Whether the resamplefd is among those that the EOI signals. */
    boolean resamples() {
        return true;
    }

    boolean readsMaskedLocked() {
        return true;
    }

    /** Whether what an EOI does is decided when the worker injects, and not when the handler signals. */
    boolean followsChoice() {
        return false;
    }

    boolean isDirectWhenShared() {
        return false;
    }

    boolean waitsForAll() {
        return false;
    }
}
