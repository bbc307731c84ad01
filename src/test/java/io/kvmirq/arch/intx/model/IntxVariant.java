/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import static io.kvmirq.arch.intx.model.IntxScenario.*;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.intx.model.PhysicalLine.Taken;
import io.kvmirq.explorer.Variant;
import java.util.List;

/** Ours, what Linux and the patch of 2017 do instead, and ours with a choice outside of the lock. */
public enum IntxVariant implements Variant<IntxScenario> {
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

    boolean enable(VfioIntx device, Signal eventfd) {
        return device.enable(eventfd);
    }

    boolean isDirectWhenShared() {
        return false;
    }
}
