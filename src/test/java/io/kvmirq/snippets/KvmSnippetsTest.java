/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.junit.KvmTest;
import io.kvmirq.junit.Real;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.DirtyLog;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.MsiOutcome;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Examples in the Javadoc of {@code io.kvmirq.kvm}: what x86 and arm64 share. */
class KvmSnippetsTest {
    private final VcpuId first = new VcpuId(0);
    private final InterruptVector vector = new InterruptVector(0x31);

    @KvmTest(real = Real.IF_PRESENT)
    void irqfd(Vm vm, Vcpu vcpu, EventFd event) {
        vcpu.x86().enableLapic();
        // @start region="irqfd"
        Gsi gsi = vm.routes().add(MsiMessage.to(first, vector));
        try (Irqfd irqfd = vm.assignIrqfd(event, gsi)) {
            irqfd.mask();
            event.signal(); // waits in the eventfd
            irqfd.unmask(); // KVM raises the vector
        }
        vm.routes().remove(gsi);
        // @end
        assertThat(vcpu.x86().isRequested(vector)).isTrue();
    }

    @KvmTest
    void levelIrqfd(Vm vm, EventFd event, EventFd resample) {
        // @start region="level"
        try (Irqfd line = vm.assignLevelIrqfd(event, resample, new Gsi(5))) {
            event.signal(); // raises the line; the guest's EOI lowers it and signals the resample eventfd
            line.mask();
        }
        // @end
        assertThat(event.fd().isClosed()).isFalse();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void routes(Vm vm) {
        long commits = vm.routes().commits();
        Gsi line;
        // @start region="routes"
        List<Gsi> gsis = vm.routes()
                .change(edit -> List.of( // one KVM_SET_GSI_ROUTING
                        edit.add(MsiMessage.to(first, vector)),
                        edit.add(MsiMessage.to(first, new InterruptVector(0x32)))));
        vm.routes().replace(gsis.get(0), MsiMessage.to(first, new InterruptVector(0x41)));
        // @end
        line = gsis.get(0);
        assertThat(vm.routes().commits()).isEqualTo(commits + 2);
        assertThat(vm.routes().of(line)).hasSize(1).allMatch(route -> route instanceof Route.Msi);
        gsis.forEach(vm.routes()::remove);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void maskable(Vm vm, Vcpu vcpu) {
        vcpu.x86().enableLapic();
        // @start region="maskable"
        try (MaskableVector queue = MaskableVector.create(vm, MsiMessage.to(first, vector))) {
            queue.mask();
            queue.signal(); // waits
            queue.reroute(MsiMessage.to(first, new InterruptVector(0x51)));
            queue.unmask(); // comes with the new message
        }
        // @end
        assertThat(vcpu.x86().isRequested(new InterruptVector(0x51))).isTrue();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void signal(Vm vm, Vcpu vcpu) {
        vcpu.x86().enableLapic();
        // @start region="signal"
        MsiOutcome outcome = vm.signal(MsiMessage.to(first, vector));
        int accepted = outcome.vcpus(); // 0: no LAPIC accepted it
        // @end
        assertThat(accepted).isEqualTo(1);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void doorbell(Vm vm, EventFd event) {
        IoAddress where;
        // @start region="doorbell"
        try (IoEventFd bell = vm.assignIoEventFd(IoAddress.mmio(0xd0001000L, 4, 7), event)) {
            where = bell.address(); // a write of 7 signals the eventfd, other values exit
        }
        // @end
        assertThat(where.length()).isEqualTo(4);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void memory(Kernel kernel) {
        try (Vm vm = Vm.create(kernel)) {
            // @start region="memory"
            try (GuestMemory ram = vm.addMemory(0x100000, 0x10000);
                    DirtyLog log = ram.logDirtyPages()) {
                ram.mapping().putLong(0x2000, 1); // a write of the VMM is not in the log
                log.take();
                for (long page = log.next(0); page >= 0; page = log.next(page + 1)) {
                    copy(ram.mapping().view(page * DirtyLog.PAGE, DirtyLog.PAGE));
                }
            }
            // @end
        }
        assertThat(copied).isZero();
    }

    private int copied;

    private void copy(ByteBuffer page) {
        copied += page.remaining();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void run(Kernel kernel) {
        List<String> seen = new ArrayList<>();
        try (Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000);
                Vcpu vcpu = vm.createVcpu(first)) {
            memory.mapping().put(0x1000, new byte[] {(byte) 0xe6, 0x42, (byte) 0xf4}); // out %al, $0x42; hlt
            vcpu.x86().startAt(0x1000, 0x8000);
            // @start region="run"
            for (VcpuExit exit = vcpu.run(); exit.reason() != VcpuExit.Reason.HLT; exit = vcpu.run()) {
                if (exit.reason() == VcpuExit.Reason.IO && exit.isWrite()) {
                    seen.add(exit.port() + " = " + exit.data());
                } else if (exit.reason() == VcpuExit.Reason.IO) {
                    exit.answer(0xff); // nothing is at this port
                }
            }
            // @end
        }
        assertThat(seen).containsExactly("66 = 0");
    }

    @KvmTest(real = Real.IF_PRESENT)
    void listener(Kernel kernel) {
        List<VcpuId> added = new ArrayList<>();
        try (Vm vm = Vm.create(kernel)) {
            // @start region="listener"
            vm.listeners().add(new VmListener() {
                @Override
                public void vcpuAdded(VcpuId id) {
                    added.add(id);
                }

                @Override
                public void apicIdsWidened() {}
            });
            // @end
            vm.createVcpu(first).close();
        }
        assertThat(added).containsExactly(first);
    }
}
