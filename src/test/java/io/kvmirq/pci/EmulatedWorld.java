/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;

/** A guest with two vCPUs and the vectors of an emulated function, on a fake kernel. */
final class EmulatedWorld {
    final EmulatedVectors vectors;
    final GuestMsix msix;
    /** MSI over the same vectors: use either this or {@link #msix}. */
    final GuestMsi msi;

    private final FakeKernel fake;
    private final Kernel kernel;
    private final List<Vcpu> vcpus;
    private final Undo parts = new Undo();

    EmulatedWorld(String profile) {
        fake = new FakeKernel(Profile.parse(profile));
        kernel = parts.add(fake.open());
        Vm vm = parts.add(Vm.create(kernel));
        vm.x86().createIrqchip();
        vcpus = IntStream.range(0, 2)
                .mapToObj(i -> parts.add(vm.createVcpu(new VcpuId(i))))
                .toList();
        vcpus.forEach(vcpu -> vcpu.x86().enableLapic());
        vectors = parts.add(EmulatedVectors.create(vm, MessagesWorld.VECTORS));
        msix = new GuestMsix(vectors, OptionalInt.empty());
        msi = new GuestMsi(
                vectors, OptionalInt.empty(), MessagesWorld.CAPABLE_OF_8 | MessagesWorld.WIDE | MessagesWorld.MASKABLE);
    }

    /** @param bits reads the pending bits */
    MessageSearch.Device searched(LongSupplier bits) {
        return new MessageSearch.Device() {
            @Override
            public boolean send(int vector) {
                vectors.signal(vector);
                return true;
            }

            @Override
            public void reset() {}

            @Override
            public List<String> taken(int min) {
                List<String> taken = new ArrayList<>();
                vcpus.forEach(vcpu -> MessagesWorld.takeFromLapic(vcpu, taken));
                return taken;
            }

            @Override
            public long pending(long expected) {
                return bits.getAsLong();
            }

            /** No message is left for the kind that was not used. */
            @Override
            public void close() {
                msix.writeMessageControl(0);
                msi.write(4, 4, 0xfee00000);
                msi.write(12, 2, 0x40);
                msi.write(16, 4, 0);
                msi.write(2, 2, 1 | 3 << 4); // eight vectors
                assertThat(taken(0)).isEmpty();
                parts.close();
                assertThat(kernel.openHandles()).isEmpty();
                assertThat(fake.messages().counts().lost()).isZero();
            }
        };
    }
}
