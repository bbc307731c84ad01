/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.KernelPlaces;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.host.trace.Btf;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Page;
import io.kvmirq.testing.Page.Block;
import io.kvmirq.testing.RealKvm;
import io.kvmirq.vfio.VfioDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The ways of a device's vectors in the memory of a real kernel, and what the command says of them, against the set-up. */
@Tag("contract")
@Tag(RealKvm.TAG)
class KernelMemoryContract {
    private static final int MOST = 16;
    private static final HostFiles FILES = HostFiles.at(Path.of("/"));

    /** An irq of a device, and the message that it was forwarded with. */
    record Vector(HostIrq irq, MsiMessage message) {}

    /** The part of a test that has vectors forwarded. */
    interface Check {
        void of(PciAddress device, KernelPaths memory, List<Vector> vectors) throws IOException, InterruptedException;
    }

    static void forwarded(TestDevice of, Check check) throws IOException, InterruptedException {
        assumeTrue(of.onThisMachine().isPresent(), of.isMissing());
        PciAddress address = PciAddress.parse(of.onThisMachine().orElseThrow().address());
        try (KernelPaths memory = KernelPaths.open(FILES, KernelStructures.CORE);
                Kernel kernel = Kernel.open(Backends.AUTO);
                Vm vm = Vm.create(kernel)) {
            assumeTrue(
                    memory.irqfds().known().isPresent(), () -> memory.irqfds().toString());
            vm.x86().createIrqchip();
            try (Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1));
                    KvmVfio kvmVfio = KvmVfio.create(vm);
                    VfioDevice device = VfioDevice.open(kernel, address, kvmVfio);
                    Forwarding forwarding = Forwarding.create(vm, device)) {
                first.x86().enableLapic();
                second.x86().enableLapic();
                device.config().enableBusMaster();
                Map<Integer, MsiMessage> messages = new HashMap<>();
                List<ForwardedIrq> irqs = forwarding.forwardAll(
                        of == TestDevice.EDU
                                ? device.msi(0, 1)
                                : device.msix(0, Math.min(MOST, device.msix().size())),
                        i -> MsiMessage.to(new VcpuId(i % 2), new InterruptVector(0x41 + i)));
                irqs.forEach(
                        irq -> messages.put(irq.irq().number(), irq.message().orElseThrow()));
                List<Vector> vectors = new HostFacts(FILES)
                        .armed(address).stream()
                                .map(vector -> new Vector(vector.irq(), messages.get(vector.vector())))
                                .toList();
                assertThat(vectors).hasSameSizeAs(irqs);
                check.of(address, memory, vectors);
                if (of == TestDevice.E1000E) {
                    device.reset(); // it counts 128 us from its last message
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"E1000E", "EDU", "NVME"})
    void wayInMemoryIsTheOneThatWasSetUp(TestDevice of) throws IOException, InterruptedException {
        forwarded(of, (device, memory, vectors) -> {
            int compared = 0;
            for (Vector vector : vectors) {
                KernelPaths.KernelPath path = memory.path(vector.irq()).known().orElseThrow();
                assertThat(path.entry().known().orElseThrow().orElseThrow().source())
                        .isEqualTo(device.requesterId());
                List<KernelIrqfd> irqfds = path.irqfds().known().orElseThrow();
                assertThat(irqfds).hasSize(1);
                assertThat(irqfds.get(0).message()).contains(vector.message());
                assertThat(irqfds.get(0).route()).contains(vector.message());
                assertThat(Drift.find(path)).noneMatch(field -> field.verdict() == Drift.Verdict.DIFFER);
                compared += (int) Drift.find(path).stream()
                        .filter(field -> field.verdict() == Drift.Verdict.AGREE)
                        .count();
            }
            System.out.println("lab-memory: " + of + ": " + vectors.size() + " vectors, " + compared
                    + " fields compared, 0 differ");
            commandSaysSo(
                    of,
                    device,
                    memory.path(vectors.get(0).irq()).known().orElseThrow(),
                    vectors.get(0).message());
        });
    }

    /** The host of the lab writes this kernel's memory through QEMU's gdb stub. */
    @Test
    void plantedBitIsNamedByIrqAndField() throws IOException, InterruptedException {
        forwarded(TestDevice.E1000E, (device, memory, vectors) -> {
            Vector vector = vectors.get(2);
            RemappingEntry entry = memory.path(vector.irq())
                    .known()
                    .orElseThrow()
                    .entry()
                    .known()
                    .orElseThrow()
                    .orElseThrow();
            ByteBuffer words = ByteBuffer.allocate(entry.bits() / Byte.SIZE).order(ByteOrder.nativeOrder());
            boolean wide = words.remaining() > Integer.BYTES;
            words.putInt((int) entry.low());
            if (wide) {
                words.putInt((int) (entry.low() >>> Integer.SIZE)).putLong(entry.high());
            }
            ByteBuffer message = ByteBuffer.allocate(12).order(ByteOrder.nativeOrder());
            message.putInt((int) vector.message().address())
                    .putInt(0)
                    .putInt(vector.message().data());
            boolean intel = entry.unit() == Vendor.INTEL;
            String table = intel ? "ir_table.base" : "irq_remap_table.table";
            int lowest = !intel && wide ? 8 : 2; // the byte of the vector
            try (KernelPlaces places = new KernelPlaces()) {
                List<Long> entries = places.of(place -> place.entry(vector.irq()), words.array());
                List<Long> messages = places.of(place -> place.irqfds(vector.irq()), message.array());
                assertThat(entries)
                        .as("the table's entry and the kernel's copy")
                        .hasSize(2);
                assertThat(messages).as("the irqfd's message and the route's").hasSize(2);
                // The copy is read before the table with Intel's, and after it with AMD's.
                long inTable = entries.get(intel ? 1 : 0) + lowest;
                long inCopy = entries.get(intel ? 0 : 1) + lowest;
                long toGsi = irqfd("gsi") - irqfd("irq_entry.msi.address_lo");
                planted(
                        places,
                        inTable,
                        vector.irq(),
                        table + (entry.isPostedToGuest() ? ": guest vector is " : ": host vector is "));
                planted(places, inCopy, vector.irq(), table + ": vector is ");
                planted(places, messages.get(1) + 8, vector.irq(), "kvm_kernel_irqfd.irq_entry.msi is ");
                planted(places, messages.get(0) + toGsi, vector.irq(), "kvm_kernel_irqfd.irq_entry.msi is ");
            }
        });
    }

    private static long irqfd(String member) {
        return Btf.read(FILES, "kvm")
                .then(btf -> btf.member(Btf.Kind.STRUCT, "kvm_kernel_irqfd", member))
                .known()
                .orElseThrow()
                .offset();
    }

    /** Flips the lowest bit of a byte, looks, and flips it back. */
    static void planted(KernelPlaces places, long address, HostIrq irq, String named) throws IOException {
        byte before = places.at(address);
        poke(places, address, (byte) (before ^ 1));
        Cli.Ended with = Cli.run("explain", String.valueOf(irq.number()));
        poke(places, address, before);
        System.out.println("lab-memory: planted: " + irq + ": "
                + with.out().lines().filter(line -> line.contains("doubtful")).toList());
        String text = with.out().replaceAll("\\s+", " ");
        assertThat(text).contains(" doubtful ").contains(named);
        assertThat(Cli.run("explain", String.valueOf(irq.number())).out().replaceAll("\\s+", " "))
                .doesNotContain(named);
    }

    private static void poke(KernelPlaces places, long address, byte value) throws IOException {
        System.out.printf("lab-poke:%x=%02x%n", address, value & 0xff);
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
        ByteBuffer into = ByteBuffer.allocateDirect(1 << 20);
        try (FileChannel zeros = FileChannel.open(Path.of("/dev/zero"))) {
            while (places.at(address) != value) {
                assumeTrue(System.nanoTime() < end, "only the lab writes the memory of its kernel");
                // Only while the processor is in the kernel, QEMU knows its addresses.
                zeros.read(into.clear());
            }
        }
    }

    private static void commandSaysSo(
            TestDevice of, PciAddress address, KernelPaths.KernelPath path, MsiMessage message) throws IOException {
        String number = String.valueOf(path.irq().number());
        boolean posts =
                path.entry().known().flatMap(entry -> entry).orElseThrow().isPostedToGuest();
        Cli.run("explain", number, "--no-kernel-memory"); // classes are loaded once
        long begin = System.nanoTime();
        Cli.Ended without = Cli.run("explain", number, "--no-kernel-memory");
        long between = System.nanoTime();
        Cli.Ended with = Cli.run("explain", number, "--evidence");
        long end = System.nanoTime();
        System.out.println("lab-memory: explain took " + (between - begin) / 1_000_000 + " ms, with kernel memory "
                + (end - between) / 1_000_000 + " ms");
        if (of == TestDevice.E1000E) {
            with.out().lines().forEach(line -> System.out.println("lab-memory: | " + line));
        }
        boolean paired =
                path.irqfds().known().orElseThrow().get(0).producer().isPresent(); // from 6.17, only what is posted
        if (of == TestDevice.E1000E
                && paired
                && path.entry().known().flatMap(entry -> entry).orElseThrow().unit() == Vendor.AMD) {
            assertThat(shown(posts))
                    .isNotEmpty()
                    .allSatisfy(block -> Block.assertShownExceptNumbers(block.output(), with.out()));
        }
        assertThat(without.out()).doesNotContain("kernel memory");
        assertThat(with.exitCode()).isEqualTo(without.exitCode());
        assertThat(with.out())
                .contains("from message " + message + " [observed: kernel memory, kvm_kernel_irqfd.irq_entry.msi]")
                .contains("GSI            ok ")
                .contains("[observed: kernel memory, ir")
                .doesNotContain("DIFFER");
        assertThat(Cli.run("list", "--device", address.toString()).out()).contains(posts ? "  yes" : "  no  ");
        assertThat(Cli.run("doctor", "--check", "kernel-memory").exited(0).out())
                .contains("PASS")
                .contains(" 0 differ");
    }

    /** The blocks of the pages that show such a vector. */
    private static List<Block> shown(boolean posted) throws IOException {
        List<Block> shown = new ArrayList<>();
        for (String page : List.of("README.md", "src/docs/command.md")) {
            Page.of(page).blocks().stream()
                    .filter(block -> block.kind().equals("console lab"))
                    .filter(block -> block.command().matches("kvmirq explain \\d+ --evidence"))
                    .filter(block -> block.output().contains("guest_mode  0x1") == posted)
                    .forEach(shown::add);
        }
        return shown;
    }
}
