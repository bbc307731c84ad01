/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.debugfs;

import io.kvmirq.arch.gic.InterruptId;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The state of a VM's VGIC as debugfs prints it, in {@code kvm/TID-FD/vgic-state}: TID is the
 * thread that created the VM, FD its descriptor. Reading that file makes the kernel take
 * a lock that the VM's set-up also takes. Immutable.
 *
 * <p>Source: arch/arm64/kvm/vgic/vgic-debug.c, {@code print_dist_state()} and {@code print_irq_state()}.
 *
 * @param model {@code GICv2} or {@code GICv3}, which the guest sees
 * @param enabled whether the guest has enabled the distributor
 * @param spis how many SPIs the VGIC has
 * @param lpis how many LPIs the guest has mapped; empty for a GICv2
 * @param interrupts in the order of the file: those of each vCPU, then SPIs, then LPIs
 */
public record VgicState(String model, boolean enabled, int spis, OptionalInt lpis, List<Interrupt> interrupts) {
    private static final Pattern SETTING = Pattern.compile("(\\w+):\\s+(\\w+)");
    private static final Pattern HEAD = Pattern.compile("(VCPU|SPI) *(\\d+) TYP +ID .*");
    private static final Pattern ROW = Pattern.compile("([SPL][GP]I) +(\\d+) +(-?\\d+) +([01]{7}) +(-?\\d+)"
            + " +(\\p{XDigit}+) +(\\p{XDigit}+) +(\\d+) +(-?\\d+)");
    private static final int DECIMAL = 10;
    private static final int HEX = 16;
    private static final int NONE = -1;
    private static final Set<String> MODELS = Set.of("GICv2", "GICv3");
    private static final int LOWEST_PRIORITY = 255;
    private static final int MOST_SOURCES = 0xff;

    public enum Kind {
        /** INTID 0–15, sent by a vCPU. */
        SGI(0, InterruptId.FIRST_PPI - 1),
        /** INTID 16–31, raised by a device of one vCPU, such as its timer. */
        PPI(InterruptId.FIRST_PPI, InterruptId.FIRST_SPI - 1),
        /** INTID 32–1019, raised by any device. */
        SPI(InterruptId.FIRST_SPI, InterruptId.FIRST_SPECIAL - 1),
        /** INTID from 8192, sent by message through an ITS. */
        LPI(InterruptId.FIRST_LPI, Integer.MAX_VALUE);

        private final int first;
        private final int last;

        Kind(int first, int last) {
            this.first = first;
            this.last = last;
        }

        boolean has(int id) {
            return id >= first && id <= last;
        }
    }

    /**
     * One interrupt.
     *
     * @param owner the vCPU of this SGI or PPI, as the table's head names it; empty for SPIs and LPIs
     * @param target the vCPU that it is routed to; empty if there is none. Since Linux 6.7 vCPUs are given by index,
     *     before by id.
     * @param pendingLatch whether an edge, a message or the guest made it pending. For an SGI that hardware delivers,
     *     the hardware's pending bit.
     * @param active whether the guest has acknowledged it but not ended it
     * @param hardware whether hardware delivers it or ends it: see {@link #delivery}
     * @param level whether it is level-triggered; otherwise edge-triggered
     * @param group 0 or 1
     * @param hardwareId the INTID of the physical interrupt behind it; 0 if there is none, and for a vLPI
     * @param targets of a GICv3 the affinity that it is routed to, of a GICv2 a bit for each target vCPU
     * @param sources of a GICv2's SGI a bit for each vCPU that sent it
     * @param priority 0–255, 0 is the highest
     * @param queuedOn the vCPU on whose list of pending and active interrupts it is; empty if on none
     */
    public record Interrupt(
            Kind kind,
            OptionalInt owner,
            int id,
            OptionalInt target,
            boolean pendingLatch,
            boolean lineHigh,
            boolean active,
            boolean enabled,
            boolean hardware,
            boolean level,
            int group,
            int hardwareId,
            long targets,
            int sources,
            int priority,
            OptionalInt queuedOn) {
        /**
         * Whether a guest could take it now, if it is enabled: a latched edge, or the line of a level interrupt. False
         * for a vLPI: hardware has its pending bit, which the file does not show.
         */
        public boolean isPending() {
            return pendingLatch || level && lineHigh;
        }

        /** The part that delivers the interrupt to the guest, and the part that ends it. */
        public Delivery delivery() {
            if (!hardware) {
                return Delivery.SOFTWARE;
            }
            return switch (kind) {
                case LPI -> Delivery.VLPI;
                case SGI -> Delivery.VSGI;
                case PPI, SPI -> Delivery.HW_INTERRUPT;
            };
        }
    }

    public enum Delivery {
        /** KVM writes it to a list register. */
        SOFTWARE,
        /** KVM writes it to a list register with HW=1: the guest's end deactivates the physical one. Timers do so. */
        HW_INTERRUPT,
        /** GICv4: the ITS delivers the LPI, and no host handler runs. So the LPI is mapped to a vLPI. */
        VLPI,
        /** GICv4.1: the redistributor delivers the SGI. */
        VSGI
    }

    public int count(Kind kind) {
        return (int) interrupts.stream()
                .filter(interrupt -> interrupt.kind() == kind)
                .count();
    }

    /**
     * Whether the file shows that the VGIC is initialized: it has an interrupt or an LPI, or the guest has enabled the
     * distributor. A file that is cut off after its head may look as if it were not.
     */
    public boolean isInitialized() {
        return enabled || lpis.orElse(0) > 0 || !interrupts.isEmpty();
    }

    /** Whether the file has all SPIs that its head announces. If not, it is cut off, or the VGIC is not initialized. */
    public boolean hasAllSpis() {
        return interrupts.stream()
                        .filter(interrupt ->
                                interrupt.kind() == Kind.SPI && interrupt.id() < InterruptId.FIRST_SPI + spis)
                        .count()
                == spis;
    }

    /**
     * Whether the file has as many LPIs as its head announces. Otherwise it is cut off, or the guest maps and unmaps
     * LPIs while the kernel prints.
     */
    public boolean hasAllLpis() {
        return count(Kind.LPI) == lpis.orElse(0);
    }

    public List<Interrupt> vlpis() {
        return interrupts.stream()
                .filter(interrupt -> interrupt.delivery() == Delivery.VLPI)
                .toList();
    }

    /**
     * Reads the text of the file.
     *
     * @throws IllegalArgumentException if a line has an unknown form, a number in it is out of range, or a line of the
     *     distributor is missing or comes twice; the sentence names the line
     */
    public static VgicState parse(String text) {
        Map<String, String> settings = new HashMap<>();
        List<Interrupt> interrupts = new ArrayList<>();
        Set<List<Object>> seen = new HashSet<>();
        OptionalInt owner = OptionalInt.empty();
        List<String> lines = text.lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).strip();
            FileLine place = new FileLine("vgic-state", i + 1, line);
            Matcher setting = SETTING.matcher(line);
            Matcher head = HEAD.matcher(line);
            Matcher row = ROW.matcher(line);
            if (row.matches()) {
                Interrupt interrupt = interrupt(place, row, owner);
                if (!seen.add(List.of(interrupt.kind(), interrupt.owner(), interrupt.id()))) {
                    throw place.unexpected("each interrupt once");
                }
                interrupts.add(interrupt);
            } else if (head.matches()) {
                owner = head.group(1).equals("VCPU")
                        ? OptionalInt.of(place.number(head.group(2), DECIMAL))
                        : OptionalInt.empty();
            } else if (setting.matches()) {
                if (settings.put(setting.group(1), setting.group(2)) != null) {
                    throw place.unexpected("one line " + setting.group(1));
                }
            } else if (!isOrnament(line)) {
                throw place.unexpected("a row such as 'LPI 8257 0 0001101 0 0 0 160 -1'");
            }
        }
        return new VgicState(
                model(settings),
                isEnabled(settings),
                number(settings, "nr_spis"),
                settings.containsKey("nr_lpis") ? OptionalInt.of(number(settings, "nr_lpis")) : OptionalInt.empty(),
                interrupts);
    }

    private static boolean isOrnament(String line) {
        return line.isEmpty()
                || line.equals("Distributor")
                || line.matches("=+|-+")
                // The guest unmapped it while the kernel was printing.
                || line.matches("LPI +\\d+ freed")
                || line.matches("[A-Z]=.*");
    }

    private static String setting(Map<String, String> settings, String name) {
        String value = settings.get(name);
        if (value == null) {
            throw new IllegalArgumentException("vgic-state has no line " + name
                    + ": expected the file kvm/TID-FD/vgic-state of debugfs, from its first line on");
        }
        return value;
    }

    private static String model(Map<String, String> settings) {
        String model = setting(settings, "vgic_model");
        if (!MODELS.contains(model)) {
            throw new IllegalArgumentException("vgic-state has vgic_model " + model + ": expected GICv2 or GICv3");
        }
        return model;
    }

    private static boolean isEnabled(Map<String, String> settings) {
        int enabled = number(settings, "enabled");
        if (enabled > 1) {
            throw new IllegalArgumentException("vgic-state has enabled " + enabled + ": expected 0 or 1");
        }
        return enabled == 1;
    }

    /** Not negative, because the pattern of a line accepts no sign. */
    private static int number(Map<String, String> settings, String name) {
        String value = setting(settings, name);
        try {
            return Integer.parseInt(value);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("vgic-state has " + name + " " + value + ": expected a number", e);
        }
    }

    private static Interrupt interrupt(FileLine place, Matcher row, OptionalInt owner) {
        Kind kind =
                switch (row.group(1)) {
                    case "SGI" -> Kind.SGI;
                    case "PPI" -> Kind.PPI;
                    case "SPI" -> Kind.SPI;
                    case "LPI" -> Kind.LPI;
                    default -> throw place.unexpected("SGI, PPI, SPI or LPI");
                };
        int id = place.number(row.group(2), DECIMAL);
        if (!kind.has(id)) {
            throw place.unexpected(
                    "an id of kind " + kind + ", " + kind.first + (kind == Kind.LPI ? " or more" : "-" + kind.last));
        }
        String flags = row.group(4);
        boolean isPrivate = kind == Kind.SGI || kind == Kind.PPI;
        return new Interrupt(
                kind,
                isPrivate ? owner : OptionalInt.empty(),
                id,
                index(place, row.group(3)),
                flags.charAt(0) == '1',
                flags.charAt(1) == '1',
                flags.charAt(2) == '1',
                flags.charAt(3) == '1',
                flags.charAt(4) == '1',
                flags.charAt(5) == '1',
                flags.charAt(6) - '0',
                place.number(row.group(5), DECIMAL),
                place.unsigned(row.group(6), HEX),
                upTo(MOST_SOURCES, place, row.group(7), HEX, "sources of 0-ff"),
                upTo(LOWEST_PRIORITY, place, row.group(8), DECIMAL, "a priority of 0-255"),
                index(place, row.group(9)));
    }

    private static int upTo(int max, FileLine place, String digits, int radix, String expected) {
        int number = place.number(digits, radix);
        if (number > max) {
            throw place.unexpected(expected + " and not " + digits);
        }
        return number;
    }

    private static OptionalInt index(FileLine place, String digits) {
        int number = place.number(digits, DECIMAL);
        if (number < NONE) {
            throw place.unexpected("the index of a vCPU, or -1, and not " + number);
        }
        return number == NONE ? OptionalInt.empty() : OptionalInt.of(number);
    }
}
