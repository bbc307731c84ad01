/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A device.
 *
 * @param ids vendor and device
 * @param messages as {@code GuestMessages} gives it, in hex
 */
record DeviceData(String ids, String messages) {
    static DeviceData of(VmParts.Device device) {
        return new DeviceData(device.ids(), Node.bytes(device.messages().state()));
    }

    byte[] bytes() {
        return HexFormat.of().parseHex(messages);
    }

    Map<String, Object> tree(String name) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("name", name);
        tree.put("ids", ids);
        tree.put("messages", messages);
        return tree;
    }

    static DeviceData of(Node node) {
        return new DeviceData(
                node.at("ids").text(), Node.bytes(node.at("messages").bytes()));
    }
}
