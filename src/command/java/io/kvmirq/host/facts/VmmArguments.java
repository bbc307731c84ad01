/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.PciAddress;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Devices, vCPUs and helpers that a VMM's command line gives its guest. Immutable.
 *
 * @param words the command line; empty if it is not shown
 */
public record VmmArguments(List<String> words) {
    /** PCI addresses, mdevs and files of vDPA devices, in either form of QEMU's options. */
    private static final Pattern GIVEN = Pattern.compile(
            "(?<=host[\"=:]{1,3})(\\p{XDigit}{4}:)?\\p{XDigit}{2}:[01]\\p{XDigit}\\.[0-7]"
                    + "|(?<=,)vhost=on(?=,|$)|(?<=vhostdev[\"=:]{1,3})/dev/vhost-vdpa-\\d+|(?<=sysfsdev[\"=:]{1,3})/sys/bus/mdev/devices/[\\w-]+");

    private static final Pattern CPUS = Pattern.compile("(?:cpus=)?(\\d{1,4})(?:,.*)?");

    /** Whether no file shows a word of it. */
    public boolean isUnknown() {
        return words.stream().allMatch(String::isEmpty);
    }

    /** The guest's PCI functions by address, its files in {@code /dev}, and its mdevs by their directory in {@code /sys}. */
    public List<String> given() {
        return words.stream()
                .flatMap(word -> GIVEN.matcher(word).results())
                .map(found -> found.group().replace("vhost=on", "/dev/vhost-net"))
                .distinct()
                .toList();
    }

    /** The PCI function that a name of {@link #given} is; empty for a file. */
    public static Optional<PciAddress> address(String name) {
        return name.contains("/")
                ? Optional.empty()
                : Optional.of(PciAddress.parse((name.length() < 12 ? "0000:" : "") + name));
    }

    /** The number of vCPUs by QEMU's {@code -smp}; 0 if there is none. */
    public int smp() {
        int at = words.indexOf("-smp");
        Matcher cpus = CPUS.matcher(at < 0 || at + 1 >= words.size() ? "" : words.get(at + 1));
        return cpus.matches() ? Integer.parseInt(cpus.group(1)) : 0;
    }

    /** Whether the guest waits for its state from another host. */
    public boolean isIncoming() {
        return words.contains("-incoming");
    }

    /** Whether QEMU's machine of arm64 has no ITS. */
    public boolean hasNoIts() {
        return words.stream().anyMatch(word -> word.matches("virt,(.*,)?its=off(,.*)?"));
    }

    /** A device that another process serves, by vhost-user or vfio-user. */
    public Optional<String> ofAnotherProcess() {
        return words.stream()
                .filter(word -> word.matches("(vhost-user-\\w+|vfio-user-pci)(-pci)?(,.*|)"))
                .map(word -> word.split(",", 2)[0])
                .findFirst();
    }
}
