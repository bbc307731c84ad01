/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertOk;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.HexFormat;

/** A vCPU of arm64 with a GICv3 or a GICv2, run on the test's own thread from one write to the next. */
final class ArmGuest {
    /** Where the guest writes the interrupt that it has taken. */
    static final long IN_SERVICE = 0xa00_0000L;
    /** Where it writes the same when it has ended the interrupt. */
    static final long ENDED = IN_SERVICE + Integer.BYTES;

    /**
     * A vCPU begins at address 0, with its MMU off and interrupts masked: WFI ends all the same.
     *
     * <pre>
     *     mov x0, #0xff
     *     msr ICC_PMR_EL1, x0
     *     mov x0, #1
     *     msr ICC_IGRPEN1_EL1, x0
     *     isb
     *     mov x2, #0x0a000000
     * 1:  wfi
     *     mrs x1, ICC_IAR1_EL1
     *     dsb sy
     *     mov w3, #1023            // no interrupt
     *     cmp w1, w3
     *     b.eq 1b
     *     str w1, [x2]
     *     msr ICC_EOIR1_EL1, x1
     *     isb
     *     str w1, [x2, #4]
     *     b 1b
     * </pre>
     */
    static final String CODE = "e01f80d2004618d5200080d2e0cc18d5df3f03d50240a1d27f2003d501cc38d59f3f03d5"
            + "e37f80523f00036b60ffff54410000b921cc18d5df3f03d5410400b9f6ffff17";

    /**
     * SGI 5 and SGI 3 to the vCPU itself, each sent twice.
     *
     * <pre>
     *     mov x0, #1
     *     movk x0, #0x500, lsl #16
     *     msr ICC_SGI1R_EL1, x0
     *     msr ICC_SGI1R_EL1, x0
     *     mov x0, #1
     *     movk x0, #0x300, lsl #16
     *     msr ICC_SGI1R_EL1, x0
     *     msr ICC_SGI1R_EL1, x0
     * </pre>
     */
    static final String SENDS_SGIS = "200080d200a0a0f2a0cb18d5a0cb18d5" + "200080d20060a0f2a0cb18d5a0cb18d5";

    /**
     * The same with a GICv2, whose interrupts are of group 0.
     *
     * <pre>
     *     mov x4, #0x08010000      // the CPU interface
     *     mov w0, #0xff
     *     str w0, [x4, #4]         // GICC_PMR
     *     mov w0, #1
     *     str w0, [x4]             // GICC_CTLR
     *     dsb sy
     *     mov x2, #0x0a000000
     * 1:  wfi
     *     ldr w1, [x4, #0xc]       // GICC_IAR
     *     dsb sy
     *     and w0, w1, #0x3ff       // without the source of an SGI
     *     mov w3, #1023
     *     cmp w0, w3
     *     b.eq 1b
     *     str w1, [x2]
     *     str w1, [x4, #0x10]      // GICC_EOIR
     *     dsb sy
     *     str w1, [x2, #4]
     *     b 1b
     * </pre>
     */
    static final String GICV2 = "2400a1d2e01f8052800400b920008052800000b99f3f03d50240a1d27f2003d5810c40b99f3f03d5"
            + "20240012e37f80521f00036b40ffff54410000b9811000b99f3f03d5410400b9f5ffff17";

    private final Libc libc;
    private final int vcpu;
    private final ByteBuffer run;

    /** Creates the VM's vCPU and its memory. */
    ArmGuest(World world, int vm, String code) {
        libc = world.kernel().libc();
        long memory = world.map(World.PAGE, -1);
        ByteBuffer region = Structs.of("kvm_userspace_memory_region", 0, 0, 0, World.PAGE, memory);
        assertOk(libc.ioctl(vm, Uapi.KVM_SET_USER_MEMORY_REGION, region));
        libc.view(memory, World.PAGE).put(0, HexFormat.of().parseHex(code));
        vcpu = world.vcpu(vm, 0);
        ByteBuffer init = Buffers.allocate(UapiArm64.KvmVcpuInit.SIZE);
        assertOk(libc.ioctl(vm, UapiArm64.KVM_ARM_PREFERRED_TARGET, init));
        assertOk(libc.ioctl(vcpu, UapiArm64.KVM_ARM_VCPU_INIT, init));
        int size = libc.ioctl(world.kvm(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        run = libc.view(world.map(size, vcpu), size);
    }

    /** Runs until the guest writes there. Blocks while it waits, so that an interrupt must be pending. */
    void runTo(long address, int interrupt) {
        int result;
        do {
            result = libc.ioctl(vcpu, Uapi.KVM_RUN, 0);
        } while (result == -Errno.EINTR.number());
        assertOk(result);
        assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).as("exit reason").isEqualTo(Uapi.KVM_EXIT_MMIO);
        assertThat(run.get(Uapi.KvmRun.MMIO_IS_WRITE)).as("write").isEqualTo((byte) 1);
        assertThat(run.getLong(Uapi.KvmRun.MMIO_PHYS_ADDR)).as("address").isEqualTo(address);
        assertThat(run.getInt(Uapi.KvmRun.MMIO_DATA)).as("interrupt").isEqualTo(interrupt);
    }
}
