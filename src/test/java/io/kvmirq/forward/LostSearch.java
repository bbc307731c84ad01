/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.NIC;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.FiringKernel;
import io.kvmirq.testing.Search;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * Random operations on forwarded vectors, while the device sends messages before each kernel call of each operation. A
 * message is lost if its vector is unmasked in the end, and it was requested of no vCPU after the message. Many
 * messages may become one interrupt. The device sends nothing while its vectors are off.
 */
final class LostSearch implements AutoCloseable {
    static final int VECTORS = 8;
    /** One of each group of hosts whose kernels answer alike in all that is searched. */
    static final List<String> PROFILES = List.of("6.12", "amd-avic", "gicv3", "gicv4");

    /** The others, and the one that stands for them. */
    static final Map<String, String> ALIKE = Map.of("6.1", "6.12", "6.18", "6.12", "vtd-posting", "amd-avic");

    private static final int[] RARITIES = {2, 4, 8, 30, 100};
    private static final int STEPS = 400;
    private static final int STEPS_BETWEEN_CHECKS = 4;
    /** The kernel refuses a call of one in so many operations. */
    private static final int REFUSED = 8;

    private static final List<String> REFUSED_CALLS = List.of("KVM_IRQFD", "KVM_IRQFD", "KVM_SET_GSI_ROUTING");

    /** Sets up what is searched. */
    interface Maker {
        Way make(Vm vm, VfioDevice device, int vectors);
    }

    /** The events of a search. */
    static final class Figures {
        long sequences;
        /** Operations that failed because the kernel refused a call of theirs. */
        long refused;

        long steps;
        long fired;
        long arrived;
        long lost;
        /** Requested by a message that was not the vector's any more. */
        long strays;
        /** Taken while masked, and not requested before. */
        long whileMasked;
        /** More than the messages that were sent since all had arrived. */
        long twice;
        /** Fired, and held back when the forwarding of their vector ended. */
        long ended;

        /** By the ledger of the kernel. */
        long lostByLedger;
        /** The messages that the ledger of the kernel calls lost. */
        final List<String> named = new ArrayList<>();

        /** The messages that the ledger calls ended, and those that the program has although all is unmasked. */
        final List<String> keptBack = new ArrayList<>();

        /** Rules of the host's hardware, or of the ledger, that were broken. */
        final List<String> flaws = new ArrayList<>();

        Optional<String> first = Optional.empty();
        Optional<String> firstTwice = Optional.empty();

        @Override
        public String toString() {
            return fired + " fired, " + arrived + " interrupts arrived, " + lost + " lost, " + strays
                    + " by a former message, "
                    + whileMasked + " while masked, "
                    + twice + " twice, " + ended
                    + " held back at the end of forwarding, " + steps + " operations of " + sequences + " seeds, "
                    + refused
                    + " refused"
                    + first.map(text -> "; first: " + text).orElse("")
                    + firstTwice.map(text -> "; first twice: " + text).orElse("");
        }
    }

    private enum Step {
        MASK(true, false, true),
        UNMASK(false, true, true),
        REROUTE(true, true, true),
        MASK_ALL(true, true, true),
        UNMASK_ALL(true, true, true),
        REROUTE_ALL(true, true, true),
        MOVE(true, true, true),
        END(true, true, false),
        FORWARD(true, false, false),
        FORWARD_ALL_AGAIN(true, true, false);

        private final boolean ofUnmasked;
        private final boolean ofMasked;
        /** Whether it is searched with a kernel that refuses it. */
        private final boolean undone;

        Step(boolean ofUnmasked, boolean ofMasked, boolean undone) {
            this.ofUnmasked = ofUnmasked;
            this.ofMasked = ofMasked;
            this.undone = undone;
        }
    }

    private final Figures figures;
    private final List<String> program = new ArrayList<>();
    private final long seed;
    private final Choices random;
    private final Undo made = new Undo();
    private final FakeKernel fake;
    private final FakePciDevice hardware;
    private final SearchGuest guest;
    private final VfioDevice device;
    /** One in how many chances is taken. */
    private final int rarity;

    private final FiringKernel firing;
    private final Faults faults = new Faults();
    private final Way way;
    private final boolean[] forwarded = new boolean[VECTORS];
    private final boolean[] masked = new boolean[VECTORS];
    /** Whether the vector is forwarded, or will be again without its user having ended it. */
    private final boolean[] owed = new boolean[VECTORS];

    /** Whether a message waited when its forwarding ended, and the user has not signalled it since. */
    private final boolean[] keptAtEnd = new boolean[VECTORS];
    /** Whether the message that waited when its forwarding ended may be gone with it. */
    private final boolean[] heldAtEnd = new boolean[VECTORS];

    private final int[] choice = new int[VECTORS];
    private final BitSet[] valid = new BitSet[VECTORS];
    private final int[] outstanding = new int[VECTORS];
    /** Messages since all had arrived, less the interrupts that arrived. */
    private final int[] mayArrive = new int[VECTORS];

    private final String[] firedLast = new String[VECTORS];
    /** The call before which one message is sent; 0: at random. */
    private int only;

    /** Whether the guest takes nothing before it has to. */
    private boolean lazy;

    private String now = "";
    private int call;

    private LostSearch(String profile, Maker maker, long seed, Choices random, Figures figures) {
        this.figures = figures;
        this.seed = seed;
        this.random = random;
        this.rarity = RARITIES[random.nextInt(RARITIES.length)];
        fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(NIC.toString(), 15)
                .msix(VECTORS)
                .express()
                .resettable()
                .add();
        firing = new FiringKernel(fake.backend());
        Kernel kernel = made.add(Kernel.over(faults.over(firing.backend())));
        guest = new SearchGuest(fake, kernel, Profile.parse(profile), random, made);
        device = made.add(VfioDevice.open(kernel, NIC, made.add(KvmVfio.create(guest.vm()))));
        device.config().enableBusMaster();
        way = made.add(maker.make(guest.vm(), device, VECTORS));
        for (int i = 0; i < VECTORS; i++) {
            valid[i] = new BitSet();
        }
        firing.before(this::fire);
    }

    /** Searches sequences from a seed on until so many messages were fired, or one was lost or came wrongly. */
    static Figures run(String profile, Maker maker, long firstSeed, long messages) {
        Figures figures = new Figures();
        for (long seed = firstSeed; figures.fired < messages && figures.first.isEmpty(); seed++) {
            long number = seed;
            try {
                Search.run(profile + " vectors", seed, 1, random -> {
                    Figures before = figures.first.isPresent() ? new Figures() : figures;
                    try (LostSearch search = new LostSearch(profile, maker, number, random, before)) {
                        search.search();
                    }
                    before.first.ifPresent(LostSearch::fail);
                });
            } catch (AssertionError e) {
                if (figures.first.isEmpty()) {
                    throw e;
                }
                figures.first = Optional.of(String.valueOf(e.getMessage()));
            }
        }
        return figures;
    }

    /**
     * Sends one message before each call of each operation, and after its last; each time with a new kernel, on an
     * interrupt that is masked and on one that is not, with a guest that takes it at once and with one that is late.
     */
    static Figures windows(String profile, Maker maker) {
        Figures figures = new Figures();
        for (boolean lazy : new boolean[] {false, true}) {
            for (Step step : Step.values()) {
                for (boolean masked : new boolean[] {false, true}) {
                    int windows = (masked ? step.ofMasked : step.ofUnmasked) ? 1 : 0;
                    for (int window = 1; window <= windows; window++) {
                        try (LostSearch search = new LostSearch(profile, maker, 0, Choices.of(0), figures)) {
                            search.lazy = lazy;
                            windows = search.window(step, masked, window);
                        }
                    }
                }
            }
        }
        return figures;
    }

    /** @return the windows of the operation */
    private int window(Step step, boolean isMasked, int window) {
        only = Integer.MAX_VALUE;
        forwardAll();
        if (step == Step.FORWARD) {
            take(Step.END, 0);
        } else if (isMasked) {
            take(Step.MASK, 0);
        }
        now = step + (isMasked ? " of a masked interrupt" : "");
        call = 0;
        only = window;
        take(step, 0);
        firing.run();
        int windows = call;
        only = Integer.MAX_VALUE;
        if (!forwarded[0]) {
            take(Step.FORWARD, 0);
        }
        figures.steps++;
        figures.flaws.addAll(fake.messages().brokenRules());
        check();
        return windows;
    }

    private static void fail(String loss) {
        throw new AssertionError(loss);
    }

    private void search() {
        forwardAll();
        for (int i = 0; random.step(STEPS); i++) {
            int irq = random.nextInt(VECTORS);
            Step step = draw(irq);
            now = step + " " + irq;
            program.add(now);
            call = 0;
            lazy = random.nextBoolean();
            if (way.undoes() && step.undone && random.nextInt(REFUSED) == 0) {
                takeRefused(step, irq);
            } else {
                take(step, irq);
            }
            firing.run();
            way.runLoop();
            figures.steps++;
            figures.flaws.addAll(fake.messages().brokenRules());
            if (i % STEPS_BETWEEN_CHECKS == STEPS_BETWEEN_CHECKS - 1) {
                check();
            }
        }
        figures.sequences++;
    }

    private Step draw(int irq) {
        if (!forwarded[irq]) {
            return Step.FORWARD;
        }
        int drawn = random.nextInt(20);
        if (drawn == 0) {
            return Step.FORWARD_ALL_AGAIN;
        }
        if (drawn <= 2) {
            return Step.END;
        }
        if (drawn <= 6) {
            return Step.REROUTE;
        }
        if (drawn == 7) {
            return Step.REROUTE_ALL;
        }
        if (drawn <= 10) {
            return Step.MOVE;
        }
        if (drawn == 11) {
            return masked[irq] ? Step.UNMASK_ALL : Step.MASK_ALL;
        }
        if (masked[irq]) {
            return Step.UNMASK;
        }
        return Step.MASK;
    }

    private void take(Step step, int irq) {
        switch (step) {
            case MASK -> {
                way.mask(irq);
                firing.quietly(this::look);
                masked[irq] = true;
            }
            case UNMASK -> unmask(irq);
            case REROUTE -> {
                MsiMessage message = next(irq);
                way.reroute(irq, message);
                firing.quietly(this::look);
                onlyLast(irq);
            }
            case REROUTE_ALL -> {
                List<Integer> all = all();
                way.reroute(all, all.stream().map(this::next).toList());
                firing.quietly(this::look);
                all.forEach(this::onlyLast);
            }
            case MASK_ALL -> {
                List<Integer> all = all();
                way.mask(all);
                firing.quietly(this::look);
                all.forEach(index -> masked[index] = true);
            }
            case UNMASK_ALL -> {
                List<Integer> all = all();
                all.forEach(index -> masked[index] = false);
                way.unmask(all);
            }
            case MOVE -> way.move(irq);
            case END -> {
                lookUnlessLazy();
                ends(irq);
                way.end(irq);
                ended(irq);
            }
            case FORWARD -> {
                MsiMessage message = next(irq);
                onlyLast(irq);
                way.forward(irq, 1, i -> message);
                forwarded(irq);
            }
            case FORWARD_ALL_AGAIN -> {
                lookUnlessLazy();
                IntStream.range(0, VECTORS).filter(i -> forwarded[i]).forEach(this::ends);
                way.endAll();
                IntStream.range(0, VECTORS).filter(i -> forwarded[i]).forEach(this::ended);
                forwardAll();
            }
        }
    }

    /** The kernel refuses a call of the operation, if it makes so many, and the library undoes the operation. */
    private void takeRefused(Step step, int irq) {
        boolean[] maskedBefore = masked.clone();
        int[] choiceBefore = choice.clone();
        String refused = REFUSED_CALLS.get(random.nextInt(REFUSED_CALLS.size()));
        now += " with refusals of " + refused;
        faults.fail(refused, 1 + random.nextInt(VECTORS), Errno.ENOMEM);
        try {
            take(step, irq);
        } catch (KernelException e) {
            figures.refused++;
            firing.quietly(this::look);
            System.arraycopy(maskedBefore, 0, masked, 0, VECTORS);
            System.arraycopy(choiceBefore, 0, choice, 0, VECTORS);
            // An interrupt that cannot be let through again stays masked.
            for (int index : step == Step.MASK || step == Step.MASK_ALL ? List.<Integer>of() : all()) {
                masked[index] |= way.isMasked(index);
            }
        } finally {
            faults.clear();
        }
    }

    private List<Integer> all() {
        return IntStream.range(0, VECTORS).filter(i -> forwarded[i]).boxed().toList();
    }

    private void unmask(int irq) {
        masked[irq] = false;
        way.unmask(irq);
    }

    private void forwardAll() {
        List<MsiMessage> messages = new ArrayList<>();
        for (int i = 0; i < VECTORS; i++) {
            messages.add(next(i));
            onlyLast(i);
        }
        way.forward(0, VECTORS, messages::get);
        IntStream.range(0, VECTORS).forEach(this::forwarded);
    }

    private void forwarded(int irq) {
        forwarded[irq] = true;
        masked[irq] = false;
        owed[irq] = true;
        if (keptAtEnd[irq] && way.signalsAnew(irq)) {
            keptAtEnd[irq] = false;
            heldAtEnd[irq] = false;
        }
    }

    private void ends(int irq) {
        owed[irq] = false;
    }

    private void ended(int irq) {
        firing.quietly(this::look);
        forwarded[irq] = false;
        masked[irq] = false;
        keptAtEnd[irq] |= way.heldBackAtEnd(irq);
        heldAtEnd[irq] |= keptAtEnd[irq];
        valid[irq].clear();
    }

    /** Another message of an interrupt. It is valid from now on, and the one before is, too. */
    private MsiMessage next(int irq) {
        choice[irq] = (choice[irq] + 1 + random.nextInt(guest.choices() - 1)) % guest.choices();
        valid[irq].set(choice[irq]);
        return guest.message(irq, choice[irq]);
    }

    private void onlyLast(int irq) {
        valid[irq].clear();
        valid[irq].set(choice[irq]);
    }

    /** The guest takes what arrived, and the device sends. */
    private void fire() {
        boolean takes = takesAtOnce();
        if (takes) {
            look();
        }
        call++;
        for (int i = 0; i < VECTORS; i++) {
            boolean sends = only == 0 ? random.nextInt(rarity) == 0 : only == call && i == 0;
            if (sends && (hardware.sendMessage(i) || owed[i] || isOn())) {
                figures.fired++;
                outstanding[i]++;
                mayArrive[i]++;
                if (takes && guest.hasVlpis()) {
                    look();
                }
                firedLast[i] = "before call " + call + " of " + now + ", seed " + seed + ", vector " + i;
            }
        }
    }

    private boolean takesAtOnce() {
        return !lazy || guest.hasVlpis() && !way.keepsPendingVlpis();
    }

    private void lookUnlessLazy() {
        if (takesAtOnce()) {
            firing.quietly(this::look);
        }
    }

    /** Whether the device keeps the message of a vector that has no eventfd. */
    private boolean isOn() {
        return device.msix().get(0).enabledKind().isPresent();
    }

    private String place(int irq) {
        return "before call " + call + " of " + now + ", seed " + seed + ", vector " + irq;
    }

    private void look() {
        guest.take((irq, taken) -> {
            figures.arrived++;
            if (!valid[irq].get(taken)) {
                figures.strays++;
                figures.first =
                        figures.first.or(() -> Optional.of(place(irq) + " by a former message, after " + program));
            }
            if (masked[irq]) {
                figures.whileMasked++;
                figures.first = figures.first.or(() -> Optional.of(place(irq) + " while masked, after " + program));
            }
            if (mayArrive[irq] == 0) {
                figures.twice++;
                figures.firstTwice = figures.firstTwice.or(() -> Optional.of(place(irq)));
            } else {
                mayArrive[irq]--;
            }
            outstanding[irq] = 0;
            heldAtEnd[irq] = false;
        });
        for (int i = 0; i < VECTORS; i++) {
            if (way.formerUserTook(i)) {
                figures.arrived++;
                outstanding[i] = 0;
            }
        }
    }

    /** Unmasks all: then everything has arrived. */
    private void check() {
        for (int i = 0; i < VECTORS; i++) {
            if (forwarded[i] && masked[i]) {
                now = "UNMASK " + i;
                call = 0;
                unmask(i);
            }
        }
        firing.quietly(() -> {
            way.runLoop();
            look();
        });
        for (int i = 0; i < VECTORS; i++) {
            if (forwarded[i]) {
                mayArrive[i] = 0;
            }
            if (forwarded[i] && heldAtEnd[i]) {
                figures.ended += outstanding[i];
                outstanding[i] = 0;
                heldAtEnd[i] = false;
            } else if (forwarded[i] && outstanding[i] > 0) {
                figures.lost += outstanding[i];
                outstanding[i] = 0;
                String loss = firedLast[i] + " after " + program;
                figures.first = figures.first.or(() -> Optional.of(loss));
            }
        }
        fake.messages().waiting().stream()
                .filter(message -> message.contains(", in the program"))
                .forEach(figures.keptBack::add);
    }

    @Override
    public void close() {
        firing.before(() -> {});
        figures.flaws.addAll(guest.flaws());
        figures.keptBack.addAll(fake.messages().ended());
        fake.lost().stream().filter(lost -> lost.contains("; source ")).forEach(figures.named::add);
        made.close();
        figures.lostByLedger += fake.messages().counts().lost();
        figures.flaws.addAll(fake.messages().brokenRules());
    }
}
