/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.IoapicGuest.lowHalf;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/**
 * Random programs of a guest, its devices and its VMM, whose functions share a pin and send messages too, beside a plain
 * account of levels and messages: no interrupt is lost, none comes twice, none without a cause. A host device on the
 * pin sends through the relay of an event loop. With KVM's IOAPIC there is none, because an unmask may lose the level of
 * a function beside it: see {@code EmulatedFunction.Builder.intx(Gsi)}.
 */
final class PinSearch implements AutoCloseable {
    private static final int STEPS = 40;
    /** More interrupts between two steps than any program has. */
    private static final int STORM = 100;

    private static final int HOST = 2;
    private static final String TAKEN = "0:0x77";
    private static final int MESSAGE = 0x61;

    private final World world;
    private final Undo made = new Undo();
    private final PinGuest pin;
    private final Optional<PinGuest.HostDevice> host;
    /** Levels of both functions and the host device. */
    private final BitSet raised = new BitSet();
    /** The number of times that the line's handler returns without serving, so that it is entered again. */
    private int keeps;
    /** Interrupts since the last {@code take}. */
    private int entered;

    private int programs;
    private int raises;
    private int sent;
    private int lines;
    private int messages;

    PinSearch(World world, boolean inKernel, boolean withDevice) {
        this.world = world;
        pin = new PinGuest(world, inKernel, made);
        host = withDevice ? Optional.of(pin.addHostDevice(world)) : Optional.empty();
        pin.guest.onService(vector -> {
            if (++entered > STORM) {
                throw new AssertionError("a line that stays high after its service");
            }
            pin.relay();
            if (vector == PinGuest.LINE && keeps-- <= 0) {
                pin.lowerAll();
                raised.clear();
            }
        });
    }

    /** Whether interrupts can be counted: the host module kvm_pvm ends those of real mode when it injects them. */
    boolean isPossible() {
        return pin.guest.keepsInService();
    }

    void run(String name, long first, long count) {
        Search.run(name, first, count, random -> {
            pin.bus.reset();
            raised.clear();
            new Program(random).run();
            programs++;
        });
    }

    /** @throws AssertionError if the programs raised, sent or took nothing */
    String counts() {
        String counts = programs + " programs, " + raises + " raises, " + sent + " messages sent, " + lines
                + " line interrupts and " + messages + " messages taken, " + (lines + messages) + " EOIs";
        if (programs > 0) {
            assertThat(List.of(raises, sent, lines, messages)).as(counts).doesNotContain(0);
        }
        return counts;
    }

    @Override
    public void close() {
        made.close();
    }

    /** One function as the guest and the VMM have set it. */
    private static final class Model {
        boolean off;
        boolean msix;
        boolean held;
        boolean entryMasked;
        /** A message that its vector has not let through. */
        boolean pending;

        boolean isHigh(boolean level) {
            return level && !off && !msix && !held;
        }

        boolean isOpen() {
            return msix && !entryMasked && !held;
        }
    }

    private final class Program {
        private final Choices random;
        private final List<Model> models = List.of(new Model(), new Model());
        private boolean masked;
        private boolean hostOff;
        private boolean hostMsix;
        /** The host device sent a message, which its open vector passes on at once. */
        private boolean hostSent;

        Program(Choices random) {
            this.random = random;
        }

        void run() {
            controlHost(false, false);
            if (host.isPresent()) {
                pin.entry(HOST + 1, MESSAGE + HOST, false);
            }
            for (int which = 0; which < HOST; which++) {
                control(which, false, false);
                entry(which, false);
            }
            while (random.step(STEPS)) {
                int which = random.nextInt(host.isPresent() ? HOST + 1 : HOST);
                if (which == HOST) {
                    stepOfHost();
                } else {
                    step(which);
                }
                take();
            }
            controlHost(hostOff, false);
            take();
            controlHost(false, false);
            take();
            for (int which = 0; which < HOST; which++) {
                hold(which, false);
                take();
                control(which, models.get(which).off, true);
                entry(which, false);
                take();
                control(which, models.get(which).off, false);
                take();
                control(which, false, false);
                take();
            }
            mask(false);
            take();
        }

        private void step(int which) {
            Model model = models.get(which);
            switch (random.nextInt(16)) {
                case 0, 1, 2 -> level(which, true);
                case 3 -> level(which, false);
                case 4, 5 -> control(which, random.nextBoolean(), model.msix);
                case 6 -> control(which, model.off, random.nextBoolean());
                case 7 -> hold(which, true);
                case 8 -> hold(which, false);
                case 9 -> mask(random.nextBoolean());
                case 10 -> {
                    random.note("restore " + which);
                    pin.functions.get(which).restore(pin.functions.get(which).state());
                }
                case 11, 12, 13 -> send(which);
                case 14 -> entry(which, random.nextBoolean());
                default -> {
                    if (random.nextInt(4) == 0) {
                        reset(which);
                    }
                }
            }
        }

        private void reset(int which) {
            random.note("reset " + which);
            pin.functions.get(which).reset();
            raised.clear(which);
            Model model = models.get(which);
            model.pending = false;
            control(which, false, false);
            entry(which, true);
        }

        private void stepOfHost() {
            PinGuest.HostDevice device = host.orElseThrow();
            int kind = random.nextInt(16);
            if (kind > 13) {
                controlHost(hostOff, random.nextBoolean());
            } else if (kind > 11) {
                if (hostMsix) { // else it would assert its line
                    random.note("device sends");
                    sent++;
                    hostSent = true;
                    device.hardware().sendMessage(0);
                }
            } else if (kind < 5) {
                random.note("device raises");
                raises++;
                raised.set(HOST);
                device.hardware().requestService();
            } else if (kind < 7) {
                random.note("device lowers");
                raised.clear(HOST);
                device.hardware().serve();
            } else if (kind < 10) {
                controlHost(random.nextBoolean(), hostMsix);
            } else if (kind == 10) {
                mask(random.nextBoolean());
            } else {
                random.note("device is reset");
                raised.clear(HOST);
                device.passed().reset();
                controlHost(false, false);
                pin.entry(HOST + 1, MESSAGE + HOST, false);
            }
        }

        private void controlHost(boolean intxOff, boolean msix) {
            if (host.isPresent()) {
                random.note("control of device" + (intxOff ? " off" : "") + (msix ? " MSI-X" : ""));
                hostOff = intxOff;
                hostMsix = msix;
                pin.config(HOST + 1, PinGuest.COMMAND, 2, command(intxOff) | PinGuest.MASTER);
                pin.enableMsix(HOST + 1, msix);
            }
        }

        private int command(boolean intxOff) {
            return PinGuest.MEMORY | (intxOff ? PinGuest.INTX_OFF : 0);
        }

        private void level(int which, boolean high) {
            random.note((high ? "raise " : "lower ") + which);
            raised.set(which, high);
            if (high) {
                raises++;
                pin.functions.get(which).raiseLine();
            } else {
                pin.functions.get(which).lowerLine();
            }
        }

        /** A second signal before the guest takes the first is one interrupt. */
        private void send(int which) {
            int count = 1 + random.nextInt(2);
            random.note("send " + count + " from " + which);
            models.get(which).pending = true;
            for (int i = 0; i < count; i++) {
                sent++;
                pin.vectors.get(which).signal(0);
            }
        }

        private void entry(int which, boolean masks) {
            random.note((masks ? "mask vector of " : "unmask vector of ") + which);
            models.get(which).entryMasked = masks;
            pin.entry(which + 1, MESSAGE + which, masks);
        }

        private void control(int which, boolean intxOff, boolean msix) {
            random.note("control " + which + (intxOff ? " off" : "") + (msix ? " MSI-X" : ""));
            models.get(which).off = intxOff;
            models.get(which).msix = msix;
            pin.config(which + 1, PinGuest.COMMAND, 2, command(intxOff));
            pin.enableMsix(which + 1, msix);
        }

        private void hold(int which, boolean holds) {
            random.note((holds ? "hold " : "release ") + which);
            models.get(which).held = holds;
            if (holds) {
                pin.functions.get(which).hold();
            } else {
                pin.functions.get(which).release();
            }
        }

        private void mask(boolean masks) {
            random.note(masks ? "mask" : "unmask");
            masked = masks;
            keeps = 0; // the write lets the guest take it
            pin.guest.write(lowHalf(PinGuest.PIN), PinGuest.LINE | PinGuest.LEVEL | (masks ? PinGuest.MASKED : 0));
        }

        private void take() {
            List<String> early = pin.guest.served(); // by the guest's write of the entry
            List<String> expected = new ArrayList<>();
            boolean high = raised.get(HOST) && !hostOff && !hostMsix;
            if (hostSent) {
                hostSent = false;
                expected.add("0:0x" + Integer.toHexString(MESSAGE + HOST));
            }
            for (int which = 0; which < HOST; which++) {
                Model model = models.get(which);
                high |= model.isHigh(raised.get(which));
                if (model.pending && model.isOpen()) {
                    model.pending = false;
                    int vector = MESSAGE + which;
                    expected.add("0:0x" + Integer.toHexString(vector));
                    if (world.kernel().isReal()) { // a worker of KVM injects what waited in an eventfd
                        World.eventually("the message", () -> world.requested(pin.guest.vcpu(0), vector));
                    }
                }
            }
            messages += expected.size();
            if (!masked && high) {
                keeps = random.nextInt(3);
                expected.addAll(Collections.nCopies(keeps + 1, TAKEN));
            }
            do {
                pin.guest.pass(0);
            } while (pin.relay());
            List<String> taken = pin.guest.served();
            entered = 0;
            random.note("take " + taken);
            assertThat(early.size()).as("taken at the write").isLessThanOrEqualTo(1);
            assertThat(taken).containsExactlyInAnyOrderElementsOf(expected);
            lines += early.size() + Collections.frequency(taken, TAKEN);
        }
    }
}
