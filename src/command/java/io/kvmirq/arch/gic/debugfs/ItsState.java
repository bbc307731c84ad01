/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.debugfs;

import io.kvmirq.arch.gic.InterruptId;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The translations of a guest's ITS as debugfs prints them, in {@code kvm/TID-FD/vgic-its-state@BASE}, from Linux 6.16
 * on. Reading that file makes the kernel take the ITS's lock. A device without a mapped event is not in the file. While
 * the guest maps and unmaps events, a row may come twice, or be missing. Immutable.
 *
 * <p>Source: arch/arm64/kvm/vgic/vgic-its-debug.c, {@code vgic_its_debug_show()}.
 *
 * @param devices in the order of the file
 */
public record ItsState(List<Device> devices) {
    // The first kernels with the file print the id in decimal.
    private static final Pattern DEVICE =
            Pattern.compile("Device ID: (0x)?(\\p{XDigit}+), Event ID Range: \\[0 - (\\d+)\\]");
    private static final Pattern ROW = Pattern.compile("(\\d+) +(\\d+) +(\\d+) +(\\d+) +(\\d+) +([01])");
    /** COLLECTION_NOT_MAPPED. */
    private static final long NO_TARGET = 0xffff_ffffL;

    private static final int DECIMAL = 10;
    private static final int HEX = 16;

    /** A device that the guest has mapped (MAPD): a 32-bit id, and the largest event id that it may send. */
    public record Device(long id, long lastEvent, List<Translation> translations) {
        public Device {
            translations = List.copyOf(translations);
        }
    }

    /**
     * An event that the guest has mapped (MAPTI).
     *
     * @param event the event id: the data of the message
     * @param id the INTID of the LPI
     * @param hardwareId the INTID of the physical interrupt; 0 for a vLPI
     * @param target the vCPU's id; empty if the collection has no vCPU, so that messages are dropped
     * @param isVlpi whether GICv4 delivers it
     */
    public record Translation(
            long event, long id, long hardwareId, OptionalLong target, long collection, boolean isVlpi) {}

    public ItsState {
        devices = List.copyOf(devices);
    }

    /**
     * Reads the text of the file. The file of an ITS without mapped events is empty.
     *
     * @throws IllegalArgumentException if a line has an unknown form or an impossible value, or a device has no event;
     *     the sentence names the line
     */
    public static ItsState parse(String text) {
        List<Device> devices = new ArrayList<>();
        List<Translation> translations = new ArrayList<>();
        FileLine head = new FileLine("vgic-its-state", 0, "");
        List<String> lines = text.lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).strip();
            FileLine place = new FileLine("vgic-its-state", i + 1, line);
            Matcher device = DEVICE.matcher(line);
            Matcher row = ROW.matcher(line);
            if (device.matches()) {
                end(head, devices, translations);
                devices.add(device(place, device));
                head = place;
            } else if (row.matches()) {
                if (devices.isEmpty()) {
                    throw place.unexpected("a line 'Device ID: 0x8, Event ID Range: [0 - 31]' before it");
                }
                translations.add(translation(place, row, devices.get(devices.size() - 1)));
            } else if (!line.isEmpty() && !line.matches("-+") && !line.startsWith("EVENT_ID ")) {
                throw place.unexpected("a row of 6 numbers such as '0 8192 0 0 0 1'");
            }
        }
        end(head, devices, translations);
        return new ItsState(devices);
    }

    private static Device device(FileLine place, Matcher device) {
        long last;
        try {
            last = Long.parseLong(device.group(3));
        } catch (NumberFormatException e) {
            throw place.unexpected("an event id and not " + device.group(3));
        }
        return new Device(place.unsigned(device.group(2), device.group(1) == null ? DECIMAL : HEX), last, List.of());
    }

    private static Translation translation(FileLine place, Matcher row, Device of) {
        long[] numbers = new long[5];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = place.unsigned(row.group(i + 1), DECIMAL);
        }
        if (numbers[0] > of.lastEvent()) {
            throw place.unexpected("an event of the device, 0-" + of.lastEvent());
        }
        if (numbers[1] < InterruptId.FIRST_LPI) {
            throw place.unexpected("an LPI, from " + InterruptId.FIRST_LPI + " on");
        }
        return new Translation(
                numbers[0],
                numbers[1],
                numbers[2],
                target(numbers[3]),
                numbers[4],
                row.group(6).equals("1"));
    }

    private static OptionalLong target(long number) {
        return number == NO_TARGET ? OptionalLong.empty() : OptionalLong.of(number);
    }

    /**
     * Adds the translations to the last device. The kernel prints a device's head together with its first translation.
     */
    private static void end(FileLine head, List<Device> devices, List<Translation> translations) {
        if (!devices.isEmpty()) {
            if (translations.isEmpty()) {
                throw head.unexpected("an event of the device after it; the file is cut off");
            }
            Device last = devices.remove(devices.size() - 1);
            devices.add(new Device(last.id(), last.lastEvent(), translations));
        }
        translations.clear();
    }
}
