/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import static io.kvmirq.testing.MessageGuest.FIRST_VECTOR;
import static io.kvmirq.testing.MessageGuest.VCPUS;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.IntConsumer;
import java.util.random.RandomGenerator;

/** A guest that takes what is requested of its vCPUs. Each interrupt of the device has messages of its own. */
final class SearchGuest {
    private static final int NONE = 1023;

    private final MessageGuest guest;
    private final RandomGenerator random;
    /** Whether the host has a GICv4, where it matters where a vCPU is. */
    private final boolean hasVlpis;

    private final int choices;
    /** Empty without hardware that posts. */
    private final List<FakeVcpu> moved;

    private final List<FakeArmVcpu> vcpus = new ArrayList<>();
    private final List<String> flaws = new ArrayList<>();

    /** The requested messages. */
    interface Taken {
        void taken(int irq, int choice);
    }

    /** With two vCPUs, on a kernel of either architecture. */
    SearchGuest(FakeKernel fake, Kernel kernel, Profile profile, RandomGenerator random, Undo made) {
        this.random = random;
        choices = profile.isArm64() ? 16 : 52;
        hasVlpis = profile.label().contains("gicv4");
        guest = MessageGuest.of(kernel, fake.backend().libc(), LostSearch.VECTORS * choices, made);
        moved = fake.vcpus();
        for (int i = 0; profile.isArm64() && i < VCPUS; i++) {
            vcpus.add(fake.armVcpu(Numbers.of(guest.vm.fd()), new VcpuId(i)));
        }
    }

    Vm vm() {
        return guest.vm;
    }

    /** How many messages an interrupt can have; they name the vCPUs in turn. */
    int choices() {
        return choices;
    }

    MsiMessage message(int irq, int choice) {
        return guest.message(irq * choices + choice);
    }

    /** The broken rules: none, whatever happened. */
    List<String> flaws() {
        return flaws;
    }

    /** Whether its vLPIs are pending where KVM cannot read it. */
    boolean hasVlpis() {
        return hasVlpis;
    }

    /** Takes all that is requested now. Then its vCPUs are somewhere else. */
    void take(Taken taken) {
        IntConsumer message = number -> taken.taken(number / choices, number % choices);
        vcpus.forEach(vcpu -> run(vcpu, message));
        if (vcpus.isEmpty()) {
            moved.forEach(vcpu -> run(vcpu, message));
            guest.take(message);
        }
    }

    /** The guest takes all interrupts, and then it goes on, sleeps, is preempted, or is on another processor. */
    private void run(FakeVcpu vcpu, IntConsumer taken) {
        boolean asleep = vcpu.state() == FakeVcpu.State.BLOCKED;
        vcpu.enterGuest();
        for (Optional<InterruptVector> next = vcpu.takeInterrupt(); next.isPresent(); next = vcpu.takeInterrupt()) {
            taken.accept(
                    (next.get().number() - FIRST_VECTOR) * VCPUS + vcpu.id().number());
            if (asleep) {
                flaws.add(vcpu + " slept with " + next.get() + " requested");
            }
        }
        switch (random.nextInt(5)) {
            case 0 -> vcpu.preempt();
            case 1 -> vcpu.block();
            case 2 -> vcpu.load(random.nextInt(4));
            default -> {}
        }
        flaws.addAll(vcpu.brokenRules());
    }

    private void run(FakeArmVcpu vcpu, IntConsumer taken) {
        boolean asleep = hasVlpis && vcpu.isAsleep();
        for (int lpi = vcpu.acknowledge(); lpi != NONE; lpi = vcpu.acknowledge()) {
            taken.accept(lpi - GuestIts.lpi(0));
            if (asleep && vcpu.hostIrq(lpi).isPresent()) {
                flaws.add("a vCPU slept with vLPI " + lpi + " pending");
            }
        }
        if (hasVlpis) {
            move(vcpu);
        }
    }

    private void move(FakeArmVcpu vcpu) {
        if (vcpu.isAsleep()) {
            return;
        }
        if (!vcpu.isResident()) {
            vcpu.load();
        }
        switch (random.nextInt(3)) {
            case 0 -> vcpu.preempt();
            case 1 -> vcpu.block();
            default -> {}
        }
    }
}
