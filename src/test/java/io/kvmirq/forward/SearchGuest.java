/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.FakeArmVcpu;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakeVcpu;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;

/** A guest that takes what is requested of its vCPUs. Each interrupt of the device has messages of its own. */
interface SearchGuest extends AutoCloseable {
    int VCPUS = 2;

    Vm vm();

    /** How many messages an interrupt can have; they name the vCPUs in turn. */
    int choices();

    MsiMessage message(int irq, int choice);

    /** The requested vectors. */
    interface Taken {
        void taken(int irq, int choice);
    }

    /** Takes all that is requested now. Then its vCPUs are somewhere else. */
    void take(Taken taken);

    /** Whether its vLPIs are pending where KVM cannot read it. */
    default boolean hasVlpis() {
        return false;
    }

    /** The broken rules: none, whatever happened. */
    default List<String> flaws() {
        return List.of();
    }

    /** With two vCPUs, on a kernel of either architecture. */
    static SearchGuest of(FakeKernel fake, Kernel kernel, Profile profile, RandomGenerator random) {
        return profile.isArm64()
                ? new Arm(fake, kernel, profile.label().contains("gicv4"), random)
                : new X86(fake, kernel, random);
    }

    @Override
    void close();

    /** With LAPICs, whose vectors are divided among the interrupts. */
    final class X86 implements SearchGuest {
        private static final int FIRST_VECTOR = 0x20;
        private static final int VECTORS_EACH = 26;
        private static final int WORDS = 8;
        private static final int WORD_DISTANCE = 16;

        private final FakeKernel fake;
        private final Undo made = new Undo();
        private final Vm vm;
        private final int[] vcpus = new int[VCPUS];
        private final ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        private final RandomGenerator random;
        /** Empty without hardware that posts. */
        private final List<FakeVcpu> moved;

        private final List<String> flaws = new ArrayList<>();

        X86(FakeKernel fake, Kernel kernel, RandomGenerator random) {
            this.fake = fake;
            this.random = random;
            this.vm = made.add(Vm.create(kernel));
            vm.x86().createIrqchip();
            for (int i = 0; i < VCPUS; i++) {
                int vcpu = fake.backend().libc().ioctl(Numbers.of(vm.fd()), Uapi.KVM_CREATE_VCPU, i);
                made.add(() -> fake.backend().libc().close(vcpu));
                vcpus[i] = vcpu;
                enable(vcpu);
            }
            this.moved = fake.vcpus();
        }

        private void enable(int vcpu) {
            fake.backend().libc().ioctl(vcpu, Uapi.KVM_GET_LAPIC, lapic);
            lapic.putInt(Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
            fake.backend().libc().ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic);
        }

        @Override
        public Vm vm() {
            return vm;
        }

        @Override
        public int choices() {
            return VECTORS_EACH * VCPUS;
        }

        @Override
        public MsiMessage message(int irq, int choice) {
            int vector = FIRST_VECTOR + irq * VECTORS_EACH + choice / VCPUS;
            return MsiMessage.to(new VcpuId(choice % VCPUS), new InterruptVector(vector));
        }

        @Override
        public List<String> flaws() {
            return flaws;
        }

        @Override
        public void take(Taken taken) {
            moved.forEach(vcpu -> run(vcpu, taken));
            for (int i = 0; i < VCPUS; i++) {
                fake.backend().libc().ioctl(vcpus[i], Uapi.KVM_GET_LAPIC, lapic);
                boolean found = false;
                for (int word = 0; word < WORDS; word++) {
                    int at = Uapi.KvmLapicState.IRR + word * WORD_DISTANCE;
                    for (int bits = lapic.getInt(at); bits != 0; bits &= bits - 1) {
                        taken(taken, word * Integer.SIZE + Integer.numberOfTrailingZeros(bits), i);
                        found = true;
                    }
                    lapic.putInt(at, 0);
                }
                if (found) {
                    fake.backend().libc().ioctl(vcpus[i], Uapi.KVM_SET_LAPIC, lapic);
                }
            }
        }

        private static void taken(Taken taken, int vector, int vcpu) {
            int own = vector - FIRST_VECTOR;
            taken.taken(own / VECTORS_EACH, own % VECTORS_EACH * VCPUS + vcpu);
        }

        /** The guest takes all interrupts, and then it goes on, sleeps, is preempted, or is on another processor. */
        private void run(FakeVcpu vcpu, Taken taken) {
            boolean asleep = vcpu.state() == FakeVcpu.State.BLOCKED;
            vcpu.enterGuest();
            for (Optional<InterruptVector> next = vcpu.takeInterrupt(); next.isPresent(); next = vcpu.takeInterrupt()) {
                taken(taken, next.get().number(), vcpu.id().number());
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

        @Override
        public void close() {
            made.close();
        }
    }

    /** With a VGICv3 and an ITS, whose events are divided among the interrupts. */
    final class Arm implements SearchGuest {
        private static final int EVENTS_EACH = 16;
        private static final int NONE = 1023;

        private final Undo made = new Undo();
        private final RandomGenerator random;
        private final boolean moves;
        private final Vm vm;
        private final List<FakeArmVcpu> vcpus = new ArrayList<>();
        private final List<String> flaws = new ArrayList<>();

        /** @param moves whether the host has a GICv4, where it matters where a vCPU is */
        Arm(FakeKernel fake, Kernel kernel, boolean moves, RandomGenerator random) {
            this.random = random;
            this.moves = moves;
            this.vm = made.add(Vm.create(kernel));
            for (int i = 0; i < VCPUS; i++) {
                made.add(vm.createVcpu(new VcpuId(i))).arm64().initialize();
            }
            GuestIts its = new GuestIts(vm, VCPUS, made);
            IntStream.range(0, LostSearch.VECTORS * EVENTS_EACH).forEach(its::map);
            for (int i = 0; i < VCPUS; i++) {
                vcpus.add(fake.armVcpu(Numbers.of(vm.fd()), new VcpuId(i)));
            }
        }

        @Override
        public Vm vm() {
            return vm;
        }

        @Override
        public int choices() {
            return EVENTS_EACH;
        }

        @Override
        public MsiMessage message(int irq, int choice) {
            return GuestIts.message(irq * EVENTS_EACH + choice);
        }

        @Override
        public List<String> flaws() {
            return flaws;
        }

        @Override
        public boolean hasVlpis() {
            return moves;
        }

        @Override
        public void take(Taken taken) {
            vcpus.forEach(vcpu -> run(vcpu, taken));
        }

        private void run(FakeArmVcpu vcpu, Taken taken) {
            boolean asleep = moves && vcpu.isAsleep();
            for (int lpi = vcpu.acknowledge(); lpi != NONE; lpi = vcpu.acknowledge()) {
                int event = lpi - GuestIts.lpi(0);
                taken.taken(event / EVENTS_EACH, event % EVENTS_EACH);
                if (asleep && vcpu.hostIrq(lpi).isPresent()) {
                    flaws.add("a vCPU slept with vLPI " + lpi + " pending");
                }
            }
            if (moves) {
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

        @Override
        public void close() {
            made.close();
        }
    }
}
