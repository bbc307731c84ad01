/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.screens.MemoryEvidence;
import io.kvmirq.diag.screens.Watcher;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.StillHost;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.host.memory.KernelImage;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Chains of hosts whose files show no irqfds, from made images of their kernel's memory; and drift that is planted there. */
class MemoryChainsTest {
    private static final int FIRST_IRQ = 27;
    private static final int VECTORS = 5;
    private static final int GUEST_VECTOR = 0x51;
    private static final int HOST_VECTOR = 0x31;
    private static final int PROCESS = 100;
    private static final long NOTIFIES = 0xf2L << 16;

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path temporary;

    /** A recorded host, and the memory of its kernel: five vectors, each with an eventfd, an irqfd and an entry. */
    private class Host implements StillHost {
        final RecordedHost files;
        final String device;
        final KernelImage image;
        final int source;
        final long[] descs = new long[VECTORS];
        final long[] irqfds = new long[VECTORS];
        final long vm;
        final long[] vcpus = new long[2];
        final int tag;

        Host(String name, String kernel, boolean posted) throws IOException {
            files = GuestHosts.of(name);
            boolean intel = name.startsWith("intel");
            device = intel ? "0000:00:01.0" : "0000:00:02.0";
            source = intel ? 8 : 0x10;
            tag = (int) (kernel.equals("7.2") ? GaTag.VM : GaTag.VM_6_1).with(1);
            image = new KernelImage(kernel, intel ? Vendor.INTEL : Vendor.AMD);
            vm = image.vm(PROCESS);
            for (int i = 0; i < vcpus.length; i++) {
                vcpus[i] = image.vcpu(vm, i);
                image.state(vcpus[i], intel ? NOTIFIES : 1L << 63);
            }
            for (int i = 0; i < VECTORS; i++) {
                long eventfd = image.eventfd(i + 1);
                descs[i] = image.irq(
                        FIRST_IRQ + i, eventfd, 24 + i, source, low(intel, posted, i), high(intel, posted, i));
                image.target(descs[i], HOST_VECTOR + i, 1);
                if (intel && posted) {
                    // The kernel's copy keeps the remapped form.
                    image.word(
                            image.at(image.chipData(descs[i], 1), "intel_ir_data", "irte_entry"), low(true, false, i));
                    if (!kernel.equals("6.1")) {
                        image.put(image.chipData(descs[i], 1), "intel_ir_data", "irq_2_iommu.posted_vcpu", 1);
                    }
                    image.word(
                            image.at(image.chipData(descs[i], 1), "intel_ir_data", "irte_entry") + 8,
                            high(true, false, i));
                }
                irqfds[i] = image.irqfd(
                        vm,
                        eventfd,
                        24 + i,
                        FIRST_IRQ + i,
                        MsiMessage.to(new VcpuId(i % 2), new InterruptVector(GUEST_VECTOR + i)));
                if (posted) {
                    image.posts(descs[i], irqfds[i], vcpus[i % 2]);
                }
            }
            image.finish();
        }

        private long low(boolean intel, boolean posted, int i) {
            if (intel) {
                return posted
                        ? PostedIrte.lowWord(image.target(vcpus[i % 2]), GUEST_VECTOR + i)
                        : 0x100_0000_0009L | (long) (HOST_VECTOR + i) << 16;
            }
            return posted ? GaIrte.guestLow(tag + i % 2, true) : 0x101;
        }

        private long high(boolean intel, boolean posted, int i) {
            if (intel) {
                return posted
                        ? PostedIrte.highWord(image.target(vcpus[i % 2]), source, 0, 1)
                        : PostedIrte.highWord(0, source, 0, 1);
            }
            return posted ? GaIrte.guestHigh(image.target(vcpus[i % 2]), GUEST_VECTOR + i) : HOST_VECTOR + i;
        }

        Host with(Consumer<Host> change) {
            change.accept(this);
            return this;
        }

        @Override
        public HostFiles files() {
            return files.tree();
        }

        @Override
        public KernelPaths memory() {
            try {
                return KernelPaths.open(image.files(), image.write(temporary.resolve("kcore")));
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        Cli.Ended run(String command, String... words) throws IOException {
            List<String> all = new ArrayList<>(
                    List.of(command, "--from", files.archive(temporary).toString()));
            all.addAll(List.of(words));
            return Watched.run(this, all.toArray(String[]::new));
        }
    }

    @ParameterizedTest
    @CsvSource({
        "amd-avic, 7.2, true, posted",
        "amd-avic, 6.12, false, remapped",
        "intel-posted, 6.12, true, posted",
        "intel-without-pi, 6.1, false, remapped"
    })
    void textIsAsRecorded(String name, String kernel, boolean posted, String form) throws IOException {
        Host host = new Host(name, kernel, posted);
        host.files.remove("sys/kernel/debug/iommu");
        Cli.Ended printed = host.run("explain", host.device, "0", "--evidence");
        String golden = "explain-memory-" + name.substring(0, name.indexOf('-')) + "-" + form + ".txt";
        assertThat(printed.out()).isEqualTo(Recorded.text(MemoryChainsTest.class, golden, printed.out()));
        assertThat(printed.err()).isEmpty();
        // The host of the second could post, and does not.
        assertThat(printed.exitCode()).isEqualTo(name.equals("amd-avic") && !posted ? 17 : ExitCode.OK);
        assertThat(printed.out()).doesNotContain("DIFFER").contains("AGREE", "UNOBSERVABLE", "kernel memory, kvm_");
        assertThat(host.run("explain", host.device, "0", "--no-kernel-memory").out())
                .doesNotContain("kernel memory");
        String list = host.run("list", "--device", host.device).exited(0).out();
        assertThat(list.lines()
                        .filter(line -> line.contains(posted ? "  yes" : "  no  "))
                        .count())
                .as(list)
                .isEqualTo(VECTORS);
        assertThat(list).contains("0x55").doesNotContain("yes?").doesNotContain("no?");
    }

    /** The VMM shows one eventfd alone, and the handler signals another. */
    @Test
    void filesAndMemoryThatDifferAreInDoubt() throws IOException {
        Host host = new Host("amd-avic", "7.2", true);
        for (int fd : List.of(20, 22, 23, 24)) {
            host.files.remove("proc/100/fd/" + fd).remove("proc/100/fdinfo/" + fd);
        }
        assertThat(host.run("explain", host.device, "0").out().replaceAll("\\s+", " "))
                .contains(
                        " eventfd doubtful id 1: sources disagree: id 2 [inferred: it is the only eventfd of process 100],"
                                + " but id 1 [observed: kernel memory, irqaction.dev_id]; one describes another"
                                + " interrupt");
        assertThat(host.run("explain", host.device, "1").out()).doesNotContain("doubtful");
    }

    private static long entry(Host host, int vector) {
        return host.image.entry(24 + vector, host.source);
    }

    /** Lets the entry of vector 3, and the kernel's copy, post to a page. */
    private static void page(Host host, long target) {
        long copy = host.image.word(host.image.at(host.image.chipData(host.descs[3], 1), "amd_ir_data", "entry"));
        host.image.word(copy + 8, GaIrte.guestHigh(target, GUEST_VECTOR + 3));
        host.image.word(entry(host, 3) + 8, GaIrte.guestHigh(target, GUEST_VECTOR + 3));
    }

    private static void flip(Host host, long address, int bit) {
        host.image.word(address, host.image.word(address) ^ 1L << bit);
    }

    /** One drift: the hop that it is a flaw of, and the sentence that names its field. */
    private void drifts(Host host, Consumer<Host> drift, String hop, String sentence) throws IOException {
        Cli.Ended printed = host.with(drift).run("explain", host.device, "3", "--evidence");
        String text = printed.out().replaceAll("\\s+", " ");
        assertThat(text).contains(" " + hop + " doubtful ").contains(sentence);
        assertThat(text).contains("DIFFER " + sentence.substring(0, sentence.indexOf(" is ")));
        assertThat(host.run("explain", host.device, "2").out()).doesNotContain("doubtful");
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(List.of(finding.status(), finding.reason())).containsExactly(Finding.Status.WARN, "differs");
        }
    }

    @ParameterizedTest
    @CsvSource({"6.1", "6.12", "7.2"})
    void plantedDriftIsNamedByItsField(String kernel) throws IOException {
        drifts(
                new Host("amd-avic", kernel, true),
                host -> flip(host, entry(host, 3), 6),
                "host irq",
                "irq_remap_table.table: vCPU's IsRun is 0x1, expected 0x0 (written by avic_vcpu_put()");
        drifts(
                new Host("amd-avic", kernel, true),
                host -> flip(host, entry(host, 3) + 8, 12),
                "host irq",
                "irq_remap_table.table: ga_root_ptr is another address, expected the address in the kernel's copy");
        drifts(
                new Host("intel-without-pi", kernel, false),
                host -> flip(host, entry(host, 3), 16),
                "host irq",
                "ir_table.base: vector is 0x35, expected 0x34 (written by modify_irte(), from intel_ir_data.irte_entry)");
        drifts(
                new Host("intel-without-pi", kernel, false),
                host -> flip(
                        host,
                        host.image.at(host.image.chipData(host.descs[3], 1), "intel_ir_data", "irte_entry") + 8,
                        0),
                "host irq",
                "ir_table.base: sid is 0x8, expected 0x9");
        drifts(
                new Host("intel-without-pi", kernel, false),
                host -> host.image.target(host.descs[3], HOST_VECTOR + 3, 2),
                "host irq",
                "ir_table.base: host APIC id is 0x100, expected 0x2 (written by the kernel's vector domain");
        drifts(
                new Host("intel-posted", kernel, true),
                host -> flip(host, entry(host, 3), 17),
                "host irq",
                "ir_table.base: guest vector is 0x56, expected 0x54 (written by KVM");
        drifts(
                new Host("amd-avic", kernel, true),
                host -> page(host, host.image.target(host.vcpus[0]) ^ 1 << 30),
                "host irq",
                "irq_remap_table.table: vCPU of the backing page is none, expected "
                        + (kernel.equals("7.2") ? "vCPU 1" : "a vCPU of the VM"));
        drifts(
                new Host("amd-avic", kernel, true),
                host -> page(host, host.image.target(host.vcpus[0])),
                "host irq",
                "irq_remap_table.table: vCPU of the backing page is vCPU 0, expected "
                        + (kernel.equals("7.2")
                                ? "vCPU 1 (written by KVM, with kvm_kernel_irqfd.irq_bypass_vcpu)"
                                : "none (written by KVM, with vcpu_svm.ir_list)"));
        drifts(
                new Host("intel-posted", kernel, true),
                host -> flip(host, entry(host, 3), 50),
                "host irq",
                "ir_table.base: vCPU of the descriptor is none, expected "
                        + (kernel.equals("7.2") ? "vCPU 1" : "a vCPU of the VM"));
        drifts(
                new Host("intel-posted", kernel, true),
                host -> host.image.state(host.vcpus[1], NOTIFIES ^ 1 << 16),
                "host irq",
                "pi_desc.nv is 0xf3, expected 0xf2 (written by vmx_vcpu_pi_load()");
        drifts(
                new Host("amd-avic", kernel, true),
                host -> host.image.put(host.image.route(host.vm, 27), "kvm_kernel_irq_routing_entry", "msi.data", 0x77),
                "GSI",
                "kvm_kernel_irqfd.irq_entry.msi is msi 0xfee01000/0x54, expected msi 0xfee01000/0x77");
        drifts(
                new Host("amd-avic", kernel, true),
                host -> host.image.put(host.irqfds[3], "kvm_kernel_irqfd", "gsi", 28),
                "GSI",
                "kvm_kernel_irqfd.irq_entry.msi is msi 0xfee01000/0x54, expected msi 0xfee00000/0x55");
        drifts(
                new Host("amd-avic", kernel, true),
                host -> host.image.put(
                        host.image.word(host.image.at(host.irqfds[3], "kvm_kernel_irqfd", "producer")),
                        "irq_bypass_producer",
                        "irq",
                        31),
                "irqfd",
                "irq_bypass_producer.irq is 31, expected 30");
    }

    /** NDST of CPU 1: bits 15:8 in xAPIC mode, the plain id in x2APIC mode. */
    @ParameterizedTest
    @ValueSource(longs = {0x100, 1})
    void ndstOfEitherModeIsNoDifference(long ndst) throws IOException {
        Host host = new Host("intel-posted", "6.1", true)
                .with(changed ->
                        changed.image.state(changed.vcpus[1], PostedInterruptDescriptor.NDST.put(NOTIFIES, ndst)));
        assertThat(host.run("explain", host.device, "3", "--evidence").out())
                .doesNotContain("DIFFER", "doubtful")
                .contains("pi_desc.nv");
    }

    @ParameterizedTest
    @CsvSource({"6.1, 8", "6.12, 9", "7.2, 9"})
    void inhibitOfTheVmSaysWhyItsEntryIsRemapped(String kernel, int bit) throws IOException {
        Host host = new Host("amd-avic", kernel, false);
        host.image.put(host.vm, "kvm", "arch.apicv_inhibit_reasons", 1L << bit);
        assertThat(host.run("explain", host.device, "3").out().replaceAll("\\s+", " "))
                .contains("can be posted no AVIC is inhibited (PIT_REINJ) and the entry stays remapped because the PIT"
                        + " reinjects lost ticks")
                .contains("observed: kernel memory, kvm_arch.apicv_inhibit_reasons", "lost_tick_policy=discard");
    }

    /** IRQWIN ends when the guest takes an interrupt of the PIC. */
    @Test
    void inhibitOfAMomentIsNoObstacle() throws IOException {
        Host host = new Host("amd-avic", "7.2", false);
        host.image.put(host.vm, "kvm", "arch.apicv_inhibit_reasons", 1L << 8);
        assertThat(host.run("explain", host.device, "3").out())
                .contains("nothing inhibits AVIC in the VM")
                .doesNotContain("IRQWIN");
    }

    /** The command line of the VMM shows no reason, and a reason that the command line shows may have ended. */
    @Test
    void fleetIsToldTheInhibitsOfMemory() throws IOException {
        Host host = new Host("amd-avic", "7.2", false);
        Path file = temporary.resolve("kvmirq.prom");
        host.image.put(host.vm, "kvm", "arch.apicv_inhibit_reasons", 1 << 1 | 1 << 8);
        host.run("list", "--textfile", file.toString());
        assertThat(file)
                .content()
                .contains("kvmirq_avic_inhibited{guest=\"", ",reason=\"hyperv\"} 1\n")
                .doesNotContain("irqwin");
        Host cleared = new Host("amd-pit", "7.2", false);
        cleared.run("list", "--textfile", file.toString());
        assertThat(file).content().doesNotContain("reason=");
        cleared.image.put(cleared.vm, "kvm", "userspace_pid", 4242);
        cleared.run("list", "--textfile", file.toString());
        assertThat(file).content().contains("reason=\"pit_reinj\"} 1\n");
    }

    @ParameterizedTest
    @CsvSource({
        "intel-posted, 6.1, ir_table.base: pst",
        "intel-posted, 7.2, ir_table.base: pst",
        "amd-avic, 6.1, irq_remap_table.table: guest_mode",
        "amd-avic, 7.2, irq_remap_table.table: guest_mode"
    })
    void entryThatStaysPostedWithoutAnIrqfdIsNamed(String name, String kernel, String field) throws IOException {
        drifts(
                new Host(name, kernel, true),
                host -> host.image.deassign(host.irqfds[3]),
                "host irq",
                field + " without an irqfd of eventfd-id 4 is 0x1, expected 0x0 (written by"
                        + " kvm_arch_irq_bypass_del_producer(), before KVM frees the irqfd)");
        Host paired = new Host(name, kernel, true);
        paired.image.put(paired.irqfds[3], "kvm_kernel_irqfd", "eventfd", paired.image.eventfd(99));
        assertThat(paired.run("explain", paired.device, "3", "--evidence").out())
                .as("another irqfd has the host irq as producer")
                .contains("UNOBSERVABLE  " + field.replaceAll(":.*", ": guest vector"))
                .doesNotContain("without an irqfd");
    }

    /** With intremap=posted_msi the host posts all irqs to its CPUs, until KVM posts one to a vCPU. */
    @Test
    void entryOfAHostThatPostsIsOfTheGuestByTheKernelsRecord() throws IOException {
        Host host = new Host("intel-posted", "7.2", true);
        host.files.remove("sys/kernel/debug/iommu");
        String own = "intel_ir_data";
        for (long desc : host.descs) {
            host.image.put(host.image.chipData(desc, 1), own, "irq_2_iommu.posted_msi", 1);
        }
        assertThat(host.run("explain", host.device, "3", "--evidence").out())
                .contains("is posted")
                .doesNotContain("DIFFER");
        host.image.put(host.image.chipData(host.descs[3], 1), own, "irq_2_iommu.posted_vcpu", 0);
        host.image.deassign(host.irqfds[3]);
        assertThat(host.run("explain", host.device, "3", "--evidence").out())
                .contains("posts to a host CPU")
                .doesNotContain("DIFFER", "irq_2_iommu.posted_vcpu");
    }

    /** A vCPU that runs changes its entries all the time. */
    @Test
    void isRunOfARunningVcpuIsNotCompared() throws IOException {
        Host host = new Host("amd-avic", "7.2", true);
        host.image.state(host.vcpus[1], 3L << 62);
        // Up to 6.4, KVM writes it in the table alone.
        flip(host, entry(host, 3), 6);
        assertThat(host.run("explain", host.device, "3", "--evidence").out())
                .contains("UNOBSERVABLE  irq_remap_table.table: vCPU's IsRun  written whenever")
                .doesNotContain("DIFFER");
        host.image.state(host.vcpus[1], 1L << 63);
        assertThat(host.run("explain", host.device, "3", "--evidence").out().replaceAll("\\s+", " "))
                .contains("DIFFER irq_remap_table.table: vCPU's IsRun 0x1, expected 0x0");
    }

    @Test
    void entryThatIsNotPresentBreaksTheHostIrq() throws IOException {
        Host host = new Host("amd-avic", "6.12", false).with(changed -> flip(changed, entry(changed, 3), 0));
        Cli.Ended printed = host.run("explain", host.device, "3");
        assertThat(printed.out())
                .contains("lost at the host irq: the IRTE is not present")
                .contains("[observed: kernel memory, irq_remap_table.table");
        assertThat(printed.exitCode()).isNotZero();
    }

    @Test
    void driftDoesNotHideAnIrqOfAnOfflineCpu() throws IOException {
        Host host = new Host("amd-avic", "6.12", false).with(changed -> flip(changed, entry(changed, 3) + 8, 0));
        host.files.put("sys/devices/system/cpu/online", "0\n").put("proc/irq/30/effective_affinity_list", "1\n");
        assertThat(host.run("explain", host.device, "3", "--evidence").out())
                .containsPattern("host irq       broken +30: it interrupts CPU 1, which is offline")
                .contains("DIFFER");
    }

    /** Bus mastering is off. */
    @Test
    void filesShowTheHostIrqBehindADeviceThatTheyShowAsBroken() throws IOException {
        Host host = new Host("amd-avic", "6.12", false);
        String config = "sys/bus/pci/devices/" + host.device + "/config";
        byte[] bytes = host.files.tree().bytes(config, 4096).orElseThrow();
        bytes[4] &= ~4;
        host.files.putBytes(config, bytes);
        assertThat(host.run("explain", host.device, "3").out())
                .contains("device         broken", "host irq       ok         30: ");
        assertThat(host.run("list", "--all").out()).contains(host.device + "  MSI-X 3");
    }

    @Test
    void irqfdWithoutRouteBreaksTheGsi() throws IOException {
        Host host = new Host("amd-avic", "6.12", false)
                .with(changed -> changed.image.put(changed.irqfds[3], "kvm_kernel_irqfd", "gsi", 99));
        assertThat(host.run("explain", host.device, "3").out())
                .contains("gsi 99 has an irqfd but no route, so its signals are lost [observed: kernel memory,");
    }

    @Test
    void eventfdWithoutIrqfdIsForTheVmm() throws IOException {
        Host host = new Host("amd-avic", "6.12", false).with(changed -> {
            long items = changed.image.at(changed.vm, "kvm", "irqfds.items");
            changed.image.word(items, items);
            changed.image.word(items + 8, items);
        });
        assertThat(host.run("explain", host.device, "3").out())
                .contains("id 4: signalled by the handler, descriptor 23 of process 100")
                .contains("no VM has an irqfd for this eventfd");
    }

    @Test
    void jsonHasTheFields() throws IOException {
        Host host = new Host("amd-avic", "7.2", true).with(changed -> flip(changed, entry(changed, 3), 6));
        String json =
                host.run("explain", host.device, "3", "--json", "--evidence").out();
        assertThat(json.replaceAll("\\s", ""))
                .contains("\"kernelMemory\":[{\"device\":\"0000:00:02.0\",\"interrupt\":\"MSI-X3\"")
                .contains("\"verdict\":\"differ\",\"expected\":\"0x0\",\"observed\":\"0x1\"")
                .contains(
                        "\"values\":[{\"hop\":\"irte\",\"value\":{\"structure\":\"AMDIRTEof128bits,guest\",\"fields\":[")
                .contains(
                        "{\"name\":\"is_run\",\"value\":1}", "{\"hop\":\"avic-entry\",", "\"is_running\",\"value\":0}")
                .doesNotContain("ga_root_ptr\",\"value", "backing_page\",\"value");
    }

    @Test
    void memoryThatCannotBeReadChangesNothing() throws IOException {
        Host host = new Host("amd-avic", "6.12", true) {
            @Override
            public KernelPaths memory() {
                return KernelPaths.open(image.files(), temporary.resolve("none"));
            }
        };
        String without = host.run("explain", host.device, "--no-kernel-memory").out();
        assertThat(host.run("explain", host.device).out()).isEqualTo(without);
        assertThat(host.run("explain", host.device, "0", "--evidence").out())
                .contains("kernel memory, 0000:00:02.0 MSI-X 0, host irq 27\n  " + temporary.resolve("none")
                        + " cannot be read: no such file\n");
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(finding.status()).isEqualTo(Finding.Status.UNKNOWN);
            assertThat(finding.text()).endsWith("cannot be read: no such file");
        }
    }

    /** The command line has the PIT that inhibits AVIC. The second look reads that nothing inhibits it from the memory. */
    @Test
    void watchTellsNoChangeWhenItFirstReadsTheMemory() throws IOException {
        Host host = new Host("amd-pit", "6.12", false);
        Path root = Files.createDirectory(temporary.resolve("root"));
        try (Watcher watcher = new Watcher(
                host.files.writeTo(root),
                () -> 0,
                Runnable::run,
                process -> true,
                path -> true,
                host.memory(),
                same -> Optional.empty())) {
            assertThat(watcher.tick().rows().get(0).flaw()).isEqualTo("pit_reinj inhibits AVIC");
            for (int i = 0; i < 4; i++) {
                Watcher.Tick tick = watcher.tick();
                assertThat(tick.events()).isEmpty();
                assertThat(tick.rows().get(0).flaw()).doesNotContain("inhibits AVIC");
            }
            Path rows = root.resolve("proc/interrupts");
            Files.writeString(rows, Files.readString(rows).replaceFirst("vfio-msix\\[3]\\S+", ""));
            assertThat(watcher.tick().events())
                    .as("its irqfd and its posting go with it")
                    .extracting(Watcher.Event::what)
                    .containsExactly("armed");
        }
    }

    /** Two vCPUs of Intel: one runs on CPU 1, and one is on a wake-up list of CPU 0. */
    private Host withDescriptors(boolean isX2apic) throws IOException {
        Host host = new Host("intel-posted", "6.12", false);
        StringBuilder processors = new StringBuilder();
        for (int cpu = 0; cpu < 2; cpu++) {
            processors.append("processor\t: " + cpu + "\nflags\t\t: fpu vmx x2apic\napicid\t\t: " + (cpu + 4) + "\n\n");
        }
        host.files.put("proc/cpuinfo", processors.toString());
        int shift = isX2apic ? 32 : 40;
        KernelImage image = host.image;
        image.word(image.symbol("x2apic_mode"), isX2apic ? 1 : 0);
        image.put(host.vcpus[0], "kvm_vcpu", "cpu", 1);
        image.state(host.vcpus[0], 5L << shift | 0xf2 << 16);
        image.state(host.vcpus[1], 4L << shift | 0xf1 << 16 | 1);
        image.word(image.stateAt(host.vcpus[1]) - 32 + 8, 1);
        image.wakes(host.vcpus[1], image.symbol("vm_list_lock"));
        return host;
    }

    @ParameterizedTest
    @CsvSource({"true", "false"})
    void descriptorsAreShownAndCompared(boolean isX2apic) throws IOException {
        Host host = withDescriptors(isX2apic);
        String shown = host.run("explain", "--vm", "web", "--vcpus", "--evidence")
                .exited(0)
                .out();
        assertThat(shown)
                .contains(
                        "PIR       0x40  [observed: kernel memory, vcpu_vmx.pi_desc]",
                        "ON 1, SN 0, NV 0xf1, NDST " + (isX2apic ? "0x4 " : "0x400 "),
                        "wake-up   on the list of wake-up vector 0xf1",
                        "AGREE         pi_desc of vCPU 0: NV  0xf2",
                        "AGREE         pi_desc of vCPU 0: NDST  " + (isX2apic ? "0x5" : "0x500"),
                        "AGREE         pi_desc of vCPU 1: ON with a vector in PIR  0x1")
                .doesNotContain("DIFFER");
        String json = host.run("explain", "--vm", "web", "--vcpus", "--evidence", "--json")
                .exited(0)
                .out();
        assertThat(json).contains("pi_desc of vCPU 1: NDST", "\"kernelMemory\"");
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(finding.status()).isEqualTo(Finding.Status.PASS);
            assertThat(finding.text()).contains("5 irqfds, 2 vCPUs, ");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0 | 0x5_00f10000 | vCPU 0: NV  0xf1, expected 0xf2",
                "0 | 0x4_00f20000 | vCPU 0: NDST  0x4, expected 0x5",
                "1 | 0x4_00f10000 | vCPU 1: ON with a vector in PIR  0x0, expected 0x1",
                "1 | 0x4_00f20001 | vCPU 1: NV  0xf2, expected 0xf1",
                "0 | 0x5_00f20004 | vCPU 0: rsvd_258_271  0x1, expected 0x0"
            })
    void descriptorThatIsPlantedDiffers(int vcpu, String control, String expected) throws IOException {
        Host host = withDescriptors(true);
        host.image.state(host.vcpus[vcpu], Long.decode(control.replace("_", "")));
        String shown = host.run("explain", "--vm", "web", "--vcpus", "--evidence")
                .exited(0)
                .out();
        assertThat(shown).contains("DIFFER        pi_desc of " + expected + "; written by ");
        assertThat(shown.lines().filter(line -> line.contains("DIFFER")).count())
                .isEqualTo(1);
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(finding.status()).isEqualTo(Finding.Status.WARN);
            assertThat(finding.text()).contains("1 differ");
        }
    }

    /** Up to 6.16 a vCPU that is preempted while it blocks is on a wake-up list with SN 1: vmx_vcpu_pi_put(). */
    @ParameterizedTest
    @CsvSource({"6.16.3, false", "6.17.1, true"})
    void suppressedDescriptorOnAWakeUpListIsWrongSince617(String release, boolean differs) throws IOException {
        Host host = withDescriptors(true);
        host.files.put("proc/sys/kernel/osrelease", release + "\n");
        host.image.state(host.vcpus[1], 0x4_00f1_0003L);
        assertThat(host.run("explain", "--vm", "web", "--vcpus", "--evidence").out())
                .matches(shown -> shown.contains("DIFFER        pi_desc of vCPU 1: SN  0x1, expected 0x0") == differs)
                .matches(shown -> shown.contains("DIFFER") == differs);
    }

    @Test
    void cpusThatShareAnApicIdAccuseNoDescriptor() throws IOException {
        Host host = withDescriptors(true);
        host.files.put("proc/cpuinfo", "processor\t: 0\napicid\t\t: 0\n\nprocessor\t: 1\napicid\t\t: 0\n");
        assertThat(host.run("explain", "--vm", "web", "--vcpus", "--evidence")
                        .exited(0)
                        .out())
                .contains("vCPU 1: NDST  /proc/cpuinfo does not show the APIC id of CPU 0")
                .doesNotContain("DIFFER");
    }

    /** A vector that no notification announces is lost until the next one; the unit sets no ON while SN is 1. */
    @Test
    void vectorWithoutANotificationIsNamed() throws IOException {
        Host host = withDescriptors(true);
        host.image.state(host.vcpus[1], 0x4_00f1_0000L);
        assertThat(host.run("explain", "--vm", "web", "--vcpus").exited(0).out())
                .contains("PIR       0x40, not announced by a notification, so lost until the next one");
        host.image.wakes(host.vcpus[1], 0);
        host.image.state(host.vcpus[1], 0x4_00f2_0002L);
        assertThat(host.run("explain", "--vm", "web", "--vcpus", "--evidence")
                        .exited(0)
                        .out())
                .contains("PIR       0x40  [")
                .doesNotContain("DIFFER", "no notification");
    }

    @Test
    void reasonIsSaidWhereNoDescriptorIsCompared() throws IOException {
        Host host = withDescriptors(true);
        host.image.put(host.vm, "kvm", "userspace_pid", 4000);
        String shown =
                host.run("explain", "--vm", "web", "--vcpus", "--evidence").out();
        assertThat(shown)
                .contains(
                        "APICv     unknown: kernel memory has no VM that a thread of this process created",
                        "no fields compared: kernel memory has no VM");
    }

    @Test
    void doctorCountsWhatAgrees() throws IOException {
        Host host = new Host("amd-avic", "6.12", true);
        try (KernelPaths memory = host.memory()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(finding.status()).isEqualTo(Finding.Status.PASS);
            assertThat(finding.text()).startsWith("5 armed MSI vectors, 5 irqfds, 70 fields compared, 0 differ");
        }
        try (KernelPaths memory = KernelPaths.none()) {
            Finding finding = MemoryEvidence.check(new HostFacts(host.files()), memory);
            assertThat(Optional.of(finding.text()))
                    .contains("kernel memory is read only on the host itself, and not with --no-kernel-memory");
        }
    }
}
