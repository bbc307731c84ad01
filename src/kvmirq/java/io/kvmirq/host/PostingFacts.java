/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicKernel;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.mirror.MirrorHost;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Facts that decide whether a host posts interrupts, read from its files about processor, kernel, IOMMUs and interrupt
 * controllers. Large files are read once, at first use. Thread-safe.
 */
public final class PostingFacts {
    private static final String VERSION = "Linux version ";
    private static final String GICV4_PARAMETER = "kvm_arm.vgic_v4_enable";

    /** The irqs, parsed once. Empty if they cannot be read. A refused file is not read again. */
    private record Interrupts(
            Optional<HostInterrupts> all, @Nullable UncheckedIOException refusal) {}

    private record Processor(Optional<Vendor> vendor, boolean isArm) {}

    private final HostFiles tree;
    private volatile @Nullable Processor processor;
    private volatile @Nullable Boolean arm;
    private volatile @Nullable Interrupts interrupts;
    private volatile @Nullable PostingReading reading;

    /** Creates facts that are read from {@code tree} at first use. */
    public PostingFacts(HostFiles tree) {
        Objects.requireNonNull(tree, "tree is null");
        this.tree = tree;
    }

    /**
     * Host facts for a {@code Mirror}'s predictions. If a fact is missing, this is a {@link MirrorHost.Unknown} with
     * the reason.
     */
    public MirrorHost forMirror(boolean arm64) {
        if (arm64) {
            return vlpiKernel()
                    .map(version -> gicv4().map(gicv4 -> MirrorHost.arm64(gicv4, version))
                            .orElseGet(() -> MirrorHost.arm64(version)))
                    .orElseGet(() -> MirrorHost.unknown("the kernel version cannot be read"));
        }
        return host().<MirrorHost>map(posting -> new MirrorHost.X86(
                        posting, avicKernel(), reading().x2apic(), reading().ipiv()))
                .orElseGet(() -> MirrorHost.unknown(String.join("; ", unreadable())));
    }

    /** The kernel release, such as {@code 6.1.0-56-amd64}. */
    public Optional<String> kernel() {
        Optional<String> release = tree.text("proc/sys/kernel/osrelease");
        if (release.isPresent()) {
            return release;
        }
        String version = tree.text("proc/version").orElse("");
        int end = version.indexOf(' ', VERSION.length());
        end = end < 0 ? version.length() : end;
        return version.startsWith(VERSION) && end > VERSION.length()
                ? Optional.of(version.substring(VERSION.length(), end))
                : Optional.empty();
    }

    /** The kernel version. Empty if it cannot be read. */
    Optional<LinuxVersion> version() {
        Optional<String> release = kernel();
        return release.isPresent() ? LinuxVersion.parse(release.get()) : Optional.empty();
    }

    /** Whether the kernel has this version or a newer one. Empty if the version is not known. */
    public Optional<Boolean> isSince(int major, int minor) {
        Optional<LinuxVersion> version = version();
        return version.isPresent() ? Optional.of(version.get().isSince(major, minor)) : Optional.empty();
    }

    /** The IOMMUs' names in sysfs, such as {@code dmar0} (VT-d), {@code ivhd0} (AMD), {@code smmu3.…} (ARM). */
    public List<String> iommus() {
        return tree.list("sys/class/iommu");
    }

    /**
     * The host irqs. Empty if {@code /proc/interrupts} cannot be read, or has no row.
     *
     * @throws UncheckedIOException if {@code /proc/interrupts} is too long, or grows while it is read
     */
    public Optional<HostInterrupts> interrupts() {
        Interrupts before = interrupts;
        if (before == null) {
            before = readInterrupts();
            interrupts = before;
        }
        if (before.refusal() != null) {
            throw before.refusal();
        }
        return before.all();
    }

    /** Reads the file in pieces, because it is 46 MB long with 1024 CPUs. */
    private Interrupts readInterrupts() {
        Optional<InputStream> file = tree.open("proc/interrupts");
        if (file.isEmpty()) {
            return new Interrupts(Optional.empty(), null);
        }
        try (InputStream in = file.get()) {
            return new Interrupts(Optional.of(HostInterrupts.read(in)), null);
        } catch (IOException e) {
            return new Interrupts(Optional.empty(), null);
        } catch (UncheckedIOException e) {
            return new Interrupts(Optional.empty(), e);
        }
    }

    /** The x86 processor's vendor. Empty if {@code /proc/cpuinfo} names neither Intel nor AMD. */
    public Optional<Vendor> vendor() {
        return processor().vendor();
    }

    /** Whether the host is an arm64 machine, judged by its processor or its interrupt controller. */
    public boolean isArm() {
        Boolean known = arm;
        if (known == null) {
            Optional<HostInterrupts> all = interrupts();
            known = all.isPresent() && (all.get().hasChip("GIC") || all.get().hasChip("ITS"))
                    || processor().isArm();
            arm = known;
        }
        return known;
    }

    /** Reads {@code /proc/cpuinfo} only once, because it has an entry for each CPU. */
    private Processor processor() {
        Processor before = processor;
        if (before == null) {
            String text = tree.text("proc/cpuinfo").orElse("");
            // c_show() in arch/arm64/kernel/cpuinfo.c
            before = new Processor(PostingReading.vendor(text), text.contains("CPU implementer"));
            processor = before;
        }
        return before;
    }

    /** The facts that decide posting on an x86 host. Empty if a fact cannot be read. See {@link #unreadable}. */
    public Optional<PostingHost> host() {
        return reading().host();
    }

    /**
     * The reason why this host cannot post, as a sentence without a full stop that names the processor, kernel or IOMMU
     * at fault. Empty if no reason is known.
     */
    public Optional<String> flaw() {
        return reading().flaw();
    }

    /** The reasons why {@link #host} is empty, one sentence per unreadable fact. Empty if all facts can be read. */
    public List<String> unreadable() {
        return reading().host().isPresent() ? List.of() : reading().unreadable();
    }

    private PostingReading reading() {
        PostingReading before = reading;
        if (before == null) {
            before = PostingReading.read(this, tree);
            reading = before;
        }
        return before;
    }

    /** This kernel's rules for posting with AVIC. Empty if its version is unknown. */
    public Optional<AvicKernel> avicKernel() {
        return version().map(AvicKernel::of);
    }

    /**
     * This kernel's rule for finding a host irq's guest LPI on arm64. Empty if the version is unknown. A stable kernel
     * can have a later version's rule.
     */
    public Optional<VlpiKernel> vlpiKernel() {
        return isSince(6, 16).map(since -> since ? VlpiKernel.BY_HOST_IRQ : VlpiKernel.BY_ROUTE);
    }

    /**
     * Whether KVM on arm64 uses GICv4. A vPE doorbell's row in {@code /proc/interrupts} proves it, but exists only
     * while a VM runs. KVM does not use GICv4 if kvm-arm.vgic_v4_enable is not set on the kernel command line, or if
     * {@code /proc/interrupts} has no GICv3 irq. Empty if the parameter is set but no vPE doorbell exists, because the
     * hardware may lack GICv4.
     */
    public Optional<Boolean> gicv4() {
        Optional<HostInterrupts> interrupts = interrupts();
        if (interrupts.filter(all -> all.hasChip("GICv4")).isPresent()) {
            return Optional.of(true);
        }
        boolean none = interrupts.filter(all -> !all.hasChip("GICv3")).isPresent();
        boolean asked =
                tree.text("proc/cmdline").map(PostingFacts::asksForGicv4).orElse(true);
        return none || !asked ? Optional.of(false) : Optional.empty();
    }

    private static boolean asksForGicv4(String commandLine) {
        return Arrays.stream(commandLine.split("\\s+"))
                .map(word -> word.replace("\"", ""))
                .filter(word -> word.indexOf('=') > 0 && isParameter(word, GICV4_PARAMETER))
                .reduce((first, last) -> last)
                .filter(word -> isTrue(word.substring(word.indexOf('=') + 1)))
                .isPresent();
    }

    /** Whether a word sets this parameter. Dashes equal underscores in names ({@code parameq()} in kernel/params.c). */
    private static boolean isParameter(String word, String name) {
        return word.substring(0, word.indexOf('=')).replace('-', '_').equals(name);
    }

    /** Whether a text is true by its first letters, as in {@code kstrtobool()}. */
    private static boolean isTrue(String text) {
        return !text.isEmpty() && "yYtT1".indexOf(text.charAt(0)) >= 0 || text.regionMatches(true, 0, "on", 0, 2);
    }
}
