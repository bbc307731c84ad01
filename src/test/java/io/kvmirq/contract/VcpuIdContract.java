/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertErrno;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.uapi.Uapi;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** The vCPU ids that KVM takes where it uses AVIC: avic_init_vcpu(), avic_init_backing_page(). */
@Tag("contract")
@ParameterizedClass(name = "{0}")
@MethodSource("io.kvmirq.contract.World#withAvic")
class VcpuIdContract extends KernelSuite {
    private static final int[] IDS = {254, 255, 511, 512};

    private boolean says(String path, String text) {
        return libc.hostFiles().text(path).filter(all -> all.contains(text)).isPresent();
    }

    /** Up to 6.16 AVIC's table limits the ids; since 6.17 a higher id inhibits AVIC. */
    @Test
    void tableOfAvicLimitsTheIdsOfLapics() {
        boolean avic = says("sys/module/kvm_amd/parameters/avic", "Y") && !world.isSince(6, 17);
        int last = !avic ? IDS[3] : says("proc/cpuinfo", "x2avic") ? 511 : 254;
        System.out.println("lab-vcpu-ids: AVIC " + avic + ", the last id " + last);
        int vm = world.splitVm();
        for (int id : IDS) {
            if (id > last) {
                assertErrno(Errno.EINVAL, libc.ioctl(vm, Uapi.KVM_CREATE_VCPU, id));
            } else {
                world.vcpu(vm, id);
            }
        }
        int bare = world.bareVm();
        for (int id : IDS) {
            world.vcpu(bare, id);
        }
        assertErrno(Errno.EEXIST, libc.ioctl(bare, Uapi.KVM_CREATE_VCPU, IDS[3]));
        assertThat(kernel.libc().ioctl(vm, Uapi.KVM_CHECK_EXTENSION, Uapi.KVM_CAP_MAX_VCPU_ID))
                .as("KVM does not tell the limit")
                .isGreaterThan(IDS[3]);
    }
}
