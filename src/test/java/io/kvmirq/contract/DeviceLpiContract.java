/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.Mechanism;
import io.kvmirq.forward.Userspace;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.Posting;
import io.kvmirq.selftest.AnsweringVm;
import io.kvmirq.testing.HostRows;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Messages of a device on their way to a guest of arm64 that takes each: as vLPIs with a GICv4, by irqfds with a GICv3. The
 * host's counters tell the two apart.
 */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.VfioWorld#arm64")
class DeviceLpiContract {
    private static final int VECTORS = 5;
    /** Interrupts of the guest that no vector has at first. */
    private static final int OTHERS = 16;

    private final VfioWorld vfio;
    private LpiDevice nic;
    private AnsweringVm guest;
    private VfioDevice device;
    private boolean warned;

    @SuppressWarnings("NullAway.Init")
    DeviceLpiContract(VfioWorld vfio) {
        this.vfio = vfio;
    }

    @BeforeEach
    void setUp() {
        nic = new LpiDevice(vfio, "the fake runs no guest of arm64");
        guest = nic.made.add(new AnsweringVm(
                nic.kernel,
                () -> Mirror.create(new PostingFacts(vfio.kernel().libc().hostFiles()).forMirror(true))));
        warned = hasWarned();
        device = nic.open(guest.vm());
    }

    @AfterEach
    void close() {
        if (nic == null) {
            return;
        }
        nic.close();
        if (warned) {
            System.out.println("device lpi: the kernel had warned before: whether it did here is not looked at");
        } else {
            assertThat(hasWarned()).as("a WARN of the kernel").isFalse();
        }
    }

    /** TAINT_WARN of Documentation/admin-guide/tainted-kernels.rst. */
    private static boolean hasWarned() {
        try {
            return (Long.parseLong(Files.readString(Path.of("/proc/sys/kernel/tainted"))
                                    .strip())
                            & 1 << 9)
                    != 0;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static long vectors() {
        return HostRows.counted("vfio-msix[");
    }

    private static long doorbells() {
        return HostRows.counted("GICv4-vpe");
    }

    /** Sends one message, and waits for the guest. */
    private void arrives(int vector, int interrupt) {
        assertThat(guest.taken(interrupt, () -> nic.send(vector)))
                .as("interrupt " + interrupt + " of the guest, by vector " + vector)
                .isPositive();
    }

    /** As {@link #arrives}. The e1000e may repeat an earlier message while the vector is the host's for a moment. */
    private void arrivesAsBefore(int vector, int interrupt) {
        long before = vectors();
        arrives(vector, interrupt);
        if (nic.direct) {
            assertThat(vectors()).as("the host took none").isEqualTo(before);
        }
    }

    private void row(String what, int sent, long vectorsBefore, long doorbellsBefore) {
        System.out.printf(
                "device lpi: %-38s %6d sent, all taken; vfio-msix rows +%d, GICv4-vpe rows +%d%n",
                what, sent, vectors() - vectorsBefore, doorbells() - doorbellsBefore);
    }

    @Test
    void guestTakesEachMessageWhateverIsChangedMeanwhile() {
        Forwarding forwarding = nic.made.add(
                Forwarding.builder(guest.vm(), device).mirror(guest.mirror()).build());
        List<ForwardedIrq> irqs = forwarding.forwardAll(device.msix(0, VECTORS), guest::message);
        for (int i = 0; i < OTHERS; i++) {
            guest.message(VECTORS + i);
        }
        guest.start();
        assertThat(irqs).allSatisfy(irq -> assertThat(irq.predicted() instanceof Posting.Posted)
                .isEqualTo(nic.direct));
        int fired = Math.min(10_000, Integer.getInteger("kvmirq.test.forward.fired", 10_000));
        long vectorsBefore = vectors();
        long doorbellsBefore = doorbells();
        for (int i = 0; i < fired; i++) {
            arrives(i % VECTORS, i % VECTORS);
        }
        row("as forwarded", fired, vectorsBefore, doorbellsBefore);
        if (nic.direct) {
            assertThat(vectors()).as("the host took none").isEqualTo(vectorsBefore);
            assertThat(doorbells()).as("doorbells of a vCPU that blocked").isGreaterThan(doorbellsBefore);
        } else {
            assertThat(vectors()).as("the host took each").isGreaterThanOrEqualTo(vectorsBefore + fired);
        }
        changes(irqs, Math.max(VECTORS, fired / 100));
    }

    private void changes(List<ForwardedIrq> irqs, int rounds) {
        long vectorsBefore = vectors();
        long doorbellsBefore = doorbells();
        for (int i = 0; i < rounds; i++) {
            ForwardedIrq irq = irqs.get(i % VECTORS);
            int vector = i % VECTORS;
            irq.mask();
            nic.send(vector);
            assertThat(guest.taken(vector, irq::unmask)).as("sent while masked").isPositive();
        }
        row("masked, sent, unmasked", rounds, vectorsBefore, doorbellsBefore);
        vectorsBefore = vectors();
        for (int i = 0; i < rounds; i++) {
            int vector = i % VECTORS;
            int other = VECTORS + i % OTHERS;
            irqs.get(vector).reroute(guest.message(other));
            arrivesAsBefore(vector, other);
            irqs.get(vector).reroute(guest.message(vector));
            arrivesAsBefore(vector, vector);
        }
        row("rerouted and back", 2 * rounds, vectorsBefore, doorbellsBefore);
    }

    @Test
    void guestTakesMessagesFromUserspaceAndAgainFromTheDevice() {
        EventLoop loop = nic.made.add(EventLoop.create(nic.kernel));
        Forwarding forwarding = nic.made.add(Forwarding.builder(guest.vm(), device)
                .mirror(guest.mirror())
                .userspace(Userspace.into(guest.vm(), loop))
                .build());
        ForwardedIrq irq =
                forwarding.forwardAll(device.msix(0, 1), guest::message).get(0);
        guest.start();
        for (int i = 0; i < VECTORS; i++) {
            irq.moveTo(Mechanism.USERSPACE);
            assertThat(guest.taken(0, () -> {
                        nic.send(0);
                        while (loop.runOnce() == 0) {
                            // An edge of another kind.
                        }
                    }))
                    .isPositive();
            irq.moveTo(Mechanism.IRQFD);
            arrivesAsBefore(0, 0);
        }
    }
}
