/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.host.memory.KernelImage;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Ways in an image that changes between two looks. */
class KernelPathsTest {
    private static final HostIrq IRQ = new HostIrq(27);
    private static final int SOURCE = 0x10;
    private static final int INDEX = 24;
    /** The reads of the entry in a look: two each for the entry and for its vCPU. */
    private static final int LOOK = 4;

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    /** The paths of an image of which a word changes just before a read of the entry, the first of which is 1. */
    private KernelPaths changing(KernelImage image, int read, long address, long word) throws IOException {
        int[] reads = {0};
        long entry = image.entry(INDEX, SOURCE);
        Known<KernelStructures> memory = image.changing(directory.resolve("kcore"), entry, Integer.MAX_VALUE, file -> {
            if (++reads[0] == read) {
                file.seek(image.offset(address));
                file.writeLong(Long.reverseBytes(word));
            }
        });
        return new KernelPaths(() -> memory);
    }

    /** A vCPU that is loaded elsewhere, and each change that an operator is told of. */
    @ParameterizedTest
    @CsvSource({
        "false, entry, 0x100000005c1, 0",
        "true, entry, 0x101, 0",
        "true, entry, 0, 1",
        "true, irq_entry.msi.data, 0x52, 0",
        "true, producer, 0, 0"
    })
    void onlyChangeOfWayIsReasonToLook(boolean changed, String what, String word, int at) throws IOException {
        KernelImage image = new KernelImage("7.2", Vendor.AMD);
        long vm = image.vm(4712);
        long target = image.target(image.vcpu(vm, 0));
        long eventfd = image.eventfd(1);
        image.irq(IRQ.number(), eventfd, INDEX, SOURCE, GaIrte.guestLow(0x100, false), GaIrte.guestHigh(target, 0x51));
        MsiMessage message = MsiMessage.to(new VcpuId(0), new InterruptVector(0x51));
        long irqfd = image.irqfd(vm, eventfd, 24, IRQ.number(), message);
        Path core = image.write(directory.resolve("kcore"));
        try (KernelPaths paths = KernelPaths.open(image.files(), core)) {
            assertThat(paths.changed()).as("no way was read").isFalse();
            assertThat(paths.path(IRQ).known()).isPresent();
            assertThat(paths.changed()).isFalse();
            if (what.equals("entry")) {
                image.word(image.entry(INDEX, SOURCE) + at * 8, Long.decode(word));
            } else {
                image.put(irqfd, "kvm_kernel_irqfd", what, Long.decode(word));
            }
            image.write(core);
            assertThat(paths.changed()).as("%s is %s", what, word).isEqualTo(changed);
            paths.forget();
            assertThat(paths.path(IRQ).known()).isPresent();
            assertThat(paths.changed()).as("it was read again").isFalse();
        }
    }

    /** KVM takes an irqfd off its list, and lets the entry be remapped milliseconds later. */
    @ParameterizedTest
    @CsvSource({"1, false", "2, false", "1000, true"})
    void entryWhoseIrqfdIsJustTornDownIsLookedAtAgain(int looks, boolean stays) throws IOException {
        KernelImage image = new KernelImage("7.2", Vendor.AMD);
        long vm = image.vm(4712);
        long vcpu = image.vcpu(vm, 0);
        long eventfd = image.eventfd(1);
        long low = GaIrte.guestLow(0x100, false);
        image.irq(IRQ.number(), eventfd, INDEX, SOURCE, low, GaIrte.guestHigh(image.target(vcpu), 0x51));
        MsiMessage message = MsiMessage.to(new VcpuId(0), new InterruptVector(0x51));
        image.deassign(image.irqfd(vm, eventfd, 24, IRQ.number(), message));
        try (KernelPaths paths = changing(image, looks * LOOK + 1, image.entry(INDEX, SOURCE), 0x101)) {
            KernelPaths.KernelPath path = paths.path(IRQ).known().orElseThrow();
            assertThat(path.irqfds().known().orElseThrow()).isEmpty();
            assertThat(path.staysPosted()).isEqualTo(stays);
            assertThat(path.entry().known().orElseThrow().map(RemappingEntry::isPosted))
                    .contains(stays);
        }
    }

    /** A guest gives its interrupt another vector after the entry was read, and before its irqfd is. */
    @Test
    void entryWhoseGuestIsJustReroutedIsLookedAtAgain() throws IOException {
        KernelImage image = new KernelImage("7.2", Vendor.AMD);
        long vm = image.vm(4712);
        long target = image.target(image.vcpu(vm, 0));
        long eventfd = image.eventfd(1);
        image.irq(IRQ.number(), eventfd, INDEX, SOURCE, GaIrte.guestLow(0x100, false), GaIrte.guestHigh(target, 0x51));
        image.irqfd(vm, eventfd, 24, IRQ.number(), MsiMessage.to(new VcpuId(0), new InterruptVector(0x52)));
        try (KernelPaths paths = changing(
                image, LOOK / 2 + 1, image.entry(INDEX, SOURCE) + Long.BYTES, GaIrte.guestHigh(target, 0x52))) {
            assertThat(paths.path(IRQ)
                            .known()
                            .orElseThrow()
                            .entry()
                            .known()
                            .orElseThrow()
                            .map(RemappingEntry::vector))
                    .contains(0x52);
        }
    }

    /** KVM exchanges the table of routes, and gives each of many irqfds the copy of its route afterwards. */
    @ParameterizedTest
    @CsvSource({"1, false", "2, false", "1000, true"})
    void irqfdThatIsJustReroutedIsLookedAtAgain(int looks, boolean differs) throws IOException {
        KernelImage image = new KernelImage("7.2", Vendor.AMD);
        long eventfd = image.eventfd(1);
        image.irq(IRQ.number(), eventfd, INDEX, SOURCE, 0x2001, 0x51);
        MsiMessage message = MsiMessage.to(new VcpuId(0), new InterruptVector(0x51));
        long irqfd = image.irqfd(image.vm(4712), eventfd, 24, IRQ.number(), message);
        image.put(irqfd, "kvm_kernel_irqfd", "irq_entry.msi.data", 0x52);
        long copy = image.at(irqfd, "kvm_kernel_irqfd", "irq_entry.msi.data");
        try (KernelPaths paths = changing(image, looks * LOOK + 1, copy, 0x51)) {
            assertThat(paths.path(IRQ).known().orElseThrow().irqfds().known().orElseThrow())
                    .singleElement()
                    .matches(seen -> seen.message().equals(seen.route()) != differs);
        }
    }
}
