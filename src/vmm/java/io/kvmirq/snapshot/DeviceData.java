/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import java.util.LinkedHashMap;
import java.util.Map;

/** A device, or its messages: vendor and device id (and more if passed through), and its {@code DeviceState} in hex. */
record DeviceData(String ids, String state) {
    static DeviceData read(VmParts.Device device) {
        return new DeviceData(device.identity().get(), Node.bytes(device.state().state()));
    }

    byte[] bytes() {
        return Node.ofHex(state);
    }

    Map<String, Object> tree(String name) {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("name", name);
        tree.put("ids", ids);
        tree.put("state", state);
        return tree;
    }

    static DeviceData parse(Node node) {
        return new DeviceData(node.at("ids").text(), Node.bytes(node.at("state").bytes()));
    }
}
