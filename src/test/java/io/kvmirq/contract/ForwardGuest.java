/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.Numbers;
import io.kvmirq.undo.Undo;
import java.util.BitSet;

/** A VM with two vCPUs that do not run, and what messages have reached them. */
interface ForwardGuest {
    Vm vm();

    /** One of many, in turn to each vCPU. */
    MsiMessage message(int choice);

    /** Whether a message is pending; then it is not any more. */
    boolean arrived(int choice);

    static ForwardGuest of(World world, Kernel kernel, Undo made) {
        Vm vm = made.add(Vm.create(kernel));
        return world.isArm64() ? new Arm(vm, made) : new X86(world, vm);
    }

    /** With LAPICs. */
    final class X86 implements ForwardGuest {
        private static final int FIRST_VECTOR = 0x40;
        private static final int VCPUS = 2;

        private final World world;
        private final Vm vm;
        private final int[] vcpus = new int[VCPUS];

        private X86(World world, Vm vm) {
            this.world = world;
            this.vm = vm;
            vm.x86().createIrqchip();
            int number = Numbers.of(vm.fd());
            for (int i = 0; i < VCPUS; i++) {
                vcpus[i] = world.vcpuWithLapic(number, i);
            }
        }

        @Override
        public Vm vm() {
            return vm;
        }

        private static int vector(int choice) {
            return FIRST_VECTOR + choice / VCPUS;
        }

        @Override
        public MsiMessage message(int choice) {
            return MsiMessage.to(new VcpuId(choice % VCPUS), new InterruptVector(vector(choice)));
        }

        @Override
        public boolean arrived(int choice) {
            int vcpu = vcpus[choice % VCPUS];
            boolean arrived = world.requested(vcpu, vector(choice));
            if (arrived) {
                world.forget(vcpu);
            }
            return arrived;
        }
    }

    /** With a GICv3 and an ITS. */
    final class Arm implements ForwardGuest {
        private final Vm vm;
        private final GuestIts service;
        private final BitSet pending = new BitSet();

        private Arm(Vm vm, Undo made) {
            this.vm = vm;
            for (int i = 0; i < 2; i++) {
                made.add(vm.createVcpu(new VcpuId(i))).arm64().initialize();
            }
            service = new GuestIts(vm, 2, made);
            for (int event = 0; event < GuestIts.EVENTS / 2; event++) {
                service.map(event);
            }
        }

        @Override
        public Vm vm() {
            return vm;
        }

        @Override
        public MsiMessage message(int choice) {
            return GuestIts.message(choice);
        }

        @Override
        public boolean arrived(int choice) {
            service.take(pending::set);
            boolean arrived = pending.get(choice);
            pending.clear(choice);
            return arrived;
        }
    }
}
