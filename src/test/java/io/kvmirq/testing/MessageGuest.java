/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.function.IntConsumer;

/** A VM with two vCPUs that do not run. The messages go to the vCPUs in turn, and a test takes those that are pending. */
public abstract sealed class MessageGuest {
    public static final int VCPUS = 2;
    /** The vector of messages 0 and 1 on x86. */
    public static final int FIRST_VECTOR = 0x20;

    public final Vm vm;

    private MessageGuest(Vm vm) {
        this.vm = vm;
    }

    /** @param libc for the guest's own calls; {@code events} of the ITS are mapped on arm64 */
    public static MessageGuest of(Kernel kernel, Libc libc, int events, Undo made) {
        Vm vm = made.add(Vm.create(kernel));
        return vm.isArm64() ? new Arm(vm, events, made) : new X86(vm, libc, made);
    }

    public abstract MsiMessage message(int number);

    /** Takes all pending messages. */
    public abstract void take(IntConsumer taken);

    /** Whether a message is pending, which it no longer is then. On x86 the others of its vCPU are dropped with it. */
    public abstract boolean arrived(int number);

    /** With LAPICs. */
    private static final class X86 extends MessageGuest {
        private static final int WORDS = 8;
        private static final int WORD_DISTANCE = 16;

        private final Libc libc;
        private final int[] vcpus = new int[VCPUS];
        private final ByteBuffer lapic = Buffers.allocate(Uapi.KvmLapicState.SIZE);

        private X86(Vm vm, Libc libc, Undo made) {
            super(vm);
            this.libc = libc;
            vm.x86().createIrqchip();
            for (int i = 0; i < VCPUS; i++) {
                int vcpu = libc.ioctl(Numbers.of(vm.fd()), Uapi.KVM_CREATE_VCPU, i);
                made.add(() -> libc.close(vcpu));
                vcpus[i] = vcpu;
                read(i);
                lapic.putInt(
                        Uapi.KvmLapicState.SVR, lapic.getInt(Uapi.KvmLapicState.SVR) | Uapi.KvmLapicState.SVR_ENABLE);
                write(i);
            }
        }

        private void read(int vcpu) {
            assertThat(libc.ioctl(vcpus[vcpu], Uapi.KVM_GET_LAPIC, lapic)).isZero();
        }

        private void write(int vcpu) {
            assertThat(libc.ioctl(vcpus[vcpu], Uapi.KVM_SET_LAPIC, lapic)).isZero();
        }

        private static int irr(int word) {
            return Uapi.KvmLapicState.IRR + word * WORD_DISTANCE;
        }

        private void forget(int vcpu) {
            for (int word = 0; word < WORDS; word++) {
                lapic.putInt(irr(word), 0);
            }
            write(vcpu);
        }

        @Override
        public MsiMessage message(int number) {
            return MsiMessage.to(new VcpuId(number % VCPUS), new InterruptVector(FIRST_VECTOR + number / VCPUS));
        }

        @Override
        public boolean arrived(int number) {
            int vector = FIRST_VECTOR + number / VCPUS;
            read(number % VCPUS);
            boolean arrived = (lapic.getInt(irr(vector / Integer.SIZE)) >>> vector & 1) == 1;
            if (arrived) {
                forget(number % VCPUS);
            }
            return arrived;
        }

        @Override
        public void take(IntConsumer taken) {
            for (int i = 0; i < VCPUS; i++) {
                read(i);
                boolean found = false;
                for (int word = 0; word < WORDS; word++) {
                    for (int bits = lapic.getInt(irr(word)); bits != 0; bits &= bits - 1) {
                        int vector = word * Integer.SIZE + Integer.numberOfTrailingZeros(bits);
                        taken.accept((vector - FIRST_VECTOR) * VCPUS + i);
                        found = true;
                    }
                }
                if (found) {
                    forget(i);
                }
            }
        }
    }

    /** With a GICv3 and an ITS. */
    private static final class Arm extends MessageGuest {
        private final GuestIts its;
        private final BitSet pending = new BitSet();

        private Arm(Vm vm, int events, Undo made) {
            super(vm);
            for (int i = 0; i < VCPUS; i++) {
                made.add(vm.createVcpu(new VcpuId(i))).arm64().initialize();
            }
            its = new GuestIts(vm, VCPUS, made);
            for (int event = 0; event < events; event++) {
                its.map(event);
            }
        }

        @Override
        public MsiMessage message(int number) {
            return GuestIts.message(number);
        }

        @Override
        public void take(IntConsumer taken) {
            its.take(taken);
        }

        @Override
        public boolean arrived(int number) {
            take(pending::set);
            boolean arrived = pending.get(number);
            pending.clear(number);
            return arrived;
        }
    }
}
