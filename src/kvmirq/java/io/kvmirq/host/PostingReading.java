/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.UnitCapabilities;
import io.kvmirq.backend.HostFiles;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;

/**
 * Reads the facts that decide posting on an x86 host from the files in {@link
 * io.kvmirq.arch.apic.PostingObstacle#seen}. Not thread-safe.
 */
final class PostingReading {
    private static final String HEX = "0123456789abcdef";
    private static final int RADIX = 16;
    /** The values of a boolean module parameter in sysfs. */
    private static final Set<String> SWITCHES = Set.of("Y", "N", "1", "0");
    /** Bits in amd-iommu/features: EFR.GASup, and EFR.GAM's bit for the virtual APIC mode. */
    private static final long GUEST_APIC = 1L << 7 | 1L << 21;
    /** EFR2.SNPAVICSup. */
    private static final int SNP_AVIC_SHIFT = 5;

    private static final long SNP_AVIC_MASK = 7;

    /** The firmware's DMAR table. The flags are at byte 37, where bit 1 is DMAR_X2APIC_OPT_OUT. */
    private static final String FIRMWARE = "sys/firmware/acpi/tables/DMAR";

    private static final int DMAR_FLAGS = 37;
    private static final int X2APIC_OPT_OUT = 1 << 1;
    /** The intremap= option that makes the kernel ignore the opt-out. */
    private static final String HEEDS_NO_OPT_OUT = "no_x2apic_optout";

    private final PostingFacts facts;
    private final HostFiles tree;
    private final List<String> unreadable = new ArrayList<>();
    /** The host parts that cannot post, such as {@code dmar1}. */
    private final List<String> lacking = new ArrayList<>();

    private Optional<PostingHost> host = Optional.empty();

    private PostingReading(PostingFacts facts, HostFiles tree) {
        this.facts = facts;
        this.tree = tree;
    }

    /** Reads the facts. */
    static PostingReading read(PostingFacts facts, HostFiles tree) {
        PostingReading read = new PostingReading(facts, tree);
        read.host = read.read();
        return read;
    }

    /** A sentence for each fact that could not be read. */
    List<String> unreadable() {
        return List.copyOf(unreadable);
    }

    /** The host's obstacle to posting, or the parts at fault. Empty if it has none, or a fact is unknown. */
    Optional<String> flaw() {
        return host.flatMap(PostingHost::flaw)
                .map(flaw -> flaw == PostingObstacle.UNIT_CANNOT_POST && !lacking.isEmpty()
                        ? String.join(", ", lacking)
                        : flaw.text());
    }

    /** The facts. Empty if any of them could not be read. */
    Optional<PostingHost> host() {
        return host;
    }

    private Optional<PostingHost> read() {
        Optional<String> processor = tree.text("proc/cpuinfo");
        Optional<Vendor> vendor = known(
                processor.isPresent() ? vendor(processor.get()) : Optional.empty(),
                "/proc/cpuinfo names no Intel or AMD processor, and only these post interrupts on x86");
        Optional<String> shown = tree.text("proc/cmdline");
        Optional<String> line = known(
                shown.isPresent() && shown.get().isBlank() ? Optional.empty() : shown,
                shown.isPresent() ? "/proc/cmdline is empty" : "/proc/cmdline cannot be read");
        Optional<HostInterrupts> interrupts = facts.interrupts();
        Optional<Boolean> remapping = known(
                interrupts.isPresent() ? Optional.of(interrupts.get().hasChip("IR-")) : Optional.empty(),
                "/proc/interrupts cannot be read");
        if (vendor.isEmpty() || line.isEmpty() || remapping.isEmpty()) {
            return Optional.empty();
        }
        String module = vendor.get() == Vendor.INTEL ? "kvm_intel" : "kvm_amd";
        String parameter = vendor.get() == Vendor.INTEL ? "enable_apicv" : "avic";
        Optional<Boolean> apic = parameter(module, parameter);
        if (remapping.get()) {
            String flag = vendor.get() == Vendor.INTEL ? "vmx" : "svm";
            known(
                    apic,
                    "/sys/module/" + module + "/parameters/" + parameter + " cannot be read: "
                            + (hasFlag(processor.orElse(""), flag)
                                            || field(processor.orElse(""), "flags")
                                                    .isEmpty()
                                    ? "load the module " + module
                                    : "the processor shows no flag " + flag + ", so " + module + " cannot be loaded"));
        } else if (apic.isEmpty()) {
            // Without remapping, nothing is posted whatever the module parameter.
            apic = Optional.of(false);
        }
        Optional<Boolean> devices = parameter(module, "enable_device_posted_irqs");
        Optional<Boolean> units =
                remapping.get() ? unitsPost(vendor.get(), processor.orElse(""), devices) : Optional.of(false);
        if (apic.isEmpty() || units.isEmpty()) {
            return Optional.empty();
        }
        Map<Feature, Boolean> has = Map.of(
                Feature.REMAPPING, remapping.get(),
                Feature.POSTING_UNITS, units.get(),
                Feature.APIC_VIRTUALIZATION, apic.get(),
                Feature.DEVICE_POSTED_IRQS, devices.orElse(true),
                Feature.X2AVIC, vendor.get() == Vendor.INTEL || hasFlag(processor.orElse(""), "x2avic"),
                // No file shows this feature, without which KVM inhibits AVIC for vCPU ids above 511.
                Feature.X2AVIC_EXT, true,
                Feature.AVIC_IDS,
                        hasFlag(processor.orElse(""), "x2avic")
                                || facts.kernel()
                                        .filter(KernelBug.AVIC_IDS::isIn)
                                        .isEmpty());
        PostingHost host = PostingHost.of(vendor.get())
                .withKernel(facts.version().orElse(LinuxVersion.NEWEST))
                .withCommandLine(line.get());
        for (Feature feature : Feature.values()) {
            host = has.getOrDefault(feature, false) ? host : host.without(feature);
        }
        return Optional.of(host);
    }

    private <T> Optional<T> known(Optional<T> fact, String otherwise) {
        if (fact.isEmpty()) {
            unreadable.add(otherwise);
        }
        return fact;
    }

    static Optional<Vendor> vendor(String processor) {
        return switch (field(processor, "vendor_id").orElse("")) {
            case "GenuineIntel" -> Optional.of(Vendor.INTEL);
            case "AuthenticAMD", "HygonGenuine" -> Optional.of(Vendor.AMD);
            default -> Optional.empty();
        };
    }

    private static Optional<String> field(String processor, String name) {
        for (String line : (Iterable<String>) processor.lines()::iterator) {
            int colon = line.indexOf(':');
            if (colon >= 0 && line.substring(0, colon).strip().equals(name)) {
                return Optional.of(line.substring(colon + 1).strip());
            }
        }
        return Optional.empty();
    }

    private static boolean hasFlag(String processor, String flag) {
        String flags = field(processor, "flags").orElse("").replace('\t', ' ');
        return (" " + flags + " ").contains(" " + flag + " ");
    }

    /** Whether kvm_intel uses IPI virtualization, from its parameter enable_ipiv, which exists since Linux 6.0. */
    Optional<Boolean> ipiv() {
        List<String> names = tree.list("sys/module/kvm_intel/parameters");
        return names.isEmpty() || names.contains("enable_ipiv")
                ? parameter("kvm_intel", "enable_ipiv")
                : Optional.of(false);
    }

    private Optional<Boolean> parameter(String module, String name) {
        String text = tree.text("sys/module/" + module + "/parameters/" + name).orElse("");
        return SWITCHES.contains(text) ? Optional.of(text.equals("Y") || text.equals("1")) : Optional.empty();
    }

    /**
     * Whether all units can post. A new kernel's module parameter shows this for all units, otherwise each unit's
     * registers do.
     */
    private Optional<Boolean> unitsPost(Vendor vendor, String processor, Optional<Boolean> devices) {
        if (devices.orElse(false)) {
            return Optional.of(true);
        }
        if (vendor == Vendor.AMD) {
            return units("ivhd", "amd-iommu/features", this::hasGuestApic);
        }
        if (!hasFlag(processor, "cx16")) {
            lacking.add("the processor lacks cx16, so it cannot post");
            return Optional.of(false);
        }
        Optional<Boolean> all =
                units("dmar", "intel-iommu/cap", text -> hex(text).map(UnitCapabilities.POSTING::isSet));
        lacking.replaceAll(name -> name + " cannot post (CAP.PI is 0)");
        return all;
    }

    private Optional<Boolean> units(String prefix, String file, Function<String, Optional<Boolean>> has) {
        List<String> names =
                facts.iommus().stream().filter(name -> name.startsWith(prefix)).toList();
        if (names.isEmpty()) {
            return known(
                    facts.iommus().isEmpty() ? Optional.empty() : Optional.of(false),
                    "/sys/class/iommu is empty: the units are shown while DMA is remapped (intel_iommu=on)");
        }
        List<Boolean> answers = new ArrayList<>();
        for (String name : names) {
            String path = "sys/class/iommu/" + name + "/" + file;
            Optional<Boolean> answer =
                    known(tree.text(path).flatMap(has), "/" + path + " cannot be read, or its format is unknown");
            answer.ifPresent(answers::add);
            if (!answer.orElse(true)) {
                lacking.add(name);
            }
        }
        return answers.contains(false)
                ? Optional.of(false)
                : answers.size() == names.size() ? Optional.of(true) : Optional.empty();
    }

    /**
     * Whether a VT-d host's CPUs are in x2APIC mode. They are if the processor and all units support it, and the
     * firmware does not opt out ({@code intel_prepare_irq_remapping}, {@code try_to_enable_x2apic}). nox2apic clears
     * the processor's flag. Only root can read the firmware table. A host that is itself a guest can use x2APIC mode
     * without remapping. No file shows that a kernel lacks CONFIG_X86_X2APIC.
     */
    Optional<Boolean> x2apic() {
        String processor = tree.text("proc/cpuinfo").orElse("");
        if (field(processor, "flags").isEmpty()) {
            return Optional.empty();
        }
        return x2apic(processor).filter(on -> on || !hasFlag(processor, "hypervisor"));
    }

    private Optional<Boolean> x2apic(String processor) {
        List<Optional<Boolean>> units = facts.iommus().stream()
                .filter(name -> name.startsWith("dmar"))
                .map(name -> tree.text("sys/class/iommu/" + name + "/intel-iommu/ecap")
                        .flatMap(PostingReading::hex)
                        .map(UnitCapabilities.EXTENDED::isSet))
                .toList();
        if (!hasFlag(processor, "x2apic") || units.contains(Optional.of(false))) {
            return Optional.of(false);
        }
        if (units.isEmpty() || units.contains(Optional.<Boolean>empty())) {
            return Optional.empty();
        }
        return tree.text("proc/cmdline")
                        .filter(line -> line.contains(HEEDS_NO_OPT_OUT))
                        .isPresent()
                ? Optional.of(true)
                : tree.bytes(FIRMWARE, DMAR_FLAGS + 1)
                        .filter(table -> table.length > DMAR_FLAGS)
                        .map(table -> (table[DMAR_FLAGS] & X2APIC_OPT_OUT) == 0);
    }

    private static Optional<Long> hex(String text) {
        boolean good = !text.isEmpty() && text.length() <= RADIX;
        for (int i = 0; good && i < text.length(); i++) {
            good = HEX.indexOf(text.charAt(i)) >= 0;
        }
        return good ? Optional.of(Long.parseUnsignedLong(text, RADIX)) : Optional.empty();
    }

    /**
     * Checks EFR and EFR2. Linux before 6.0 prints only EFR, and later kernels differ in the order. EFR is the greater
     * one, because EFR2's upper half is reserved.
     */
    private Optional<Boolean> hasGuestApic(String features) {
        String[] parts = features.split(":", -1);
        Optional<Long> first = hex(parts[0]);
        Optional<Long> other = parts.length == 1 ? Optional.of(0L) : hex(parts[1]);
        if (parts.length > 2 || first.isEmpty() || other.isEmpty()) {
            return Optional.empty();
        }
        boolean inOrder = Long.compareUnsigned(first.get(), other.get()) > 0;
        long efr = inOrder ? first.get() : other.get();
        long efr2 = inOrder ? other.get() : first.get();
        boolean snp = parameter("kvm_amd", "sev_snp").orElse(false);
        return Optional.of(
                (efr & GUEST_APIC) == GUEST_APIC && (!snp || (efr2 >>> SNP_AVIC_SHIFT & SNP_AVIC_MASK) == 1));
    }
}
