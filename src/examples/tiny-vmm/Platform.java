/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.Gsi;
import io.kvmirq.IoAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.PciHostBridge;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;

/** The parts of the machine that its architecture decides: interrupt controllers, vCPUs, addresses, and the boot. */
abstract class Platform implements AutoCloseable {
    final List<Vcpu> vcpus = new ArrayList<>();
    final PciHostBridge bus;
    final Deque<Runnable> parts = new ArrayDeque<>(); // their ends, the last first
    final Vm vm;
    /** The guest-physical address of the memory. */
    final long memory;
    /** The first register of the console, and a write of the device's byte to its first register. */
    final IoAddress console, doorbell;

    Platform(Vm vm, long memory, IoAddress console, IoAddress doorbell, PciHostBridge bus) {
        this.vm = vm;
        this.memory = memory;
        this.console = console;
        this.doorbell = doorbell;
        this.bus = bus;
    }

    /** Makes a vCPU. */
    final Vcpu add(int id) {
        Vcpu vcpu = vm.createVcpu(new VcpuId(id));
        parts.push(vcpu::close);
        vcpus.add(vcpu);
        return vcpu;
    }

    /** Signals an irqfd, each time that it runs. */
    final Runnable irqfd(Gsi gsi) {
        EventFd event = EventFd.create(vm.kernel());
        parts.push(event::close);
        parts.push(vm.assignIrqfd(event, gsi)::close);
        return event::signal;
    }

    // Interrupts of the console and of the device, each time that these run

    abstract Runnable consoleInterrupt();

    abstract Runnable deviceInterrupt();

    /** The interrupt pin of a device on the bus. */
    abstract Gsi pin(int number);

    /** @return false if the exit is of a serial port, or of nothing that is there */
    boolean handle(VcpuExit exit) {
        return bus.handle(exit);
    }

    /** Takes levels of a device that is passed through to the chip of the pins, if that is here. */
    Optional<Userspace> relay(EventLoop loop) {
        return Optional.empty();
    }

    /** Writes a Linux kernel and all that it needs into memory, and makes the first vCPU enter it. */
    abstract void loadLinux(Mapping memory, Path kernel, byte[] initramfs, String line, boolean hasDevices)
            throws IOException;

    /** The same with a guest that needs no file. */
    abstract void loadSmallGuest(Mapping memory);

    @Override
    public final void close() {
        parts.forEach(Runnable::run);
    }

    /** The kind of a file that is no kernel for this platform, in words; empty for an unknown one. */
    static String kind(ByteBuffer file) {
        long first = file.limit() < Long.BYTES ? 0 : file.getLong(0);
        String packed = (short) first == (short) 0x8b1f ? "gzip" : (int) first == 0xfd2fb528 ? "zstd" : "";
        packed = (int) first == 0x587a37fd ? "xz" : first >>> 32 == 0x676d697a ? "EFI's vmlinuz.efi" : packed;
        if (!packed.isEmpty()) {
            return "; it is compressed (" + packed + "): decompress it";
        }
        boolean isArm64 = file.limit() >= 0x40 && file.getInt(0x38) == 0x644d5241;
        boolean isX86 =
                file.limit() >= 0x206 && file.getShort(0x1fe) == (short) 0xaa55 && file.getInt(0x202) == 0x53726448;
        return isArm64 ? "; it is a kernel for arm64" : isX86 ? "; it is a kernel for x86" : "";
    }

    static void require(boolean condition, String sentence, Object... arguments) {
        if (!condition) {
            throw new IllegalArgumentException(String.format(sentence, arguments));
        }
    }
}
