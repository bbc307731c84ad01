/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.explain.SetupAnswer;
import io.kvmirq.fake.file.Host;
import io.kvmirq.fake.kvm.MemorySlots;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/** The vCPU requests that set up machine checks, TPR reporting and the like. Source: {@code kvm_arch_vcpu_ioctl()}. */
final class ProcessorCalls {
    private final Host host;
    private final MemorySlots memory;
    private final boolean hasLapic;
    private final MachineChecks checks = new MachineChecks();
    private final TscRate tsc;
    private long vapic;
    private boolean reportsTpr;

    ProcessorCalls(Host host, MemorySlots memory, boolean hasLapic, TscRate tsc) {
        this.host = host;
        this.memory = memory;
        this.hasLapic = hasLapic;
        this.tsc = tsc;
    }

    MachineChecks checks() {
        return checks;
    }

    /** Checks the settings before a run. */
    void checkModelled() {
        if (vapic != 0 || reportsTpr) {
            throw new NotModelledException("a guest whose TPR accesses are told or kept in its memory");
        }
    }

    int getTsc() {
        return tsc.get();
    }

    int setTsc(long rate) {
        return host.refuse(tsc.set((int) rate));
    }

    int setUpChecks(ByteBuffer capabilities) {
        return host.refuse(checks.setUp(capabilities.getLong(0)));
    }

    int setCheck(ByteBuffer check) {
        return host.refuse(checks.set(check));
    }

    /** KVM_SET_VAPIC_ADDR. Checks for a LAPIC before it reads the argument. */
    int setVapic(long argument) {
        return hasLapic
                ? host.copied(argument, Long.BYTES, wanted -> setVapicTo(wanted.getLong(0)))
                : host.refuse(SetupAnswer.VAPIC_WITHOUT_LAPIC);
    }

    private int setVapicTo(long address) {
        if (address != 0 && (!memory.isWritable(address) || !memory.isWritable(address + Integer.BYTES - 1))) {
            return host.refuse(SetupAnswer.VAPIC_MEMORY);
        }
        vapic = address;
        return 0;
    }

    int reportTpr(ByteBuffer control) {
        if (control.getInt(Uapi.KvmTprAccessCtl.FLAGS) != 0) {
            return host.refuse(SetupAnswer.TPR_FLAGS);
        }
        reportsTpr = control.getInt(Uapi.KvmTprAccessCtl.ENABLED) != 0;
        return 0;
    }
}
