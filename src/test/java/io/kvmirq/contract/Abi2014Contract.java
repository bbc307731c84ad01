/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Libc;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.forward.Abi2014;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.uapi.Uapi;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The forwarding of 2014 on a kernel without its patches: it is asked for, and never set. */
@Contract
class Abi2014Contract extends KernelSuite {
    @Test
    void probeIsAbsentAndSetsNothing() {
        int device = world.own(kernel.deviceCreate(world.fullVm(), Uapi.KVM_DEV_TYPE_VFIO));
        List<Long> requests = new ArrayList<>();
        Libc libc = (Libc) Proxy.newProxyInstance(
                Libc.class.getClassLoader(), new Class<?>[] {Libc.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("ioctl")) {
                        requests.add((Long) arguments[1]);
                    }
                    return method.invoke(kernel.libc(), arguments);
                });
        try (Kernel seen = Kernel.over(LibcBackend.over(libc, "seen", "seen"));
                KvmVfio kvmVfio = KvmVfio.adopt(seen, device, Ownership.BORROWED)) {
            assertThat(Abi2014.probe(kvmVfio)).isEqualTo(Abi2014.Probe.ABSENT);
        }
        assertThat(requests).contains(Uapi.KVM_HAS_DEVICE_ATTR).doesNotContain(Uapi.KVM_SET_DEVICE_ATTR);
    }
}
