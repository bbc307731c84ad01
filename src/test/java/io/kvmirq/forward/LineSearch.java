/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.forward.ForwardWorld.NIC;

import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.Choices;
import io.kvmirq.testing.FiringKernel;
import io.kvmirq.testing.Search;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;

/**
 * Random operations on a forwarded INTx, while the device requests service and the guest serves it before each kernel
 * call. The line is stuck if the device requests service, the line is not masked and the guest gets no interrupt.
 */
final class LineSearch implements AutoCloseable {
    private static final int STEPS = 100;
    private static final int MOST_INTERRUPTS = 8;

    /** The events of a search. */
    static final class Figures {
        long requests;
        long interrupts;
    }

    private final Figures figures;
    private final Choices random;
    private final Undo made = new Undo();
    private final FakePciDevice hardware;
    private final FiringKernel firing;
    private final LineGuest guest;
    private final EventLoop loop;
    private final Forwarding forwarding;
    private final VfioDevice device;
    private ForwardedIrq line;
    private boolean requests;
    private int toEnd;

    private LineSearch(String profile, Choices random, Figures figures) {
        this.figures = figures;
        this.random = random;
        FakeKernel fake = new FakeKernel(Profile.parse(profile));
        hardware = fake.pciDevice(NIC.toString(), 15).intx().add();
        firing = new FiringKernel(fake.backend());
        Kernel kernel = made.add(Kernel.over(firing.backend()));
        guest = LineGuest.of(fake, kernel, made);
        device = made.add(VfioDevice.open(kernel, NIC, made.add(KvmVfio.create(guest.vm()))));
        loop = made.add(EventLoop.create(kernel));
        forwarding = made.add(Forwarding.builder(guest.vm(), device)
                .userspace(Userspace.into(guest.vm(), loop))
                .build());
        line = forwarding.forward(device.intx(), LineGuest.PIN);
        firing.before(this::act);
    }

    static Figures run(String profile, int seeds) {
        Figures figures = new Figures();
        Search.run(profile + " line", 0, seeds, random -> {
            try (LineSearch search = new LineSearch(profile, random, figures)) {
                while (random.step(STEPS)) {
                    random.note(search.step());
                    search.settle();
                }
            }
        });
        return figures;
    }

    private String step() {
        switch (random.nextInt(5)) {
            case 0 -> {
                line.mask();
                return "mask";
            }
            case 1 -> {
                line.unmask();
                return "unmask";
            }
            case 2 -> {
                line.close();
                line = forwarding.forward(device.intx(), LineGuest.PIN);
                return "forward again";
            }
            case 3 -> {
                line.moveTo(line.mechanism() == Mechanism.USERSPACE ? Mechanism.RESAMPLE : Mechanism.USERSPACE);
                return "move, now " + line.mechanism();
            }
            default -> {
                runLoop();
                return "loop";
            }
        }
    }

    /** The actions of device and guest meanwhile. */
    private void act() {
        if (!requests && random.nextInt(3) == 0) {
            hardware.requestService();
            requests = true;
            figures.requests++;
        }
        if (random.nextBoolean()) {
            interrupt(random.nextBoolean());
        }
    }

    private void interrupt(boolean serves) {
        boolean taken = guest.take(() -> {
            if (serves) {
                hardware.serve();
                requests = false;
            }
        });
        if (taken) {
            figures.interrupts++;
            toEnd++;
        }
    }

    /** The VMM's thread: it injects, and tells of the guest's ends. */
    private void runLoop() {
        loop.pollNanos(0);
        for (; toEnd > 0; toEnd--) {
            line.endOfInterrupt();
        }
    }

    private void settle() {
        if (random.nextInt(3) == 0) {
            return;
        }
        line.unmask();
        firing.quietly(() -> {
            for (int i = 0; i < MOST_INTERRUPTS && requests; i++) {
                runLoop();
                interrupt(i > 1);
                runLoop();
            }
            if (requests) {
                throw new IllegalStateException("stuck");
            }
        });
    }

    @Override
    public void close() {
        firing.before(() -> {});
        made.close();
    }
}
