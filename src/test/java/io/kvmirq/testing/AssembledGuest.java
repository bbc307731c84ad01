/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static io.kvmirq.testing.GuestAssembler.bytes;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.stream.IntStream;

/** Memory, code of {@link GuestAssembler} and vCPUs that begin with it in real mode. Code that uses MSRs needs a CPUID. */
public final class AssembledGuest implements AutoCloseable {
    public static final int START = 0x1000;
    public static final int STACK = 0x8000;
    /** The end of memory. A 16-bit access behind it leaves the guest. */
    public static final int SIZE = 0xf000;

    private static final int HANDLERS = 0x2000;
    private static final int HANDLER_SIZE = 0x50;
    private static final int STACK_SIZE = 0x400;

    public final Mapping memory;
    public final List<Vcpu> vcpus;
    /** The first vCPU. */
    public final Vcpu vcpu;

    private final Undo made = new Undo();

    /** A guest with vCPU 0. */
    public AssembledGuest(Vm vm, String code) {
        this(vm, 1, code);
    }

    public AssembledGuest(Vm vm, int count, String code) {
        memory = made.add(vm.addMemory(0, SIZE)).mapping();
        memory.put(START, bytes(code));
        vcpus = IntStream.range(0, count)
                .mapToObj(id -> made.add(vm.createVcpu(new VcpuId(id))))
                .toList();
        for (Vcpu each : vcpus) {
            each.x86().startAt(START, STACK + STACK_SIZE * each.id().number());
        }
        vcpu = vcpus.get(0);
    }

    /** Sets the handler of a vector: at most 80 bytes of code, IRET included. */
    public AssembledGuest handle(int vector, String code) {
        int at = HANDLERS + HANDLER_SIZE * vector;
        byte[] handler = bytes(code);
        assertThat(handler).as(code).hasSizeLessThanOrEqualTo(HANDLER_SIZE);
        memory.put(at, handler);
        memory.putInt(vector * Integer.BYTES, at);
        return this;
    }

    @Override
    public void close() {
        made.close();
    }
}
