/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import io.kvmirq.text.Foreign;
import java.util.HexFormat;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A PCI function's address, such as {@code 0000:3b:00.0}.
 *
 * <p>Source: {@code pci_setup_device()} in drivers/pci/probe.c, which makes the names in sysfs.
 *
 * @param domain the PCI domain, 0 or more; most hosts have domain 0 only
 * @param bus 0–255
 * @param device 0–31
 * @param function 0–7
 */
public record PciAddress(int domain, int bus, int device, int function) implements DeviceName, Comparable<PciAddress> {
    private static final Pattern FORM =
            Pattern.compile("(?:([0-9a-f]{4,7}):)?([0-9a-f]{2}):([01][0-9a-f])\\.([0-7])", Pattern.CASE_INSENSITIVE);

    private static final int HEX = 16;

    public PciAddress {
        if (domain < 0 || bus < 0 || bus > 0xff || device < 0 || device > 0x1f || function < 0 || function > 7) {
            throw new IllegalArgumentException("a PCI function of domain " + domain + ", bus " + bus + ", device "
                    + device + ", function " + function
                    + " does not exist: expected a bus of 0-255, a device of 0-31 and a function of 0-7");
        }
    }

    /**
     * Parses an address as sysfs or lspci prints it. A missing domain means 0. Throws IllegalArgumentException for any
     * other text.
     */
    public static PciAddress parse(String text) {
        Objects.requireNonNull(text, "text is null");
        Matcher matcher = FORM.matcher(text);
        if (!matcher.matches()) {
            throw new IllegalArgumentException(
                    Foreign.quoted(text) + " is not a PCI address: expected DOMAIN:BUS:DEVICE.FUNCTION"
                            + " in hex digits, such as 0000:3b:00.0");
        }
        int domain = matcher.group(1) == null ? 0 : Integer.parseInt(matcher.group(1), HEX);
        return new PciAddress(
                domain,
                Integer.parseInt(matcher.group(2), HEX),
                Integer.parseInt(matcher.group(3), HEX),
                Integer.parseInt(matcher.group(4), HEX));
    }

    @Override
    public String busName() {
        return "pci";
    }

    /** Orders addresses by domain, bus, device and function. */
    @Override
    public int compareTo(PciAddress other) {
        Objects.requireNonNull(other, "other is null");
        int byDomain = Integer.compare(domain, other.domain);
        return byDomain != 0 ? byDomain : Integer.compare(requesterId(), other.requesterId());
    }

    /**
     * The 16-bit requester id (bus, device, function), which a device sends with each request and an IRTE may check.
     */
    public int requesterId() {
        return bus << 8 | device << 3 | function;
    }

    @Override
    public String toString() {
        // Not String.format, because screens print an address for each vector.
        HexFormat hex = HexFormat.of();
        String first = domain > 0xffff ? Integer.toHexString(domain) : hex.toHexDigits((short) domain);
        return first + ":" + hex.toHexDigits((byte) bus) + ":" + hex.toHexDigits((byte) device) + "." + function;
    }
}
