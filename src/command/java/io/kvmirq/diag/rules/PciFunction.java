/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A PCI function on the path of an interrupt: the device, a bridge above it, or its physical function.
 *
 * <p>Source: PCI Local Bus Specification 3.0, 6.2 and 6.8; PCI-to-PCI Bridge Architecture Specification 1.2, 3.2; PCI
 * Express Base Specification, 7.5; pci_regs.h.
 *
 * @param held whether the device is in use; an unused device may sleep
 * @param vector the interrupt that VFIO has armed, if the rules are about one
 */
record PciFunction(
        Fact.Facts facts,
        PciDevice device,
        PciAddress address,
        boolean held,
        IrqKind kind,
        int vector,
        PciCapabilities config)
        implements Fact.Subject {
    static final String DEVICES = "sys/bus/pci/devices/";

    // Capabilities, and registers of theirs.
    private static final int POWER_MANAGEMENT = 1;
    static final int MSI = 5;
    static final int EXPRESS = 0x10;
    static final int MSIX = 0x11;
    /** A bridge has the addresses in place of the BARs. */
    private static final int ENHANCED_ALLOCATION = 0x14;

    /** Extended capabilities: Single Root I/O Virtualization, Downstream Port Containment. */
    static final int VIRTUALIZATION = 0x10;

    static final int CONTAINMENT = 0x1d;
    private static final int EXTENDED_BYTES = 4096;
    /** An extended capability has eight bytes or more, so a longer chain is a loop. */
    private static final int MOST_EXTENDED = (EXTENDED_BYTES - PciCapabilities.BYTES) / 8;

    /** A link that has this part of its lanes is no slot that is split or wired for half. */
    private static final int FAR_FEWER = 4;

    private static final int FIRST_BAR = 0x10;
    private static final int AFTER_BARS = 0x28;
    private static final int SECONDARY_BUS = 0x18;
    /** Base and limit of the addresses that a bridge passes on. */
    private static final int MEMORY_WINDOW = 0x20;

    private static final int PREFETCHED_WINDOW = 0x24;
    /** The upper halves of the 64-bit base and limit. */
    private static final int PREFETCHED_UPPER = 0x28;

    /** The word has the programming interface above it. */
    private static final int REVISION = 8;

    private static final int SUBTRACTIVE = 1;

    /** {@code pci_power_names} in drivers/pci/pci.c without {@code unknown}. */
    private static final String STATES = "error|D[012]|D3hot|D3cold";

    /** A function with AER has all of them. */
    private static final List<String> COUNTS = List.of("correctable", "nonfatal", "fatal");

    private static final Pattern TOTAL = Pattern.compile("(?m)^\\s*TOTAL_ERR_\\w+ 0*([1-9]\\d{0,17})\\s*$");

    /** A power state, and the file that shows it. */
    record Power(String state, String file) {}

    static PciFunction read(HostFacts host, PciDevice device, PciAddress address, boolean held) {
        PciCapabilities config = address.equals(device.address())
                ? device.config()
                : PciCapabilities.parse(bytes(host.files(), address, PciCapabilities.BYTES));
        return new PciFunction(new Fact.Facts(host), device, address, held, IrqKind.REQUEST, 0, config);
    }

    /** The device, and an interrupt of it that VFIO has armed. Each has the same facts. */
    PciFunction armed(IrqKind kind, int vector) {
        return new PciFunction(facts, device, address, held, kind, vector, config);
    }

    @Override
    public String name(String word) {
        return switch (word) {
            case "function" -> address.toString();
            case "power" -> POWER.in(this).file();
            default -> throw new IllegalArgumentException(word);
        };
    }

    boolean isDevice() {
        return address.equals(device.address());
    }

    boolean isVirtual() {
        return device.isVirtual();
    }

    String called() {
        return isDevice() ? "the device" : (device.isVirtual() ? "the physical function " : "the bridge ") + address;
    }

    boolean is(IrqKind wanted) {
        return kind == wanted;
    }

    /** It sends messages: writes to memory. */
    boolean sends() {
        return is(IrqKind.MSI) || is(IrqKind.MSIX);
    }

    // Facts

    // spotless:off: a table
    static final Fact<PciFunction, String> POWER_STATE = Fact.text(DEVICES + "{function}/power_state",
        function -> function.host().has(KernelChange.POWER_STATE).orElse(false), Fact.form(text -> text.matches(STATES + "|unknown")));
    static final Fact<PciFunction, String> RUNTIME = Fact.text(DEVICES + "{function}/power/runtime_status",
        Fact.form(text -> text.matches("active|suspended|suspending|resuming|error|unsupported")));
    /** The link that names the driver. */
    static final Fact<PciFunction, Boolean> DRIVER_LINK = new Fact<>(DEVICES + "{function}/driver", function ->
        !function.device.unlinked() ? new Known.Observed<>(true)
        : new Known.Unknown<>(Known.Reason.ABSENT, "no link names the driver of the device, but VFIO has armed its interrupts:"
            + " an unbind waits until the device is closed, or the link was not copied", Fact.LOOK_AGAIN));
    static final Fact<PciFunction, Power> POWER = new Fact<>(DEVICES + "{function}/{power}", PciFunction::power);
    static final Fact<PciFunction, PciCapabilities> CONFIG = new Fact<>(DEVICES + "{function}/config", function ->
        function.isCold() ? new Known.Unknown<>(Known.Reason.NOT_ASKED, "the configuration space (reading it would wake "
            + function.called() + ")", "start the guest")
            : function.config.isGone() || function.config.isReadable() ? new Known.Observed<>(function.config)
            : Fact.missing(function.files(), function.path(DEVICES + "{function}/config")));
    static final Fact<PciFunction, PciCapabilities> CAPABILITIES = new Fact<>(CONFIG.file(), function ->
        CONFIG.of(function).then(config -> config.isComplete() || config.isGone() ? new Known.Observed<>(config)
            : new Known.Unknown<>(Known.Reason.REFUSED, function.called() + "'s capabilities (this user can read only "
            + PciCapabilities.PUBLIC_BYTES + " bytes of its configuration space)", "run as root with --config-space")));
    static final Fact<PciFunction, List<PciAddress>> BRIDGES = new Fact<>(DEVICES + "{function}", PciFunction::bridges);
    static final Fact<PciFunction, PciFunction> EXTENDED = Fact.seen(CONFIG.file());
    static final Fact<PciFunction, String> FATAL = errors("fatal");
    static final Fact<PciFunction, String> NONFATAL = errors("nonfatal");
    static final Fact<PciFunction, String> CORRECTED = errors("correctable");
    /** The lanes of a link that both of its ends could have more of. */
    static final Fact<PciFunction, String> LANES = new Fact<>(DEVICES + "{function}/current_link_width", PciFunction::lanes);
    static final Fact<PciFunction, String> ID =
        Fact.text(DEVICES + "{function}/device", Fact.form(text -> text.matches("0x[0-9a-f]{1,4}")));
    static final Fact<PciFunction, String> OVERRIDE =
        Fact.text(DEVICES + "{function}/driver_override", Fact.form(text -> text.matches("\\(null\\)|[\\w.-]+")));
    static final Fact<PciFunction, String> ENABLED =
        Fact.text(DEVICES + "{function}/enable", Fact.form(text -> text.matches("\\d{1,9}")));
    static final Fact<PciFunction, String> MSI_ALLOWED =
        Fact.text(DEVICES + "{function}/msi_bus", Fact.form(text -> text.matches("[01]")));
    static final Fact<PciFunction, String> DRIVER = new Fact<>(DEVICES + "{function}/driver", function ->
        new Known.Observed<>(function.files().linkName(function.path(DEVICES + "{function}/driver")).orElse("")));
    static final Fact<PciFunction, String> CMDLINE = Fact.commandLine();
    /** Only VGA has the file. Without 1 in it, the screen of the host is not the device's. */
    static final Fact<PciFunction, String> FIRST_SCREEN = new Fact<>(DEVICES + "{function}/boot_vga", function ->
        Fact.<PciFunction, String>text(DEVICES + "{function}/boot_vga", same -> function.device.classCode() >> 8 == 0x300,
        Fact.form(text -> text.matches("[01]"))).of(function).then(first -> first.equals("1") ? new Known.Observed<>(first) : Known.none()));
    /** The driver that draws on the screen that the firmware set up, until a driver of its device comes; "" for none. */
    static final Fact<PciFunction, String> SCREEN = Fact.text("proc/fb", function ->
        FIRST_SCREEN.is(function, value -> true) && function.host().kvm().isBuilt("FB").known().orElse(true), text -> Optional.of(
        text.matches("(?s).*(EFI VGA|VESA VGA|simple).*") ? text.strip().replace('\n', ',') : ""));
    /** The holders of BARs of the device; "" for none. A user who is not root sees the names too. */
    static final Fact<PciFunction, String> HOLDERS = new Fact<>("proc/iomem", function ->
        Fact.<PciFunction, String>text("proc/iomem", same -> false, Optional::of).of(function).map(function::holders));
    /** The first BAR of memory without an address (IORESOURCE_UNSET), of six; "" for none. Few drivers need one of ports. */
    static final Fact<PciFunction, String> UNSET = Fact.text(DEVICES + "{function}/resource", function -> false, text -> {
        List<String> bars = text.lines().limit(6).toList();
        return Optional.of(IntStream.range(0, bars.size()).filter(at -> bars.get(at).matches("0x0{1,16} 0x\\w{1,16} 0x0{8}[2367abef]\\w{4}[2367abef]\\w\\w"))
            .mapToObj(String::valueOf).findFirst().orElse(""));
    });
    /** The networks that are up and have no carrier. */
    static final Fact<PciFunction, String> CARRIER = new Fact<>(DEVICES + "{function}/net", PciFunction::withoutCarrier);
    static final Fact<PciFunction, String> VFS =
        Fact.text(DEVICES + "{function}/sriov_numvfs", Fact.form(text -> text.matches("\\d{1,5}")));
    // spotless:on

    /** The regions inside those of the function that neither VFIO nor its own driver has requested. */
    private String holders(String regions) {
        Set<String> names = new LinkedHashSet<>();
        int depth = Integer.MAX_VALUE;
        for (String line : regions.lines().toList()) {
            if (!line.contains(" : ")) {
                continue; // a redacted one
            }
            int indent = line.length() - line.stripLeading().length();
            String name = line.substring(line.indexOf(" : ") + " : ".length());
            depth = indent <= depth ? Integer.MAX_VALUE : depth;
            if (name.equals(address.toString())) {
                depth = indent;
            } else if (depth < indent
                    && !name.equals("BOOTFB") // reserves nothing: its child does
                    && !name.startsWith("vfio")
                    && !name.equals(driver())
                    && PciDevice.addressOf(name).isEmpty()) {
                names.add(name);
            }
        }
        return String.join(", ", names);
    }

    /** The errors since the boot; "" for none. */
    private static Fact<PciFunction, String> errors(String kind) {
        Predicate<PciFunction> counts = function -> COUNTS.stream().anyMatch(count -> function.files()
                .text(DEVICES + function.address + "/aer_dev_" + count)
                .isPresent());
        return Fact.text(DEVICES + "{function}/aer_dev_" + kind, counts, text -> Optional.of(text)
                .filter(totals -> totals.contains("TOTAL_ERR_"))
                .map(TOTAL::matcher)
                .map(total -> total.find() ? total.group(1) : ""));
    }

    /** From the root down, as the path of the function in sysfs names them. */
    private static Known<List<PciAddress>> bridges(PciFunction function) {
        return function.files()
                .link(DEVICES + function.address)
                .or(() -> function.device.group().isEmpty()
                        ? Optional.empty()
                        : function.files()
                                .link("sys/kernel/iommu_groups/"
                                        + function.device.group().getAsInt() + "/devices/" + function.address))
                .<Known<List<PciAddress>>>map(path -> new Known.Observed<>(Stream.of(path.split("/"))
                        .flatMap(part -> PciDevice.addressOf(part).stream())
                        .filter(part -> !part.equals(function.address))
                        .toList()))
                .orElseGet(() -> new Known.Unknown<>(
                        "the bridges above " + function.called() + " (no sysfs link shows them)", Fact.LOOK_AGAIN));
    }

    /** A register is read only if the file does not show D3cold, because a read wakes the device. */
    private static Known<Power> power(PciFunction function) {
        // A device shows "unknown" after its driver has left it, until the next one binds.
        Optional<String> file = POWER_STATE.of(function).known().filter(state -> !state.equals("unknown"));
        boolean complete = function.config.isComplete();
        int at = complete ? function.config.capability(POWER_MANAGEMENT) : 0;
        int register = at == 0 ? 0 : function.word(at + 4) & 3;
        if (register != 0 && file.filter("D3cold"::equals).isEmpty()) {
            String state = register == 3 ? "D3hot" : "D" + register;
            return new Known.Observed<>(
                    new Power(state, file.filter(state::equals).isPresent() ? "power_state" : "config"));
        }
        String asleep = RUNTIME.is(function, "suspended"::equals) ? "a sleep state" : "";
        String state = file.orElse(complete ? "D0" : asleep);
        return state.isEmpty()
                ? Fact.missing(function.files(), DEVICES + function.address + "/power_state")
                : new Known.Observed<>(new Power(state, file.isPresent() ? "power_state" : "power/runtime_status"));
    }

    boolean isCold() {
        return POWER.is(this, now -> now.state().equals("D3cold") || now.state().equals("a sleep state"));
    }

    boolean isAwake() {
        return POWER.is(this, now -> now.state().equals("D0"));
    }

    boolean isAsleep() {
        return POWER.is(this, now -> !now.state().matches("D0|error"));
    }

    /** Reads nothing in D3cold. */
    private static byte[] bytes(HostFiles files, PciAddress address, int max) {
        String directory = DEVICES + address + "/";
        boolean cold =
                files.text(directory + "power_state").filter("D3cold"::equals).isPresent();
        return cold ? new byte[0] : files.bytes(directory + "config", max).orElse(new byte[0]);
    }

    /** Flags without IFF_UP, which is 1, are those of a network that is down: the kernel shows no carrier of it. */
    private static Known<String> withoutCarrier(PciFunction function) {
        List<String> without = new ArrayList<>();
        for (String net : function.files().list(function.path(DEVICES + "{function}/net"))) {
            String network = function.path(DEVICES + "{function}/net/") + net;
            String carrier = function.files().text(network + "/carrier").orElse("");
            boolean down = function.files()
                    .text(network + "/flags")
                    .filter(flags -> flags.matches("0x[0-9a-f]*[02468ace]"))
                    .isPresent();
            if (!carrier.matches("[01]") && !down) {
                return Fact.missing(function.files(), network + "/carrier");
            }
            if (carrier.equals("0")) {
                without.add(net);
            }
        }
        return new Known.Observed<>(String.join(", ", without));
    }

    // Registers

    int word(int at) {
        return config.word(at);
    }

    /** Whether its header, which has an id and a class, is 0. */
    boolean isZero() {
        return IntStream.range(0, PciCapabilities.PUBLIC_BYTES / 2).allMatch(word -> word(2 * word) == 0);
    }

    boolean has(int at, int bits) {
        return (word(at) & bits) != 0;
    }

    /** A register of a capability; 0 without the capability. */
    int register(int capability, int offset) {
        int at = config.capability(capability);
        return at == 0 ? 0 : word(at + offset);
    }

    /** A register of 16 bits of an extended capability. Empty if the function does not show the capability. */
    OptionalInt extended(int id, int offset) {
        byte[] bytes = bytes(files(), address, EXTENDED_BYTES);
        PciCapabilities all = PciCapabilities.parse(bytes);
        int at = PciCapabilities.BYTES;
        for (int i = 0; i < MOST_EXTENDED && at >= PciCapabilities.BYTES && at + offset + 1 < bytes.length; i++) {
            if (all.word(at) == id) {
                return OptionalInt.of(all.word(at + offset));
            }
            at = all.word(at + 2) >> 4 & ~3;
        }
        return OptionalInt.empty();
    }

    /** "1 of 8"; none if the link is nearly whole, as of a slot that is split or wired for half, or if an end has no more. */
    private Known<String> lanes() {
        Optional<PciAddress> port =
                bridges(this).known().filter(all -> !all.isEmpty()).map(all -> all.get(all.size() - 1));
        List<String> files = new ArrayList<>(List.of(width(address, "current"), width(address, "max")));
        port.ifPresent(end -> files.add(width(end, "max")));
        for (String file : files) {
            if (files().reading(file) == HostFiles.Reading.DENIED) {
                return Fact.missing(files(), file);
            }
        }
        int now = lanes(address, "current");
        int max = Math.min(
                lanes(address, "max"), port.map(end -> lanes(end, "max")).orElse(0));
        return now > 0 && now * FAR_FEWER <= max ? new Known.Observed<>(now + " of " + max) : Known.none();
    }

    private static String width(PciAddress end, String which) {
        return DEVICES + end + "/" + which + "_link_width";
    }

    private int lanes(PciAddress end, String which) {
        return files().text(width(end, which))
                .filter(text -> text.matches("[1-9]\\d?"))
                .map(Integer::parseInt)
                .orElse(0);
    }

    /** Whether its pin has no host irq: 0, or IRQ_NOTCONNECTED. */
    boolean hasNoLine() {
        return device.irq() == 0 || device.irq() > Integer.MAX_VALUE;
    }

    /** Whether it corrects more than an error a second, since the boot. */
    boolean isCorrecting() {
        return host().uptime()
                .filter(seconds -> seconds > 0 && Long.parseLong("0" + CORRECTED.in(this)) > seconds)
                .isPresent();
    }

    /** The number of the device among the virtual functions of this one; empty if it is none of them. */
    Optional<String> virtualNumber() {
        return files().list(DEVICES + address).stream()
                .filter(name -> name.startsWith("virtfn"))
                .filter(name -> files().linkName(DEVICES + address + "/" + name)
                        .filter(device.address().toString()::equals)
                        .isPresent())
                .map(name -> name.substring("virtfn".length()))
                .findFirst();
    }

    /** The width of a link register: of Link Capabilities, or of Link Status. */
    int width(int offset) {
        return register(EXPRESS, offset) >> 4 & 0x3f;
    }

    /** An endpoint that is not integrated in the root complex. Link Status of a virtual function is reserved. */
    boolean hasLink() {
        return !isVirtual()
                && config.capability(EXPRESS) != 0
                && (register(EXPRESS, 2) >> 4 & 0xf) <= 1
                && width(0xc) > 0;
    }

    /** The BARs of a virtual function are 0, and its physical function enables its decoding. */
    boolean hasNoBar() {
        boolean written = false;
        for (int at = FIRST_BAR; at < AFTER_BARS; at += 2) {
            written |= word(at) != 0;
        }
        return !written && !isVirtual() && config.capability(MSIX) != 0 && config.capability(ENHANCED_ALLOCATION) == 0;
    }

    boolean hasMemory() {
        boolean memory = false;
        for (int bar = FIRST_BAR; bar < AFTER_BARS; bar += 4) {
            memory |= (word(bar) & 1) == 0 && (word(bar) | word(bar + 2)) != 0;
        }
        return memory && !isVirtual();
    }

    String driver() {
        return device.driver().orElse("no driver");
    }

    /** The number of vectors that MSI sends. */
    int messages() {
        return 1 << (register(MSI, 2) >> 4 & 7);
    }

    /** The address of MSI. */
    long messageAddress() {
        int at = config.capability(MSI);
        long high = is64Bits() ? word(at + 8) | word(at + 10) << 16 : 0;
        return high << 32 | (long) word(at + 6) << 16 | word(at + 4);
    }

    private boolean is64Bits() {
        return (register(MSI, 2) & 1 << 7) != 0;
    }

    boolean hasMasks() {
        return (register(MSI, 2) & 1 << 8) != 0;
    }

    /** The mask of the vector of MSI, or, in the next register, its pending bit. */
    boolean isSet(int register) {
        return (register(MSI, (is64Bits() ? 0x10 : 0xc) + register + vector / 16 * 2) >> vector % 16 & 1) != 0;
    }

    // A bridge

    int firstBus() {
        return word(SECONDARY_BUS) >> 8;
    }

    int lastBus() {
        return word(SECONDARY_BUS + 2) & 0xff;
    }

    int bus() {
        return device.address().requesterId() >> 8;
    }

    /** Whether a window is open. A bridge with subtractive decoding passes accesses that no other function claims. */
    boolean passesMemory() {
        return word(MEMORY_WINDOW) >> 4 <= word(MEMORY_WINDOW + 2) >> 4
                || bound(PREFETCHED_WINDOW, PREFETCHED_UPPER) <= bound(PREFETCHED_WINDOW + 2, PREFETCHED_UPPER + 4)
                || word(REVISION) >> 8 == SUBTRACTIVE;
    }

    private long bound(int lower, int upper) {
        boolean wide = (word(lower) & 0xf) == 1;
        long high = wide ? (long) word(upper + 2) << 16 | word(upper) : 0;
        return high << 12 | word(lower) >> 4;
    }

    /** A bit of the capabilities of the slot below a port that has one. */
    boolean slot(int bit) {
        return (register(EXPRESS, 2) >> 8 & 1) != 0 && (register(EXPRESS, 0x14) >> bit & 1) != 0;
    }

    /** Whether the port reports that its link is up. */
    boolean reportsLink() {
        return (register(EXPRESS, 0xe) >> 4 & 1) != 0;
    }

    boolean isLinkUp() {
        return reportsLink() && (register(EXPRESS, 0x12) >> 13 & 1) != 0;
    }
}
