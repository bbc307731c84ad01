/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.EventFdId;
import io.kvmirq.Gsi;
import io.kvmirq.HostIrq;
import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.memory.RemappingEntry.Target;
import io.kvmirq.host.memory.RemappingEntry.Words;
import io.kvmirq.host.trace.Btf;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Structures in made images of a kernel's memory, where Debian's kernels have them; and memory that is not as it should be. */
class KernelStructuresTest {
    private static final int IRQ = 27;
    private static final HostIrq HOST_IRQ = new HostIrq(IRQ);
    private static final int SOURCE = 0x3b00;
    private static final int INDEXES = 509;
    private static final long VTD_LOW = 0x0000_0100_0041_0009L; // P, RH, vector 0x41, destination 0x100
    private static final long VTD_HIGH = 0x4_0000L | SOURCE;
    private static final long GA_LOW = 0x0000_0000_0000_0101L; // valid, destination 1
    private static final long GA_HIGH = 0x41;
    private static final int MOST_READS = 5000;
    private static final MsiMessage MESSAGE = MsiMessage.to(new VcpuId(1), new InterruptVector(0x52));

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    /** The state of the first vCPU. */
    private static final long STATE = 0x8000_0000_0000_0001L;

    /** Addresses of the structures that a test changes. */
    private static final class World {
        final KernelImage image;
        final Vendor unit;
        final long eventfd;
        final long desc;
        final long other;
        final long vm;
        final long irqfd;
        final long[] vcpus = new long[3];

        World(String kernel, Vendor unit) {
            image = new KernelImage(kernel, unit);
            this.unit = unit;
            eventfd = image.eventfd(12);
            boolean intel = unit == Vendor.INTEL;
            for (int other : List.of(1, 9, 26, 28, 70, 300, 4097, 4200)) {
                image.irq(other, 0, other % INDEXES, SOURCE + 1, 0, 0);
            }
            desc = image.irq(IRQ, eventfd, 5, SOURCE, intel ? VTD_LOW : GA_LOW, intel ? VTD_HIGH : GA_HIGH);
            image.target(desc, 0x41, 1);
            other = image.vm(4711);
            vm = image.vm(4712);
            image.irqfd(vm, image.eventfd(13), 23, 0, MESSAGE);
            irqfd = image.irqfd(vm, eventfd, 24, IRQ, MESSAGE);
            for (int i = 0; i < vcpus.length; i++) {
                vcpus[i] = image.vcpu(vm, 4 + i);
                image.state(vcpus[i], STATE + i);
            }
            image.finish();
        }

        /** Lets the entry of the irq post to the second vCPU. */
        World posted() {
            entry(image.target(vcpus[1]));
            image.posts(desc, irqfd, vcpus[1]);
            return this;
        }

        /** Writes a posted entry with an address that hardware posts to. */
        void entry(long target) {
            boolean intel = unit == Vendor.INTEL;
            long at = image.entry(5, SOURCE);
            image.word(at, intel ? PostedIrte.lowWord(target, 0x51) : GaIrte.guestLow(0x100, false));
            image.word(at + 8, intel ? PostedIrte.highWord(target, SOURCE, 0, 1) : GaIrte.guestHigh(target, 0x51));
        }
    }

    static Stream<Arguments> kernels() {
        return KernelImage.KERNELS.stream()
                .flatMap(kernel -> Stream.of(Vendor.values()).map(unit -> Arguments.of(kernel, unit)));
    }

    private KernelStructures open(World world) throws IOException {
        return open(world, world.image.files());
    }

    private KernelStructures open(World world, Map<String, byte[]> contents) throws IOException {
        return open(world, HostFiles.of(contents, Map.of()));
    }

    private KernelStructures open(World world, HostFiles files) throws IOException {
        Known<KernelStructures> known = KernelStructures.open(files, world.image.write(directory.resolve("kcore")));
        assertThat(known).isInstanceOf(Known.Observed.class);
        return known.known().orElseThrow();
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void entryOfAHostIrqIsThatOfItsUnit(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit);
        try (KernelStructures structures = open(world)) {
            boolean intel = unit == Vendor.INTEL;
            Words words = new Words(intel ? VTD_LOW : GA_LOW, intel ? VTD_HIGH : GA_HIGH);
            assertThat(structures.entry(HOST_IRQ).known().orElseThrow())
                    .contains(new RemappingEntry(
                            unit,
                            5,
                            SOURCE,
                            128,
                            words.low(),
                            words.high(),
                            words,
                            intel && !kernel.equals("6.1") ? Optional.of(false) : Optional.empty(),
                            false,
                            Optional.of(new Target(0x41, 1))));
            RemappingEntry entry =
                    structures.entry(HOST_IRQ).known().orElseThrow().orElseThrow();
            assertThat(entry.isPresent()).isTrue();
            assertThat(entry.isPosted()).isFalse();
            assertThat(entry.vector()).isEqualTo(0x41);
            for (int other : List.of(1, 9, 26, 28, 70, 300, 4097)) {
                assertThat(structures
                                .entry(new HostIrq(other))
                                .known()
                                .orElseThrow()
                                .orElseThrow()
                                .index())
                        .isEqualTo(other % INDEXES);
            }
            for (int none : List.of(29, 1 << 18 | 28, Integer.MAX_VALUE)) {
                assertThat(why(structures.entry(new HostIrq(none))))
                        .isEqualTo("the kernel has no descriptor for host irq " + none);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void irqfdOfAHostIrqHasItsEventfd(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit);
        KernelIrqfd mine = new KernelIrqfd(
                4712,
                new EventFdId(12),
                new Gsi(24),
                Optional.of(HOST_IRQ),
                Optional.of(MESSAGE),
                Optional.of(MESSAGE),
                1,
                false);
        try (KernelStructures structures = open(world)) {
            assertThat(structures.eventfd(HOST_IRQ).known().orElseThrow()).contains(new EventFdId(12));
            assertThat(structures.irqfds(HOST_IRQ).known().orElseThrow()).containsExactly(mine);
            assertThat(structures.irqfds().known().orElseThrow())
                    .containsExactly(
                            new KernelIrqfd(
                                    4712,
                                    new EventFdId(13),
                                    new Gsi(23),
                                    Optional.empty(),
                                    Optional.of(MESSAGE),
                                    Optional.of(MESSAGE),
                                    1,
                                    false),
                            mine);
            assertThat(structures.eventfd(new HostIrq(9)).known().orElseThrow()).isEmpty();
            assertThat(structures.irqfds(new HostIrq(9)).known().orElseThrow()).isEmpty();
        }
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void postedVcpuIsTheOneWhoseAddressTheEntryHas(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit);
        try (KernelStructures structures = open(world)) {
            assertThat(structures.posted(HOST_IRQ).known().orElseThrow())
                    .as("a remapped entry posts to no vCPU")
                    .isEmpty();
        }
        boolean hasRecord = unit == Vendor.AMD || kernel.equals("7.2");
        try (KernelStructures structures = open(world.posted())) {
            PostedVcpu posted =
                    structures.posted(HOST_IRQ).known().orElseThrow().orElseThrow();
            assertThat(posted.vcpu()).contains(new VcpuId(5));
            assertThat(posted.recorded().known())
                    .isEqualTo(hasRecord ? Optional.of(Optional.of(new VcpuId(5))) : Optional.empty());
            assertThat(posted.state()).isEqualTo(STATE + 1);
            assertThat(posted.entry())
                    .isEqualTo(structures.entry(HOST_IRQ).known().orElseThrow().orElseThrow());
        }
        world.entry(world.image.target(world.vcpus[2]) | (unit == Vendor.AMD ? 1L << 47 : 0));
        try (KernelStructures structures = open(world)) {
            PostedVcpu posted =
                    structures.posted(HOST_IRQ).known().orElseThrow().orElseThrow();
            assertThat(posted.vcpu()).contains(new VcpuId(6));
            assertThat(posted.state()).isEqualTo(STATE + 2);
            assertThat(posted.recorded().known())
                    .isEqualTo(
                            !hasRecord
                                    ? Optional.empty()
                                    : Optional.of(
                                            kernel.equals("7.2") ? Optional.of(new VcpuId(5)) : Optional.empty()));
        }
        world.entry(world.image.target(world.vcpus[2]) + 0x10_0000);
        try (KernelStructures structures = open(world)) {
            PostedVcpu posted =
                    structures.posted(HOST_IRQ).known().orElseThrow().orElseThrow();
            assertThat(posted.vcpu()).isEmpty();
            assertThat(posted.state()).isZero();
        }
    }

    /** The LAPIC of such a vCPU is emulated by its VMM. */
    @ParameterizedTest
    @MethodSource("kernels")
    void vcpuWithoutALapicInTheKernelIsLeftOut(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit);
        world.image.put(world.vcpus[1], "kvm_vcpu", "arch.apic", 0);
        try (KernelStructures structures = open(world)) {
            assertThat(vcpus(structures, unit))
                    .extracting(KernelVcpu::vcpu)
                    .containsExactly(new VcpuId(4), new VcpuId(6));
        }
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void vcpusHaveWhatIsPendingInTheirApics(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit);
        KernelImage image = world.image;
        boolean intel = unit == Vendor.INTEL;
        image.put(world.vcpus[0], "kvm_vcpu", "cpu", -1);
        image.put(world.vcpus[1], "kvm_vcpu", "cpu", 3);
        image.put(world.vm, "kvm", "arch.apicv_inhibit_reasons", 1 << 1);
        // IRR has vector 0xca, ISR vectors 0x31 and 0xff.
        image.word(image.registers(world.vcpus[1]) + 0x260, 1 << 10);
        image.word(image.registers(world.vcpus[1]) + 0x110, 1 << 17);
        image.word(image.registers(world.vcpus[1]) + 0x170, 1L << 31);
        image.put(image.word(image.at(world.vcpus[2], "kvm_vcpu", "arch.apic")), "kvm_lapic", "apicv_active", 0);
        if (intel) {
            image.word(image.stateAt(world.vcpus[1]) - 32 + 8, 1L << 0x1b | 1L << 63);
            image.state(world.vcpus[1], 0x300L << 32 | 0xf1 << 16 | 1);
            image.wakes(world.vcpus[1], image.symbol("vm_list_lock"));
            image.wakes(world.vcpus[2], image.symbol("vm_list_lock"));
            image.wakes(world.vcpus[2], 0);
        }
        try (KernelStructures structures = open(world)) {
            List<KernelVcpu> all = vcpus(structures, unit);
            assertThat(all).extracting(KernelVcpu::vcpu).containsExactly(new VcpuId(4), new VcpuId(5), new VcpuId(6));
            assertThat(all).allSatisfy(vcpu -> {
                assertThat(vcpu.thread()).isEqualTo(4712);
                assertThat(vcpu.inhibits()).containsExactly("HYPERV");
                assertThat(vcpu.avicEntry().isPresent()).isEqualTo(!intel && vcpu.active());
            });
            assertThat(all.get(1).page().known()).contains(new KernelVcpu.Page(List.of(0xca), List.of(0x31, 0xff)));
            assertThat(all.get(0).page().known()).contains(new KernelVcpu.Page(List.of(), List.of()));
            assertThat(all).extracting(KernelVcpu::active).containsExactly(true, true, false);
            assertThat(structures
                            .vcpus(Optional.of(unit), thread -> thread == 4711)
                            .known()
                            .orElseThrow())
                    .containsExactly(new Known.Observed<>(List.of()));
            if (!intel) {
                assertThat(all.get(1).avicEntry()).hasValue(STATE + 1);
                assertThat(all).allSatisfy(vcpu -> assertThat(vcpu.posted()).isEqualTo(Known.none()));
                return;
            }
            KernelVcpu.Posted posted = all.get(1).posted().known().orElseThrow();
            assertThat(posted.requested()).containsExactly(0x5b, 0x7f);
            assertThat(posted.words().control()).isEqualTo(0x300L << 32 | 0xf1 << 16 | 1);
            assertThat(posted.cpu()).isEqualTo(3);
            assertThat(posted.isListed()).isTrue();
            assertThat(all.get(0).posted().known().orElseThrow().cpu()).isEqualTo(-1);
            assertThat(all.get(0).posted().known().orElseThrow().isListed())
                    .as("a node that was never on a list points to itself")
                    .isFalse();
            assertThat(all.get(2).posted().known().orElseThrow().isListed())
                    .as("a node that was taken off a list is poisoned")
                    .isFalse();
        }
        if (intel) {
            image.word(image.symbol("vm_list_lock") + 8, image.symbol("vm_list_lock"));
            try (KernelStructures structures = open(world)) {
                assertThat(why(vcpus(structures, unit).get(1).posted()))
                        .isEqualTo("pi_wakeup_list changed while it was read");
                assertThat(structures.vcpus(Optional.empty(), thread -> true).known().orElseThrow().stream()
                                .flatMap(vm -> vm.known().orElseThrow().stream()))
                        .as("another module runs them")
                        .allMatch(vcpu -> vcpu.posted().equals(Known.none()));
            }
        }
        image.put(world.vcpus[0], "kvm_vcpu", "kvm", world.eventfd);
        try (KernelStructures structures = open(world)) {
            List<Known<List<KernelVcpu>>> vms =
                    structures.vcpus(Optional.of(unit), thread -> true).known().orElseThrow();
            assertThat(vms).as("a VM that is torn hides no other").hasSize(2);
            assertThat(vms.stream().filter(Known.Unknown.class::isInstance)).hasSize(1);
        }
    }

    private static List<KernelVcpu> vcpus(KernelStructures structures, Vendor unit) {
        return structures.vcpus(Optional.of(unit), thread -> true).known().orElseThrow().stream()
                .flatMap(vm -> vm.known().orElseThrow().stream())
                .toList();
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void vcpuThatIsNotAsTypesSayIsNotShown(String kernel, Vendor unit) throws IOException {
        World torn = new World(kernel, unit).posted();
        torn.image.put(torn.vcpus[0], "kvm_vcpu", "kvm", torn.eventfd);
        try (KernelStructures structures = open(torn)) {
            assertThat(why(structures.posted(HOST_IRQ))).isEqualTo("kvm_vcpu.kvm changed while it was read");
        }
        World many = new World(kernel, unit).posted();
        many.image.put(many.vm, "kvm", "online_vcpus", 5000);
        try (KernelStructures structures = open(many)) {
            assertThat(why(structures.posted(HOST_IRQ))).isEqualTo("kvm.online_vcpus is 5000, expected at most 4096");
        }
        World high = new World(kernel, unit).posted();
        high.image.put(high.vcpus[1], "kvm_vcpu", "vcpu_id", 8197);
        try (KernelStructures structures = open(high)) {
            assertThat(why(structures.posted(HOST_IRQ))).isEqualTo("kvm_vcpu.vcpu_id is 8197, expected at most 4095");
        }
        World moved = new World(kernel, unit).posted();
        moved.image.described("kvm", "vcpu_array", 8);
        try (KernelStructures structures = open(moved)) {
            assertThat(why(structures.posted(HOST_IRQ))).startsWith("an entry of kvm.vcpu_array is ");
        }
        World unnamed = new World(kernel, unit).posted();
        unnamed.image.withoutSymbol("page_offset_base");
        try (KernelStructures structures = open(unnamed)) {
            assertThat(why(structures.posted(HOST_IRQ))).isEqualTo("/proc/kallsyms has no symbol page_offset_base");
            assertThat(structures.entry(HOST_IRQ).known()).isPresent();
        }
        if (unit == Vendor.INTEL && !kernel.equals("6.1")) {
            World tdx = new World(kernel, unit).posted();
            tdx.image.put(tdx.vm, "kvm", "arch.vm_type", 5);
            try (KernelStructures structures = open(tdx)) {
                assertThat(why(structures.posted(HOST_IRQ))).isEqualTo("a TDX VM's vCPUs are not read");
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "6.1, DISABLED HYPERV PIT_REINJ, 0x103",
        "6.12, HYPERV PIT_REINJ, 0x202",
        "7.2, PHYSICAL_ID_TOO_BIG, 0x1000"
    })
    void inhibitsHaveTheNamesOfTheKernel(String kernel, String names, String reasons) throws IOException {
        World world = new World(kernel, Vendor.AMD);
        try (KernelStructures structures = open(world)) {
            assertThat(structures.inhibits(HOST_IRQ).known().orElseThrow()).isEmpty();
        }
        world.image.put(world.vm, "kvm", "arch.apicv_inhibit_reasons", Long.decode(reasons));
        try (KernelStructures structures = open(world)) {
            assertThat(structures.inhibits(HOST_IRQ).known().orElseThrow()).containsExactly(names.split(" "));
            assertThat(why(structures.inhibits(new HostIrq(9)))).isEqualTo("host irq 9 has no unique irqfd");
        }
        world.image.put(world.vm, "kvm", "arch.apicv_inhibit_reasons", 1L << 40);
        try (KernelStructures structures = open(world)) {
            assertThat(structures.inhibits(HOST_IRQ).known().orElseThrow()).containsExactly("40");
        }
    }

    @ParameterizedTest
    @MethodSource("kernels")
    void eachPartIsReadFromWhereItIs(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit);
        KernelImage image = world.image;
        image.word(image.entry(5, SOURCE), image.word(image.entry(5, SOURCE)) | (unit == Vendor.INTEL ? 0x8000 : 0x80));
        image.put(world.irqfd, "kvm_kernel_irqfd", "gsi", 23);
        image.put(world.irqfd, "kvm_kernel_irqfd", "resampler", world.eventfd);
        image.put(image.route(world.vm, 23), "kvm_kernel_irq_routing_entry", "msi.data", 0x53);
        try (KernelStructures structures = open(world)) {
            RemappingEntry entry =
                    structures.entry(HOST_IRQ).known().orElseThrow().orElseThrow();
            assertThat(entry.isPosted()).isTrue();
            assertThat(entry.copy().low()).isEqualTo(unit == Vendor.INTEL ? VTD_LOW : GA_LOW);
            KernelIrqfd irqfd =
                    structures.irqfds(HOST_IRQ).known().orElseThrow().get(0);
            assertThat(irqfd.gsi()).isEqualTo(new Gsi(23));
            assertThat(irqfd.resamples()).isTrue();
            assertThat(irqfd.message()).contains(MESSAGE);
            assertThat(irqfd.route()).contains(new MsiMessage(MESSAGE.address(), 0x53));
        }
    }

    @Test
    void entryOf32BitsHasOneWord() throws IOException {
        World world = new World("6.12", Vendor.AMD);
        world.image.word(world.image.symbol("amd_iommu_guest_ir"), 0);
        try (KernelStructures structures = open(world)) {
            RemappingEntry entry =
                    structures.entry(HOST_IRQ).known().orElseThrow().orElseThrow();
            // Index 5 of such a table is a part of what is index 1 of the other.
            assertThat(List.of(entry.bits(), entry.low(), entry.high(), entry.copy()))
                    .containsExactly(32, 0L, 0L, new Words(GA_LOW, 0));
        }
    }

    /** Linux 6.11 and newer may post irqs to CPUs of the host, and its first versions have no record of a vCPU. */
    @ParameterizedTest
    @CsvSource({"false, , true", "true, , false", "true, false, false", "true, true, true"})
    void postedEntryIsTheGuestsUnlessTheHostPosts(boolean hostPosts, @Nullable Boolean posts, boolean toGuest) {
        RemappingEntry entry = new RemappingEntry(
                Vendor.INTEL,
                5,
                SOURCE,
                128,
                PostedIrte.lowWord(0, 0x51),
                PostedIrte.highWord(0, SOURCE, 0, 1),
                new Words(VTD_LOW, VTD_HIGH),
                Optional.ofNullable(posts),
                hostPosts,
                Optional.empty());
        assertThat(entry.isPostedToGuest()).isEqualTo(toGuest);
    }

    // Memory that is not as it should be

    private static String why(Known<?> known) {
        assertThat(known).isInstanceOf(Known.Unknown.class);
        String why = ((Known.Unknown<?>) known).why();
        assertThat(why)
                .as("no address")
                .doesNotContainPattern("ffff|0x[0-9a-f]{8}")
                .doesNotContain("\n");
        return why;
    }

    /** The sentence for a world that a test has damaged. */
    private String entryOf(World world) throws IOException {
        try (KernelStructures structures = open(world)) {
            return why(structures.entry(HOST_IRQ));
        }
    }

    private String irqfdOf(World world) throws IOException {
        try (KernelStructures structures = open(world)) {
            return why(structures.irqfds(HOST_IRQ));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12"})
    void damagedDescriptorIsNoTruth(String kernel) throws IOException {
        World world = new World(kernel, Vendor.INTEL);
        world.image.put(world.desc, "irq_desc", "irq_data.irq", 28);
        assertThat(entryOf(world)).isEqualTo("the descriptor of host irq 27 changed while it was read");
        world = new World(kernel, Vendor.INTEL);
        world.image.put(world.image.data(world.desc, 1), "irq_data", "irq", 28);
        assertThat(entryOf(world)).isEqualTo("the chain of domains of host irq 27 changed while it was read");
        world = new World(kernel, Vendor.INTEL);
        long last = world.image.data(world.desc, 2);
        world.image.put(last, "irq_data", "parent_data", last);
        assertThat(entryOf(world)).isEqualTo("the chain of domains of host irq 27 has more than 8");
        world = new World(kernel, Vendor.INTEL);
        world.image.put(world.image.data(world.desc, 1), "irq_data", "chip_data", 0);
        assertThat(entryOf(world)).isEqualTo("irq_data.chip_data is 0, expected a pointer");
        world = new World(kernel, Vendor.INTEL);
        world.image.put(world.image.data(world.desc, 1), "irq_data", "parent_data", 0x1234);
        assertThat(entryOf(world))
                .isEqualTo("the address of a irq_data is not the address of a kernel structure, expected a pointer");
    }

    @Test
    void damagedTreeIsNoTruth() throws IOException {
        World world = new World("6.1", Vendor.INTEL);
        long root = world.image.word(world.image.symbol("irq_desc_tree") + 8) - 2;
        world.image.put(root, "xa_node", "parent", root);
        assertThat(entryOf(world)).isEqualTo("the tree of irq descriptors changed while it was read");
        world = new World("6.1", Vendor.INTEL);
        root = world.image.word(world.image.symbol("irq_desc_tree") + 8) - 2;
        world.image.put(root, "xa_node", "shift", 7);
        assertThat(entryOf(world)).isEqualTo("the tree of irq descriptors begins at bit 7, expected a multiple of 6");
        world = new World("7.2", Vendor.INTEL);
        long top = world.image.word(world.image.symbol("sparse_irqs") + 8) & ~255L;
        world.image.word(top, top);
        assertThat(entryOf(world)).isEqualTo("the maple tree of irqs changed while it was read");
        world = new World("7.2", Vendor.INTEL);
        long leaf = world.image.word(world.image.at(top, "maple_arange_64", "slot")) & ~255L;
        world.image.word(world.image.at(leaf, "maple_range_64", "pivot"), -2);
        assertThat(entryOf(world)).as("a pivot beyond the range of its parent").endsWith("changed while it was read");
        world = new World("7.2", Vendor.INTEL);
        long tree = world.image.symbol("sparse_irqs") + 8;
        world.image.word(tree, world.image.word(tree) | 0x78);
        assertThat(entryOf(world)).isEqualTo("the maple tree of irqs has a node of type 15, expected 1 to 3");
    }

    @Test
    void bitFieldThatCrossesAByteIsWhole() throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        world.image.word(world.desc, 0x2aL << 5 | 0xf81f);
        Layout layout = new Layout("struct", Map.of("field", new Btf.Member(5, 6, false)));
        try (KernelMemory memory = KernelMemory.open(world.image.write(directory.resolve("kcore")))) {
            assertThat(layout.at(memory, world.desc).number("field")).isEqualTo(0x2a);
        }
    }

    @Test
    void damagedTablesAreNoTruth() throws IOException {
        World world = new World("6.12", Vendor.AMD);
        world.image.put(world.image.chipData(world.desc, 1), "amd_ir_data", "irq_2_irte.index", 4096);
        assertThat(entryOf(world))
                .isEqualTo("amd_ir_data.irq_2_irte has device 15104 and index 4096, expected at most 65535 and less"
                        + " than 2048");
        world = new World("6.12", Vendor.AMD);
        world.image.put(world.image.chipData(world.desc, 1), "amd_ir_data", "irq_2_irte.devid", 0xffff);
        assertThat(entryOf(world))
                .isEqualTo("an element of amd_iommu_pci_seg.irq_lookup_table is 0, expected a pointer");
        world = new World("6.12", Vendor.INTEL);
        world.image.put(world.image.chipData(world.desc, 1), "intel_ir_data", "irq_2_iommu.irte_index", 65_535);
        world.image.put(world.image.chipData(world.desc, 1), "intel_ir_data", "irq_2_iommu.sub_handle", 1);
        assertThat(entryOf(world)).isEqualTo("irq_2_iommu.irte_index is 65536, expected less than 65536");
    }

    @Test
    void knottedListsAreNoTruth() throws IOException {
        World world = new World("6.1", Vendor.INTEL);
        long node = world.image.at(world.irqfd, "kvm_kernel_irqfd", "list");
        world.image.word(node, node);
        assertThat(irqfdOf(world)).isEqualTo("a VM's list of irqfds changed while it was read");
        world = new World("6.1", Vendor.INTEL);
        world.image.word(world.image.symbol("vm_list") + 8 - 8, 0);
        assertThat(irqfdOf(world)).isEqualTo("list_head.next is 0, expected a pointer");
        world = new World("6.1", Vendor.INTEL);
        world.image.put(world.irqfd, "kvm_kernel_irqfd", "kvm", world.desc);
        assertThat(irqfdOf(world)).isEqualTo("kvm_kernel_irqfd.kvm changed while it was read");
        world = new World("6.1", Vendor.INTEL);
        world.image.put(world.image.route(world.vm, 24), "kvm_kernel_irq_routing_entry", "gsi", 25);
        assertThat(irqfdOf(world)).isEqualTo("the VM's routing table changed while it was read");
        world = new World("6.1", Vendor.INTEL);
        world.image.put(world.irqfd, "kvm_kernel_irqfd", "gsi", 70_000);
        assertThat(irqfdOf(world)).isEqualTo("kvm_kernel_irqfd.gsi is 70000, expected at most 4095");
        world = new World("6.1", Vendor.INTEL);
        world.image.put(world.irqfd, "kvm_kernel_irqfd", "producer", KernelImage.HEAP + (1L << 30));
        assertThat(irqfdOf(world)).isEqualTo(directory.resolve("kcore") + " has no segment with irq_bypass_producer");
    }

    /** BTF of another kernel than the one that runs. */
    @ParameterizedTest
    @MethodSource("kernels")
    void offsetsOfAnotherKernelAreNoTruth(String kernel, Vendor unit) throws IOException {
        for (String other : KernelImage.KERNELS) {
            World world = new World(kernel, unit);
            Map<String, byte[]> contents = new KernelImage(other, unit).contents();
            contents.put("proc/kallsyms", world.image.contents().get("proc/kallsyms"));
            try (KernelStructures structures = open(world, contents)) {
                Known<List<KernelIrqfd>> irqfds = structures.irqfds();
                boolean same =
                        kernel.equals("6.1") == other.equals("6.1") && kernel.equals("7.2") == other.equals("7.2");
                if (!same) {
                    assertThat(why(irqfds)).isNotEmpty();
                } else {
                    assertThat(irqfds.known().orElseThrow()).hasSize(2);
                }
            }
        }
    }

    private static Consumer<Map<String, byte[]>> without(String file) {
        return files -> files.remove(file);
    }

    private static Consumer<Map<String, byte[]>> with(String file, String text) {
        return files -> files.put(file, text.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    private String refusal(Consumer<Map<String, byte[]>> change) throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        Map<String, byte[]> contents = world.image.contents();
        change.accept(contents);
        return why(
                KernelStructures.open(HostFiles.of(contents, Map.of()), world.image.write(directory.resolve("kcore"))));
    }

    @Test
    void hostThatHidesItsKernelSaysHow() throws IOException {
        assertThat(refusal(without("proc/kallsyms"))).isEqualTo("/proc/kallsyms cannot be read");
        String hidden = new World("6.12", Vendor.INTEL)
                .image
                .kallsyms()
                .lines()
                .map(line -> "0".repeat(16) + line.substring(16) + "\n")
                .reduce("", String::concat);
        assertThat(refusal(with("proc/kallsyms", hidden)))
                .isEqualTo("/proc/kallsyms shows all addresses as 0: this process lacks CAP_SYSLOG, or"
                        + " kernel.kptr_restrict is 2");
        assertThat(refusal(with("proc/kallsyms", "x d vm_list\n"))).startsWith("/proc/kallsyms cannot be read: ");
        assertThat(refusal(without("sys/kernel/btf/vmlinux"))).isEqualTo("/sys/kernel/btf/vmlinux does not exist");
        Path core = directory.resolve("none");
        HostFiles files = new World("6.12", Vendor.INTEL).image.files();
        assertThat(why(KernelStructures.open(files, core))).isEqualTo(core + " cannot be read: no such file");
        Files.createFile(core);
        assertThat(why(KernelStructures.open(files, core)))
                .isEqualTo(core + " cannot be read: it is empty, as in a container");
        Files.writeString(core, "no ELF".repeat(20));
        assertThat(why(KernelStructures.open(files, core)))
                .isEqualTo(core + " cannot be read: it is not a 64-bit ELF core file");
    }

    @Test
    void partThatIsMissingLeavesTheOthers() throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        Map<String, byte[]> contents = world.image.contents();
        contents.remove("sys/kernel/btf/kvm");
        try (KernelStructures structures = open(world, contents)) {
            assertThat(structures.entry(HOST_IRQ).known()).isPresent();
            assertThat(structures.eventfd(HOST_IRQ).known()).isPresent();
            assertThat(why(structures.irqfds(HOST_IRQ))).isEqualTo("this kernel has no struct kvm with vm_list");
        }
        world.image.withoutSymbol("sparse_irqs").withoutSymbol("vm_list");
        try (KernelStructures structures = open(world)) {
            assertThat(why(structures.entry(HOST_IRQ))).isEqualTo("/proc/kallsyms has no symbol irq_desc_tree");
            assertThat(why(structures.irqfds())).isEqualTo("/proc/kallsyms has no symbol vm_list");
        }
    }

    @Test
    void symbolsOfOneNameAreAmbiguous() throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        Map<String, byte[]> contents = world.image.contents();
        with("proc/kallsyms", world.image.kallsyms() + "ffffffff82000040 d vm_list\t[other]\n")
                .accept(contents);
        try (KernelStructures structures = open(world, contents)) {
            assertThat(why(structures.irqfds())).isEqualTo("/proc/kallsyms has two symbols named vm_list");
        }
        String twice = world.image.kallsyms() + world.image.kallsyms();
        with("proc/kallsyms", twice).accept(contents);
        try (KernelStructures structures = open(world, contents)) {
            assertThat(structures.irqfds().known()).as("of one address").isPresent();
        }
    }

    private static void write(RandomAccessFile file, World world, long address, long value) throws IOException {
        file.seek(world.image.offset(address));
        file.writeLong(Long.reverseBytes(value));
    }

    private static long data(KernelImage image, World world, int gsi) {
        return image.at(image.route(world.vm, gsi), "kvm_kernel_irq_routing_entry", "msi.data");
    }

    private static void half(RandomAccessFile file, World world, long address, int value) throws IOException {
        file.seek(world.image.offset(address));
        file.writeInt(Integer.reverseBytes(value));
    }

    /** Memory in which a byte changes before some of the reads that have it. */
    private KernelStructures changing(World world, long address, int reads) throws IOException {
        return changing(world, address, reads, file -> {
            file.seek(world.image.offset(address));
            int value = file.read();
            file.seek(world.image.offset(address));
            file.write(value ^ 1);
        });
    }

    private KernelStructures changing(World world, long address, int reads, KernelImage.Change change)
            throws IOException {
        return world.image
                .changing(directory.resolve("kcore"), address, reads, change)
                .known()
                .orElseThrow();
    }

    @Test
    void structureThatChangesIsReadAgain() throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        long chipData = world.image.chipData(world.desc, 1);
        long word = world.image.at(chipData, "intel_ir_data", "irte_entry");
        for (int reads : List.of(0, 2, 4)) {
            try (KernelStructures structures = changing(world, word, reads)) {
                assertThat(structures.entry(HOST_IRQ).known().orElseThrow().map(RemappingEntry::copy))
                        .contains(new Words(VTD_LOW, VTD_HIGH));
            }
        }
        try (KernelStructures structures = changing(world, word, 100)) {
            assertThat(why(structures.entry(HOST_IRQ))).isEqualTo("intel_ir_data changed while it was read");
        }
    }

    /** Loaded and put, as a vCPU that sleeps and wakes: each change is seen by one read, and four reads are a try. */
    @ParameterizedTest
    @MethodSource("kernels")
    void vcpuThatChangesUnderTheWalkIsReadAgain(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit).posted();
        long state = world.image.stateAt(world.vcpus[1]);
        for (int reads : List.of(2, 4, 8)) {
            try (KernelStructures structures = changing(world, state, reads)) {
                assertThat(structures.posted(HOST_IRQ).known().orElseThrow().map(PostedVcpu::state))
                        .contains(STATE + 1);
            }
        }
        try (KernelStructures structures = changing(world, state, 12)) {
            assertThat(why(structures.posted(HOST_IRQ)))
                    .isEqualTo((unit == Vendor.INTEL
                                    ? "pi_desc.control"
                                    : kernel.equals("7.2") ? "vcpu_svm" : "vcpu_svm.avic_physical_id_cache")
                            + " changed while it was read");
        }
    }

    /** A new vector between the entry's reading and that of its vCPU, which each agree with themselves. */
    @ParameterizedTest
    @MethodSource("kernels")
    void entryThatChangesWhileItsVcpuIsReadIsReadAgain(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit).posted();
        long entry = world.image.entry(5, SOURCE);
        long vector = world.image.offset(entry) + (unit == Vendor.INTEL ? 2 : 8);
        for (int changes = 0; changes <= 3; changes++) {
            int last = changes;
            int[] reads = {0};
            try (KernelStructures structures = changing(world, entry, Integer.MAX_VALUE, file -> {
                if (reads[0] % 4 == 2 && reads[0] / 4 < last) {
                    file.seek(vector);
                    file.write(0x61 + reads[0] / 4);
                }
                reads[0]++;
            })) {
                Known<Optional<PostedVcpu>> posted = structures.posted(HOST_IRQ);
                if (changes == 3) {
                    assertThat(why(posted)).isEqualTo("the entry of host irq 27 changed while it was read");
                } else {
                    assertThat(posted.known()
                                    .orElseThrow()
                                    .orElseThrow()
                                    .entry()
                                    .vector())
                            .isEqualTo(changes == 0 ? 0x51 : 0x60 + changes);
                }
            }
        }
    }

    /** KVM writes IsRun into the vCPU's own entry before it writes it into the IOMMU's. */
    @ParameterizedTest
    @CsvSource({"6.1, 1, false", "7.2, 1, false", "7.2, 5, false", "7.2, 6, true"})
    void vcpuThatIsPutBetweenTwoReadsRunsInNeither(String kernel, int looks, boolean alone) throws IOException {
        World world = new World(kernel, Vendor.AMD).posted();
        long entry = world.image.entry(5, SOURCE);
        long put = world.image.word(entry);
        world.image.word(entry, put | GaIrte.IS_RUN.mask());
        int[] reads = {0};
        try (KernelStructures structures = changing(world, entry, Integer.MAX_VALUE, file -> {
            if (reads[0] == 4 * looks) {
                write(file, world, entry, put);
            }
            reads[0]++;
        })) {
            assertThat(structures
                            .posted(HOST_IRQ)
                            .known()
                            .orElseThrow()
                            .orElseThrow()
                            .runsInTheTableAlone())
                    .isEqualTo(alone);
        }
    }

    @Test
    void walkUnderWhichAListChangesBeginsAgain() throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        // Bit 0 of the owner: both reads of the irqfd agree on the wrong one.
        try (KernelStructures structures = changing(world, world.irqfd, 1)) {
            assertThat(why(structures.irqfds(HOST_IRQ))).isEqualTo("kvm_kernel_irqfd.kvm changed while it was read");
            assertThat(structures.entry(HOST_IRQ).known()).isPresent();
        }
        try (KernelStructures structures = changing(world, world.irqfd, 4)) {
            assertThat(structures.irqfds(HOST_IRQ).known().orElseThrow()).hasSize(1);
        }
    }

    /** KVM lists a VM before it knows its thread, and frees one after it has left the list. */
    @ParameterizedTest
    @ValueSource(ints = {0x6b6b6b6b, 5000})
    void vmThatComesOrGoesSpoilsNothingOfOthers(int garbage) throws IOException {
        World world = new World("6.12", Vendor.AMD);
        KernelImage image = world.image;
        long thread = image.at(world.vm, "kvm", "userspace_pid");
        long gone = image.at(world.vm, "kvm", "vm_list");
        long left = image.at(world.other, "kvm", "vm_list");
        long head = image.symbol("vm_list");
        long[][] words = {
            {head + 8, left}, {left, head}, {gone, 0xdead_0000_0000_0100L}, {gone + 8, 0xdead_0000_0000_0122L}
        };
        try (KernelStructures structures = changing(world, thread, 1, file -> {
            for (long[] word : words) {
                write(file, world, word[0], word[1]);
            }
            write(file, world, thread, garbage);
        })) {
            assertThat(structures.inhibits().known()).contains(Map.of(4711, List.of()));
        }
        image.put(world.other, "kvm", "userspace_pid", 0);
        try (KernelStructures structures = open(world)) {
            assertThat(structures.inhibits().known()).contains(Map.of(4712, List.of()));
            assertThat(structures.irqfds().known().orElseThrow()).hasSize(2);
        }
    }

    /** KVM replaces the routes before it gives the irqfd a copy of its new one, and a VMM may assign the irqfd to another GSI. */
    @ParameterizedTest
    @CsvSource({"route, 1, false", "route, 1000, true", "gsi, 1, false", "gsi, 1000, true"})
    void irqfdThatIsReroutedWhileItIsReadDiffersInNothing(String what, int changes, boolean torn) throws IOException {
        World world = new World("6.12", Vendor.AMD);
        KernelImage image = world.image;
        long table = image.at(
                image.word(image.at(world.vm, "kvm", "irq_routing")), "kvm_irq_routing_table", "nr_rt_entries");
        long copy = image.at(world.irqfd, "kvm_kernel_irqfd", "irq_entry.msi.data");
        long gsi = image.at(world.irqfd, "kvm_kernel_irqfd", "gsi");
        int[] reads = {0};
        // After the irqfd was read and before its route is; two reads of the table are one look.
        try (KernelStructures structures = changing(world, table, Integer.MAX_VALUE, file -> {
            int change = reads[0] / 2;
            if (reads[0] % 2 == 0 && change < changes) {
                boolean moves = what.equals("gsi");
                int of = moves ? 23 + change % 2 : 24;
                int data = moves ? MESSAGE.data() : 0x60 + change % 2;
                half(file, world, data(image, world, of), data);
                half(file, world, data(image, world, 47 - of), data ^ 1);
                half(file, world, copy, data);
                half(file, world, gsi, of);
            }
            reads[0]++;
        })) {
            Known<List<KernelIrqfd>> irqfds = structures.irqfds(HOST_IRQ);
            if (torn) {
                assertThat(why(irqfds)).isEqualTo("kvm_kernel_irqfd.gsi or its route changed while it was read");
            } else {
                KernelIrqfd irqfd = irqfds.known().orElseThrow().get(0);
                assertThat(irqfd.message()).isEqualTo(irqfd.route());
                assertThat(irqfd.gsi()).isEqualTo(new Gsi(what.equals("gsi") ? 23 : 24));
            }
        }
    }

    /** VFIO frees a producer after it has left the irqfd. */
    @Test
    void producerThatIsFreedIsNotShown() throws IOException {
        World world = new World("6.12", Vendor.AMD);
        long pair = world.image.at(world.irqfd, "kvm_kernel_irqfd", "producer");
        long irq = world.image.at(world.image.word(pair), "irq_bypass_producer", "irq");
        try (KernelStructures structures = changing(world, irq, 1, file -> {
            write(file, world, irq, 31);
            write(file, world, pair, 0);
        })) {
            assertThat(structures.irqfds(HOST_IRQ).known().orElseThrow())
                    .extracting(KernelIrqfd::producer)
                    .containsExactly(Optional.empty());
        }
    }

    /** A deassigned irqfd keeps its content, and points to itself, until its memory is in other use. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void deassignedIrqfdIsNotShown(boolean inOtherUse) throws IOException {
        World world = new World("6.1", Vendor.AMD);
        KernelImage image = world.image;
        Path core = image.write(directory.resolve("kcore"));
        long node = image.at(world.irqfd, "kvm_kernel_irqfd", "list");
        long head = image.at(world.vm, "kvm", "irqfds.items");
        long before = image.word(node + 8);
        try (RandomAccessFile file = new RandomAccessFile(core.toFile(), "rw");
                KernelStructures structures =
                        KernelStructures.open(image.files(), core).known().orElseThrow()) {
            assertThat(structures.irqfds(HOST_IRQ).known().orElseThrow()).hasSize(1);
            long own = inOtherUse ? 5 : node;
            long[][] words = {{before, head}, {head + 8, before}, {node, own}, {node + 8, own}};
            for (long[] word : words) {
                write(file, world, word[0], word[1]);
            }
            assertThat(structures.irqfds(HOST_IRQ).known().orElseThrow()).isEmpty();
        }
    }

    /** As when a module is loaded: its memory has a segment of its own from then on. */
    @Test
    void segmentsAreReadAgainForANewAddress() throws IOException {
        World world = new World("6.12", Vendor.INTEL);
        Path core = world.image.write(directory.resolve("kcore"));
        try (RandomAccessFile file = new RandomAccessFile(core.toFile(), "rw")) {
            file.seek(0x38);
            file.write(2);
            try (KernelStructures structures =
                    KernelStructures.open(world.image.files(), core).known().orElseThrow()) {
                assertThat(why(structures.entry(HOST_IRQ))).endsWith(" has no segment with maple_node.parent");
                file.seek(0x38);
                file.write(3);
                assertThat(structures.entry(HOST_IRQ).known()).isPresent();
            }
        }
    }

    /** Memory whose reads are counted, and of which a page may be missing. */
    private static final class Damaged implements KernelMemory.Source {
        private static final int PAGE = 4096;

        private final byte[] whole;
        private final byte[] bytes;
        private final Random random;
        private final List<Integer> changed = new ArrayList<>();
        long missing = -1;
        boolean refuses;
        int reads;

        Damaged(byte[] bytes, Random random) {
            whole = bytes.clone();
            this.bytes = bytes;
            this.random = random;
        }

        @Override
        public int read(ByteBuffer into, long position) throws IOException {
            reads++;
            int length = (int) Math.min(into.remaining(), bytes.length - position);
            boolean isMissing = position / PAGE == missing || (position + length - 1) / PAGE == missing;
            if (isMissing && refuses) {
                throw new IOException("Bad address");
            }
            into.put(isMissing ? new byte[length] : Arrays.copyOfRange(bytes, (int) position, (int) position + length));
            return length;
        }

        /** Flips a bit of a structure, puts a pointer to another one there, or ties a knot into a list. */
        void change(World world) {
            boolean knot = random.nextInt(3) == 0;
            int at = (int) world.image.offset(knot ? node(world, random) : target(world, random));
            at += knot ? Long.BYTES * random.nextInt(2) : random.nextInt(512);
            changed.add(at & -Long.BYTES);
            if (!knot && random.nextBoolean()) {
                bytes[at] ^= (byte) (1 << random.nextInt(Byte.SIZE));
            } else {
                ByteBuffer.wrap(bytes)
                        .order(ByteOrder.nativeOrder())
                        .putLong(at & -Long.BYTES, knot ? node(world, random) : target(world, random));
            }
        }

        void mend() {
            changed.forEach(at -> System.arraycopy(whole, at, bytes, at, Long.BYTES));
            changed.clear();
            missing = -1;
        }
    }

    /** Bits flipped, pages missing and lists knotted: each answer is a value or one sentence, after a bounded walk. */
    @ParameterizedTest
    @MethodSource("kernels")
    void damagedMemoryEndsInASentenceOrAValue(String kernel, Vendor unit) throws IOException {
        World world = new World(kernel, unit).posted();
        Random random = new Random(Integer.getInteger("kvmirq.test.memory.seed", 71));
        Damaged memory = new Damaged(Files.readAllBytes(world.image.write(directory.resolve("kcore"))), random);
        Map<String, Integer> sentences = new TreeMap<>();
        int max = 0;
        int rounds = Integer.getInteger("kvmirq.test.memory.rounds", 300);
        try (KernelStructures structures = KernelStructures.open(
                        world.image.files(), () -> KernelMemory.open("/proc/kcore", memory, () -> {}))
                .known()
                .orElseThrow()) {
            for (int round = 0; round < rounds; round++) {
                for (int left = random.nextInt(8); left >= 0; left--) {
                    memory.change(world);
                }
                if (random.nextInt(4) == 0) {
                    memory.missing = world.image.offset(target(world, random)) / Damaged.PAGE;
                    memory.refuses = random.nextBoolean();
                }
                for (Supplier<Known<?>> question : List.<Supplier<Known<?>>>of(
                        () -> structures.entry(HOST_IRQ),
                        () -> structures.eventfd(HOST_IRQ),
                        () -> structures.irqfds(HOST_IRQ),
                        () -> structures.posted(HOST_IRQ),
                        () -> structures.inhibits(HOST_IRQ),
                        () -> structures.inhibits(),
                        structures::irqfds)) {
                    memory.reads = 0;
                    if (question.get() instanceof Known.Unknown<?> unknown) {
                        sentences.merge(why(unknown).replaceAll("-?[0-9]+", "N"), 1, Integer::sum);
                    }
                    max = Math.max(max, memory.reads);
                }
                memory.mend();
            }
            assertThat(structures.irqfds(HOST_IRQ).known().orElseThrow()).hasSize(1);
        }
        System.out.println("memory: " + kernel + " " + unit + ": " + rounds + " rounds, " + sentences.size()
                + " sentences, " + max + " reads at most");
        assertThat(sentences).hasSizeGreaterThan(5).allSatisfy((sentence, count) -> assertThat(sentence)
                .doesNotContain("\n")
                .doesNotContainPattern("ffff[0-9a-fN]{8}")
                .hasSizeBetween(10, 200));
        assertThat(max).as("reads for an answer").isLessThan(MOST_READS);
    }

    /** A node of a list. */
    private static long node(World world, Random random) {
        KernelImage image = world.image;
        return switch (random.nextInt(6)) {
            case 5 ->
                world.unit == Vendor.AMD
                        ? image.at(world.vcpus[1], "vcpu_svm", "ir_list")
                        : image.at(world.vm, "kvm", "vcpu_array");
            case 0 -> image.symbol("vm_list");
            case 1 -> image.at(world.vm, "kvm", "vm_list");
            case 2 -> image.at(world.vm, "kvm", "irqfds.items");
            case 3 -> image.at(world.irqfd, "kvm_kernel_irqfd", "list");
            default -> image.at(image.route(world.vm, 24), "kvm_kernel_irq_routing_entry", "link");
        };
    }

    private static long target(World world, Random random) {
        KernelImage image = world.image;
        return switch (random.nextInt(8)) {
            case 6 -> world.vcpus[random.nextInt(world.vcpus.length)];
            case 7 -> image.at(world.vcpus[1], "kvm_vcpu", "arch.apic");
            case 0 -> world.desc;
            case 1 -> world.irqfd;
            case 2 -> image.data(world.desc, 1 + random.nextInt(2));
            case 3 -> image.chipData(world.desc, 1 + random.nextInt(2));
            case 4 -> image.at(world.vm, "kvm", "irqfds.items");
            default -> image.route(world.vm, 24);
        };
    }

    @Test
    void hostWith100GuestsIsRead() throws IOException {
        KernelImage image = new KernelImage("7.2", Vendor.INTEL, 48 << 20);
        int irq = 100;
        for (int vm = 0; vm < 100; vm++) {
            long owner = image.vm(1000 + vm);
            long[] vcpus = new long[8];
            for (int i = 0; i < vcpus.length; i++) {
                vcpus[i] = image.vcpu(owner, i);
            }
            for (int vector = 0; vector < 64; vector++) {
                long eventfd = image.eventfd(irq);
                long target = image.target(vcpus[vector % 8]);
                image.irq(
                        irq, eventfd, irq, vm, PostedIrte.lowWord(target, 0x51), PostedIrte.highWord(target, vm, 0, 1));
                image.irqfd(owner, eventfd, 24 + vector, irq, MESSAGE);
                irq++;
            }
        }
        Path core = image.write(directory.resolve("kcore"));
        HostFiles files = image.files();
        ThreadMXBean clock = ManagementFactory.getThreadMXBean();
        long begin = clock.getCurrentThreadCpuTime();
        try (KernelStructures structures =
                KernelStructures.open(files, core).known().orElseThrow()) {
            for (int vector = 0; vector < 64; vector++) {
                HostIrq hostIrq = new HostIrq(100 + 64 * 50 + vector);
                assertThat(structures
                                .posted(hostIrq)
                                .known()
                                .orElseThrow()
                                .orElseThrow()
                                .vcpu())
                        .contains(new VcpuId(vector % 8));
                assertThat(structures.irqfds(hostIrq).known().orElseThrow())
                        .extracting(KernelIrqfd::thread)
                        .containsExactly(1050);
            }
            long first = clock.getCurrentThreadCpuTime() - begin;
            assertThat(structures.irqfds().known().orElseThrow()).hasSize(6400);
            System.out.println("memory of 100 VMs with 64 vectors: the chains of one VM in " + first / 1_000_000
                    + " ms of CPU time, all irqfds in " + (clock.getCurrentThreadCpuTime() - begin - first) / 1_000_000
                    + " ms");
        }
    }
}
