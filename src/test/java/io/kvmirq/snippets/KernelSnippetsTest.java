/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snippets;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.junit.KvmTest;
import io.kvmirq.junit.Real;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kernel.Registration;
import io.kvmirq.kvm.Vm;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.time.Duration;

/** Examples in the Javadoc of {@code io.kvmirq.kernel}. */
class KernelSnippetsTest {
    @KvmTest(real = Real.IF_PRESENT)
    void eventfd(Kernel kernel) {
        long rings;
        // @start region="eventfd"
        try (EventFd event = EventFd.create(kernel)) {
            event.signal();
            event.signal(2);
            rings = event.await() ? event.drain() : 0; // 3
        }
        // @end
        assertThat(rings).isEqualTo(3);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void loop(Kernel kernel, EventFd requests, EventFd bell) {
        int called;
        StringBuilder heard = new StringBuilder();
        // @start region="loop"
        try (EventLoop loop = EventLoop.create(kernel)) {
            loop.register(requests, count -> heard.append(count));
            Registration doorbell = loop.registerDoorbell(bell, () -> heard.append("bell"));
            requests.signal(3);
            called = loop.poll(Duration.ZERO); // or loop.run() in a thread of its own
            doorbell.pause(); // the handler does not run until resume
        }
        // @end
        assertThat(called).isEqualTo(1);
        assertThat(heard).hasToString("3");
    }

    @KvmTest(real = Real.IF_PRESENT)
    void fd(Vm vm, EventFd event) {
        int maximum;
        int number;
        // @start region="fd"
        maximum = vm.fd().ioctl(Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_MAX_VCPUS); // a call without a method
        try (Fd.Lease lease = event.fd().lease()) {
            number = lease.number(); // stays open until the lease ends, for another library
        }
        // @end
        assertThat(maximum).isPositive();
        assertThat(number).isNotNegative();
    }

    @KvmTest(real = Real.IF_PRESENT)
    void memory(Kernel kernel) {
        int value;
        // @start region="memory"
        try (MemoryFile file = MemoryFile.create(kernel, "guest ram", 0x10000);
                Mapping.Owner ram = file.map()) {
            ram.mapping().putInt(0x1000, 42);
            ByteBuffer view = ram.mapping().view(0x1000, 4); // little-endian
            value = view.getInt(0);
        }
        // @end
        assertThat(value).isEqualTo(42);
    }

    @KvmTest(real = Real.IF_PRESENT)
    void kernel(Kernel kernel) {
        // @start region="kernel"
        try (Vm vm = Vm.create(kernel)) { // Kernel kernel = Kernel.open();
            vm.x86().createIrqchip();
        }
        System.Logger log = System.getLogger("my.vmm");
        log.log(System.Logger.Level.DEBUG, "{0}, left open: {1}", kernel.backendDescription(), kernel.openHandles());
        // @end
        assertThat(kernel.openHandles()).hasSize(1); // /dev/kvm
    }
}
