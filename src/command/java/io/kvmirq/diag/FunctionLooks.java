/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.PciDevice;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The checks of any PCI function on the path of an interrupt: the device, a bridge above it, or its physical function.
 * For one use by one thread.
 *
 * <p>Source: PCI Express Base Specification, 7.5; pci_regs.h.
 */
final class FunctionLooks {
    private static final String DEVICES = DeviceLink.DEVICES;
    private static final int POWER = 1;
    private static final int EXTENDED_BYTES = 4096;
    /** An extended capability has eight bytes or more, so a longer chain is a loop. */
    private static final int MOST_EXTENDED = (EXTENDED_BYTES - PciCapabilities.BYTES) / 8;

    /** {@code pci_power_names} in drivers/pci/pci.c without {@code unknown}. */
    private static final String STATES = "error|D[012]|D3hot|D3cold";

    /** A function with AER has all of them. */
    private static final List<String> COUNTS = List.of("correctable", "nonfatal", "fatal");

    private static final Pattern TOTAL = Pattern.compile("TOTAL_ERR_\\w+ (\\d{1,18})");
    static final Remedy RESET = Remedy.of(
            Change.COMMAND,
            "restart the guest, which resets the device; if that fails, remove and rescan it, or power the slot off and on",
            Takes.VMM_RESTART,
            "the guest loses the device meanwhile");

    private final HostFiles files;
    /** Whether the kernel has the file {@code power_state}. */
    private final boolean showsPower;

    private final PciDevice device;
    private final boolean held;
    private final Flaws looks;

    /** @param held whether the device is in use; an unused device may sleep */
    FunctionLooks(HostFacts host, PciDevice device, boolean held, Flaws looks) {
        this.files = host.files();
        this.showsPower = host.isSince(5, 11).orElse(true);
        this.device = device;
        this.held = held;
        this.looks = looks;
    }

    static Remedy command(String text, Takes takes) {
        return Remedy.of(Change.COMMAND, text, takes, "");
    }

    String name(PciAddress of) {
        return of.equals(device.address())
                ? "the device"
                : (device.isVirtual() ? "the physical function " : "the bridge ") + of;
    }

    // Checks the power first, because reading the configuration space of a device in D3cold wakes it.

    /** False if the configuration space must not be read. */
    boolean power(PciAddress of, PciCapabilities config) {
        String directory = DEVICES + of + "/";
        // That of a device that its driver has left, until the next one has it.
        Optional<String> file = looks.text(
                        directory + "power_state", showsPower, state -> state.matches(STATES + "|unknown"))
                .filter(state -> state.matches(STATES));
        String status = looks.text(
                        directory + "power/runtime_status",
                        one -> one.matches("active|suspended|suspending|resuming|error|unsupported"))
                .orElse("");
        boolean complete = config.isComplete() && !config.isGone();
        int at = complete ? config.capability(POWER) : 0;
        int register = at == 0 ? 0 : config.word(at + 4) & 3;
        String state = register == 0 || file.filter("D3cold"::equals).isPresent()
                ? file.orElse(complete ? "D0" : status.equals("suspended") ? "a sleep state" : "")
                : register == 3 ? "D3hot" : "D" + register;
        String from = register == 0 || file.filter(state::equals).isPresent()
                ? file.isPresent() ? directory + "power_state" : directory + "power/runtime_status"
                : directory + "config";
        switch (state) {
            case "D0" -> {
                if (held && status.equals("suspended")) {
                    looks.doubt(
                            directory + "power/runtime_status",
                            "runtime power management has suspended " + name(of) + ", which is in use");
                } else if (status.equals("error")) {
                    looks.doubt(
                            directory + "power/runtime_status", "runtime power management of " + name(of) + " failed");
                }
            }
            case "" -> looks.absent(directory + "power_state");
            case "error" ->
                looks.doubt(from, "the kernel does not know the power state of " + name(of) + ": " + state, RESET);
            default -> {
                if (held) {
                    looks.broken(
                            from,
                            name(of) + " is in " + state + ": in it a device sends no interrupt",
                            command(
                                    (of.equals(device.address())
                                                    ? "let the guest's driver wake the device (in a Linux guest: echo on"
                                                            + " > its power/control), or the host: "
                                                    : "")
                                            + "echo on > /" + directory + "power/control",
                                    Takes.LIVE));
                } else {
                    looks.fine(name(of) + " sleeps, as nothing uses it");
                }
            }
        }
        boolean cold = state.equals("D3cold") || state.equals("a sleep state");
        if (cold && !held) {
            looks.unseen("the configuration space, since to read it would wake " + name(of), "start the guest");
        }
        return !cold && !looks.isBroken();
    }

    /** False if no further check is possible. */
    boolean answers(PciAddress of, PciCapabilities config) {
        String file = DEVICES + of + "/config";
        if (config.isGone()) {
            looks.broken(
                    file,
                    name(of) + " does not answer: its configuration space reads as ones, as of one that fell off the"
                            + " bus, hangs, or has lost its power",
                    RESET);
            return false;
        }
        if (!config.isReadable()) {
            looks.absent(file);
            return false;
        }
        if (!config.isComplete()) {
            looks.unseen(
                    "the capabilities of " + name(of) + ", since this user reads only " + PciCapabilities.PUBLIC_BYTES
                            + " bytes of its configuration space",
                    "run as root");
        } else if (of.equals(device.address())) {
            looks.fine("answers");
        }
        return true;
    }

    PciCapabilities config(PciAddress of) {
        return PciCapabilities.of(bytes(of, PciCapabilities.BYTES));
    }

    /** Reads nothing in D3cold. */
    private byte[] bytes(PciAddress of, int most) {
        String directory = DEVICES + of + "/";
        boolean cold =
                files.text(directory + "power_state").filter("D3cold"::equals).isPresent();
        return cold ? new byte[0] : files.bytes(directory + "config", most).orElse(new byte[0]);
    }

    /** A register of 16 bits of an extended capability. Empty if the function does not show the capability. */
    OptionalInt extended(PciAddress of, int id, int offset) {
        byte[] bytes = bytes(of, EXTENDED_BYTES);
        PciCapabilities config = PciCapabilities.of(bytes);
        int at = PciCapabilities.BYTES;
        for (int i = 0; i < MOST_EXTENDED && at >= PciCapabilities.BYTES && at + offset + 1 < bytes.length; i++) {
            if (config.word(at) == id) {
                return OptionalInt.of(config.word(at + offset));
            }
            at = config.word(at + 2) >> 4 & ~3;
        }
        return OptionalInt.empty();
    }

    /** The counts begin at the boot of the host, so they prove nothing alone. */
    void errors(PciAddress of, String kind) {
        String file = DEVICES + of + "/aer_dev_" + kind;
        boolean counts = COUNTS.stream()
                .anyMatch(one -> files.text(DEVICES + of + "/aer_dev_" + one).isPresent());
        looks.text(file, counts, text -> text.contains("TOTAL_ERR_")).stream()
                .flatMap(String::lines)
                .forEach(line -> {
                    Matcher total = TOTAL.matcher(line.strip());
                    if (total.matches() && Long.parseLong(total.group(1)) > 0) {
                        looks.doubt(
                                file,
                                name(of) + " has reported " + total.group(1) + " " + kind
                                        + " errors (AER) since the host booted",
                                Remedy.look("dmesg | grep -i aer"));
                    }
                });
    }
}
