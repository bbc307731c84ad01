/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.IoapicGuest.highHalf;
import static io.kvmirq.contract.IoapicGuest.lowHalf;
import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.Search;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What a guest sees of its IOAPIC: the cases of kvm-unit-tests, x86/ioapic.c. KVM's own answers first, then ours beside a
 * split irqchip.
 */
@Contract
class IoapicContract {
    private static final int PIN = 0xe;
    private static final int LOW_PIN = 0xd;
    private static final int LEVEL = 1 << 15;
    private static final int REMOTE_IRR = 1 << 14;
    private static final int LOGICAL = 1 << 11;
    private static final int MASKED = 1 << 16;
    private static final int LINE = 0x77;
    private static final String TAKEN = "0:0x77";
    private static final int TMR = 0x180;
    private static final int PROGRAMS = Integer.getInteger("kvmirq.test.ioapic.programs", 20);
    private static final int STEPS = 60;
    private static final List<String> WORDS =
            List.of("redirect", "low half", "high half", "raise", "raise", "lower", "pass", "pass");
    private static final int FIRST_VECTOR = 0x40;
    /** Not the clock's, whose ticks KVM counts. */
    private static final int FIRST_PIN = 9;

    private static final int PINS = 4;

    private final World world;
    private final Undo made = new Undo();
    private int count;

    IoapicContract(World world) {
        this.world = world;
    }

    @AfterEach
    void close() {
        made.close();
        world.closeAll();
    }

    private IoapicGuest guest(boolean inKernel) {
        world.kernel();
        world.assumeX86();
        if (inKernel) {
            world.assumeFullIrqchip();
        }
        return new IoapicGuest(world, made.add(Kernel.over(world.kernel())), made, inKernel);
    }

    /** For levels: what follows depends on when they end. */
    private IoapicGuest levels(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        assumeTrue(guest.keepsInService(), "this KVM ends an interrupt of real mode when it injects it");
        return guest;
    }

    private static void toggle(IoapicGuest guest, int pin) {
        guest.line(pin, true);
        guest.line(pin, false);
    }

    private static boolean awaitsEoi(IoapicGuest guest, int pin) {
        return (guest.read(lowHalf(pin)) & REMOTE_IRR) != 0;
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void versionIsReadOnlyAndOfTheIdFourBitsAreNot(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        int version = guest.read(1);
        assertThat(version).isEqualTo(23 << 16 | (inKernel ? 0x11 : 0x20));
        guest.write(1, ~version);
        assertThat(guest.read(1)).isEqualTo(version);
        guest.write(0, -1);
        assertThat(guest.read(0)).isEqualTo(0x0f00_0000);
        assertThat(guest.read(2)).as("arbitration follows the id").isEqualTo(0x0f00_0000);
        guest.write(2, 0);
        assertThat(guest.read(2)).isEqualTo(0x0f00_0000);
        assertThat(guest.read(0x40)).as("no such pin").isEqualTo(-1);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void pinsAreMaskedAtFirst(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        for (int pin = 0; pin < 24; pin += 23) {
            assertThat(guest.read(lowHalf(pin))).isEqualTo(MASKED);
            assertThat(guest.read(highHalf(pin))).isZero();
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void edgeInterruptsOnce(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, LINE, 0);
        toggle(guest, PIN);
        guest.pass(0);
        guest.pass(0);
        assertThat(guest.served()).containsExactly(TAKEN);
        guest.line(PIN, true);
        guest.line(PIN, true);
        guest.pass(0);
        assertThat(guest.served()).as("a line that stays high").containsExactly(TAKEN);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void edgesAtOnceAreTakenByPriority(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, 0x78, 0);
        guest.redirect(PIN + 1, 0x66, 0);
        toggle(guest, PIN + 1);
        toggle(guest, PIN);
        guest.pass(0);
        assertThat(guest.served()).containsExactly("0:0x78", "0:0x66");
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void levelThatTheHandlerLowersInterruptsOnceEachTime(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0);
        guest.onService(vector -> guest.line(PIN, false));
        for (int i = 0; i < 2; i++) {
            guest.line(PIN, true);
            guest.pass(0);
            assertThat(guest.served()).containsExactly(TAKEN);
            assertThat(awaitsEoi(guest, PIN)).isFalse();
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void levelsDuringServiceAreOne(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0);
        guest.onService(vector -> {
            guest.line(PIN, false);
            guest.line(PIN, true);
            guest.line(PIN, false);
        });
        guest.line(PIN, true);
        guest.pass(0);
        guest.pass(0);
        assertThat(guest.served()).containsExactly(TAKEN);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void levelThatStaysHighInterruptsAgainAfterItsEoi(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0);
        guest.onService(vector -> {
            if (++count == 2) {
                guest.line(PIN, false);
            }
        });
        guest.line(PIN, true);
        guest.pass(0);
        assertThat(guest.served()).containsExactly(TAKEN, TAKEN);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void remoteIrrIsSetFromTheInterruptToItsEoi(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0x0100_0000); // to the vCPU that does not run
        guest.line(PIN, true);
        assertThat(awaitsEoi(guest, PIN)).isTrue();
        guest.line(PIN, false);
        assertThat(awaitsEoi(guest, PIN)).isTrue();
        guest.pass(1);
        assertThat(guest.served()).containsExactly("1:0x77");
        assertThat(awaitsEoi(guest, PIN)).isFalse();
    }

    /** So Linux ends an interrupt of an IOAPIC that has no EOI register. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void remoteIrrGoesWhenTheEntryBecomesAnEdge(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0x0100_0000);
        guest.line(PIN, true);
        guest.line(PIN, false);
        guest.write(lowHalf(PIN), LINE | LEVEL | MASKED);
        assertThat(awaitsEoi(guest, PIN)).isTrue();
        guest.write(lowHalf(PIN), LINE | MASKED);
        assertThat(awaitsEoi(guest, PIN)).isFalse();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void edgeUnderAMaskIsLost(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, LINE | MASKED, 0);
        toggle(guest, PIN);
        guest.write(lowHalf(PIN), LINE);
        assertThat(guest.served()).isEmpty();
        toggle(guest, PIN);
        guest.pass(0);
        assertThat(guest.served()).containsExactly(TAKEN);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void levelUnderAMaskInterruptsWhenTheMaskEnds(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(PIN, LINE | LEVEL | MASKED, 0);
        guest.onService(vector -> guest.line(PIN, false));
        guest.line(PIN, true);
        guest.pass(0);
        assertThat(guest.served()).isEmpty();
        guest.write(lowHalf(PIN), LINE | LEVEL);
        assertThat(guest.served()).containsExactly(TAKEN);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void levelThatItsHandlerMasksInterruptsAgainWhenTheMaskEnds(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0);
        guest.onService(vector -> guest.writeInService(lowHalf(PIN), LINE | LEVEL | MASKED));
        guest.line(PIN, true);
        guest.pass(0);
        guest.pass(0);
        assertThat(guest.served()).containsExactly(TAKEN);
        guest.write(lowHalf(PIN), LINE | LEVEL);
        assertThat(guest.served()).containsExactly(TAKEN);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void triggerModeIsThatOfTheLastInterrupt(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.onService(vector -> guest.line(PIN, false));
        for (int trigger : new int[] {0, LEVEL, LEVEL, 0}) {
            guest.redirect(PIN, LINE | trigger, 0);
            guest.line(PIN, true);
            guest.pass(0);
            assertThat(guest.served()).containsExactly(TAKEN);
            int levels = world.lapic(guest.vcpu(0)).getInt(TMR + LINE / 32 * 16) >>> LINE % 32 & 1;
            assertThat(levels).isEqualTo(trigger >> 15);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void physicalDestinationIsOneVcpu(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(PIN, LINE | LEVEL, 0x0100_0000);
        guest.onService(vector -> guest.line(PIN, false));
        guest.line(PIN, true);
        guest.pass(0);
        guest.pass(1);
        assertThat(guest.served()).containsExactly("1:0x77");
        assertThat(awaitsEoi(guest, PIN)).isFalse();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void logicalDestinationIsEachVcpuOfIt(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, LINE | LEVEL | LOGICAL, 0x0300_0000);
        guest.line(PIN, true);
        guest.line(PIN, false);
        guest.pass(1);
        guest.pass(0);
        assertThat(guest.served()).containsExactly("1:0x77", TAKEN);
        assertThat(awaitsEoi(guest, PIN)).isFalse();
    }

    /** The EOI of an interrupt that is in service, or requested, on the vCPU that the entry no longer names. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void interruptEndsAlsoIfItsPinWasSentElsewhereMeanwhile(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(LOW_PIN, 0x64 | LEVEL, 0);
        guest.redirect(PIN, 0x84 | LEVEL, 0);
        guest.onService(vector -> {
            guest.line(vector == 0x64 ? LOW_PIN : PIN, false);
            guest.writeInService(highHalf(vector == 0x64 ? LOW_PIN : PIN), 0x0100_0000);
            if (vector == 0x64) {
                guest.line(PIN, true);
            }
        });
        guest.line(LOW_PIN, true);
        guest.pass(0);
        guest.pass(1);
        assertThat(guest.served()).containsExactly("0:0x64", "0:0x84");
        assertThat(awaitsEoi(guest, LOW_PIN)).isFalse();
        assertThat(awaitsEoi(guest, PIN)).isFalse();
    }

    /**
     * Linux 6.4: a device that deasserted while the guest had its pin masked does not interrupt at the unmask. Before, the
     * guest gets the interrupt, and the resamplefd fires at its EOI.
     */
    @Test
    void pendingLevelOfAnIrqfdIsResampledAtTheUnmask() {
        IoapicGuest guest = guest(true);
        int event = world.eventfd();
        int resample = world.eventfd();
        assertOk(world.kernel().irqfdAssignLevel(guest.vm(), event, resample, PIN));
        guest.redirect(PIN, LINE | LEVEL | MASKED, 0);
        signal(guest, event);
        guest.write(lowHalf(PIN), LINE | LEVEL);
        boolean resamples = world.isSince(6, 4);
        assertThat(guest.served()).as("interrupts of the unmask").hasSize(resamples ? 0 : 1);
        assertThat(world.drain(resample)).isEqualTo(1);
        assertThat(world.ioapicLine(guest.vm(), PIN)).isFalse();
        signal(guest, event);
        guest.pass(0);
        assertThat(guest.served()).as("a device that asserts again").containsExactly(TAKEN);
        assertThat(world.drain(resample)).isEqualTo(1);
    }

    private void signal(IoapicGuest guest, int event) {
        assertOk(world.kernel().eventfdSignal(event, 1));
        World.eventually(
                "the pin is high", () -> world.ioapicLine(guest.vm(), PIN) || world.requested(guest.vcpu(0), LINE));
    }

    /** Two pins of one vector: its EOI ends both. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void pinsOfOneVectorEndTogether(boolean inKernel) {
        IoapicGuest guest = levels(inKernel);
        guest.redirect(LOW_PIN, LINE | LEVEL, 0);
        guest.redirect(PIN, LINE | LEVEL, 0);
        guest.onService(vector -> List.of(LOW_PIN, PIN).forEach(pin -> guest.line(pin, false)));
        guest.line(LOW_PIN, true);
        guest.line(PIN, true);
        guest.pass(0);
        assertThat(guest.served()).containsExactly(TAKEN);
        assertThat(awaitsEoi(guest, LOW_PIN)).isFalse();
        assertThat(awaitsEoi(guest, PIN)).isFalse();
    }

    /**
     * The same lines and registers at KVM's own IOAPIC and at ours, seen by the same guest. Its handler lowers the line, at
     * half of the steps only the second time: then the pin interrupts again after its EOI.
     */
    @Test
    void randomProgramsDoAsAtTheIoapicOfKvm() {
        world.kernel();
        world.assumeX86();
        int[] interrupts = {0};
        Search.run(world + " IOAPIC", 0, PROGRAMS, random -> {
            try (Undo both = new Undo()) {
                Kernel kernel = both.add(Kernel.over(world.kernel()));
                IoapicGuest kvms = new IoapicGuest(world, kernel, both, true);
                IoapicGuest ours = new IoapicGuest(world, kernel, both, false);
                boolean[] staysHigh = {false};
                for (IoapicGuest guest : List.of(kvms, ours)) {
                    Set<Integer> high = new HashSet<>();
                    guest.onService(vector -> {
                        int pin = vector - FIRST_VECTOR >> 2;
                        if (!staysHigh[0] || !high.add(pin)) {
                            guest.line(pin, false);
                            high.remove(pin);
                        }
                    });
                }
                while (random.step(STEPS)) {
                    staysHigh[0] = random.nextBoolean();
                    int pin = FIRST_PIN + random.nextInt(PINS);
                    Consumer<IoapicGuest> step = step(random, pin, kvms.keepsInService());
                    String shown = shown(kvms, pin, step);
                    assertThat(shown(ours, pin, step)).isEqualTo(shown);
                    interrupts[0] += shown.contains(":0x") ? 1 : 0;
                }
            }
        });
        System.out.println(
                world + ": " + PROGRAMS + " programs of an IOAPIC, " + interrupts[0] + " steps with interrupts");
        assertThat(interrupts[0]).isPositive();
    }

    private static String shown(IoapicGuest guest, int pin, Consumer<IoapicGuest> step) {
        step.accept(guest);
        return "%x %x %s".formatted(guest.read(highHalf(pin)), guest.read(lowHalf(pin)), guest.served());
    }

    /** @param levels false where these end before they are served */
    private static Consumer<IoapicGuest> step(Choices random, int pin, boolean levels) {
        int low = FIRST_VECTOR + pin * 4
                | random.nextInt(4)
                | (random.nextBoolean() && levels ? LEVEL : 0)
                | (random.nextInt(4) == 0 ? LOGICAL : 0)
                | (random.nextInt(3) == 0 ? MASKED : 0);
        int high = random.nextInt(4) << 24;
        int what = random.nextInt(WORDS.size());
        int vcpu = random.nextInt(2);
        random.note("%s %d %x %x %d".formatted(WORDS.get(what), pin, low, high, vcpu));
        return guest -> {
            switch (what) {
                case 0 -> guest.redirect(pin, low, high);
                case 1 -> guest.write(lowHalf(pin), low);
                case 2 -> guest.write(highHalf(pin), high);
                case 3, 4 -> guest.line(pin, true);
                case 5 -> guest.line(pin, false);
                default -> guest.pass(vcpu);
            }
        };
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void messageOfNmiIsDelivered(boolean inKernel) {
        IoapicGuest guest = guest(inKernel);
        guest.redirect(PIN, 4 << 8, 0x0100_0000);
        toggle(guest, PIN);
        assertThat(events(guest.vcpu(1))).isEqualTo(1);
    }

    private int events(int vcpu) {
        ByteBuffer events = Buffers.allocate(Uapi.KvmVcpuEvents.SIZE);
        assertOk(world.kernel().libc().ioctl(vcpu, Uapi.KVM_GET_VCPU_EVENTS, events));
        return events.get(Uapi.KvmVcpuEvents.NMI_PENDING);
    }
}
