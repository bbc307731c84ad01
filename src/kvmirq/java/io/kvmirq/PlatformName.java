/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import io.kvmirq.text.Foreign;
import java.util.Objects;

/** The name of a host platform device in {@code /sys/bus/platform/devices}, such as {@code fff51000.ethernet}. */
public record PlatformName(String name) implements DeviceName {
    public PlatformName {
        Objects.requireNonNull(name, "name is null");
        if (name.isBlank() || name.equals(".") || name.equals("..") || name.matches("(?s).*[/\\s\0].*")) {
            throw new IllegalArgumentException("platform device " + Foreign.quoted(name)
                    + " is invalid: expected an entry of /sys/bus/platform/devices, such as fff51000.ethernet");
        }
    }

    @Override
    public String busName() {
        return "platform";
    }

    @Override
    public String toString() {
        return name;
    }
}
