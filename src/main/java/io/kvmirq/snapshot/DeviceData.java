/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A device.
 *
 * @param ids vendor and device
 * @param msix as {@code GuestMsix} gives it, in hex
 */
record DeviceData(String ids, String msix) {
    static DeviceData of(VmParts.Device device) {
        return new DeviceData(device.ids(), Node.bytes(device.msix().state()));
    }

    byte[] bytes() {
        return HexFormat.of().parseHex(msix);
    }

    Map<String, Object> tree(String name) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("name", name);
        tree.put("ids", ids);
        tree.put("msix", msix);
        return tree;
    }

    static DeviceData of(Node node) {
        return new DeviceData(node.at("ids").text(), Node.bytes(node.at("msix").bytes()));
    }
}
