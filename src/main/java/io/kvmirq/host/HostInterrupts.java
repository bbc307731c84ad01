/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.HostIrqs;
import io.kvmirq.vfio.IrqKind;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The irqs of a host, as {@code /proc/interrupts} lists them.
 *
 * <p>Source: {@code show_interrupts()} in kernel/irq/proc.c; the names of VFIO's handlers are those of
 * drivers/vfio/pci/vfio_pci_intrs.c.
 */
public final class HostInterrupts implements HostIrqs {
    private static final int MOST_DIGITS = 9;
    private static final Pattern ACTION = Pattern.compile("vfio-(intx|msix?)(?:\\[(\\d{1,4})])?\\(([0-9a-f:.]+)\\)");

    /**
     * An irq with a handler of VFIO: the vector has an eventfd.
     *
     * @param address the device
     * @param kind INTx, MSI or MSI-X
     * @param vector the vector of MSI or MSI-X; 0 for INTx
     */
    public record ArmedVector(HostIrq irq, PciAddress address, IrqKind kind, int vector) {}

    private final List<ArmedVector> armed = new ArrayList<>();
    private final List<String> chips = new ArrayList<>();

    /** Reads the text of {@code /proc/interrupts}. Lines of another form are ignored. */
    public HostInterrupts(String text) {
        text.lines().forEach(this::readLine);
    }

    /**
     * Number, colon, a count for each CPU, chip, the rest. By hand: a regular expression recurses for each CPU, of which
     * there may be thousands.
     */
    private void readLine(String line) {
        int number = spaces(line, 0);
        int colon = digits(line, number);
        if (colon == number || colon - number > MOST_DIGITS || colon == line.length() || line.charAt(colon) != ':') {
            return;
        }
        int word = colon + 1;
        int end = word;
        do {
            int begin = spaces(line, end);
            if (begin == end || begin == line.length()) {
                return; // no chip
            }
            word = begin;
            end = digits(line, word);
        } while (end > word && (end == line.length() || isSpace(line.charAt(end))));
        while (end < line.length() && !isSpace(line.charAt(end))) {
            end++;
        }
        chips.add(line.substring(word, end));
        read(Integer.parseInt(line.substring(number, colon)), line.substring(end));
    }

    private static int spaces(String line, int from) {
        int at = from;
        while (at < line.length() && isSpace(line.charAt(at))) {
            at++;
        }
        return at;
    }

    private static int digits(String line, int from) {
        int at = from;
        while (at < line.length() && line.charAt(at) >= '0' && line.charAt(at) <= '9') {
            at++;
        }
        return at;
    }

    private static boolean isSpace(char c) {
        return c == ' ' || c == '\t';
    }

    private void read(int irq, String rest) {
        Matcher action = ACTION.matcher(rest);
        while (action.find()) {
            try {
                int vector = action.group(2) == null ? 0 : Integer.parseInt(action.group(2));
                IrqKind kind = IrqKind.valueOf(action.group(1).toUpperCase(Locale.ROOT));
                armed.add(new ArmedVector(new HostIrq(irq), PciAddress.parse(action.group(3)), kind, vector));
            } catch (IllegalArgumentException e) {
                // The name of a handler that is not VFIO's.
            }
        }
    }

    /** The irqs of a device that VFIO has armed, in the order of the irqs. */
    public List<ArmedVector> armed(PciAddress address) {
        return armed.stream().filter(one -> one.address().equals(address)).toList();
    }

    /** As it was when the text was read; empty for interrupts of platform devices, errors and requests. */
    @Override
    public Optional<HostIrq> of(DeviceIrq irq) {
        return armed.stream()
                .filter(one -> one.address().equals(irq.device().name())
                        && one.kind() == irq.info().kind()
                        && one.vector() == irq.number())
                .map(ArmedVector::irq)
                .findFirst();
    }

    /** Whether an interrupt controller has a name that begins so. {@code IR-} is that of interrupt remapping on x86. */
    public boolean hasChip(String prefix) {
        return chips.stream().anyMatch(chip -> chip.startsWith(prefix));
    }
}
