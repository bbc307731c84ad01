/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Compiles a device tree; source: Devicetree Specification 0.4, chapters 5 and 6. The compiled form is big-endian. */
final class DeviceTree {
    /** A node that begins, a property, or the end of a node. */
    private static final Pattern STATEMENT = Pattern.compile(
            "(?<node>[^\\s;]+) \\{|(?<end>\\};)|(?<name>[^\\s;]+)( = (<(?<cells>[^>]*)>|\"(?<text>[^\"]*)\"))?;");

    private static final int BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, END = 9;
    private static final int MAGIC = 0xd00dfeed, VERSION = 17, COMPATIBLE_WITH = 16;
    private static final int HEADER = 40, RESERVATIONS = 16; // one, which is the last

    private final ByteArrayOutputStream structure = new ByteArrayOutputStream();
    private final ByteArrayOutputStream names = new ByteArrayOutputStream();
    private final Map<String, Integer> placeOfName = new LinkedHashMap<>();

    /**
     * Knows nodes, and properties without a value, with 32-bit numbers, and with texts that {@code \0} separates.
     *
     * @param free the value of the property whose text is $
     */
    static byte[] compile(String source, String free) {
        DeviceTree tree = new DeviceTree();
        for (Matcher found = STATEMENT.matcher(source); found.find(); ) {
            if (found.group("node") != null) {
                tree.word(BEGIN_NODE);
                tree.padded(terminated(found.group("node").replace("/", "")));
            } else if (found.group("end") != null) {
                tree.word(END_NODE);
            } else if (found.group("text") != null) {
                String text = found.group("text");
                tree.property(found.group("name"), terminated(text.equals("$") ? free : text.replace("\\0", "\0")));
            } else {
                tree.property(found.group("name"), cells(found.group("cells")));
            }
        }
        return tree.bytes();
    }

    private static byte[] cells(String numbers) {
        DeviceTree cells = new DeviceTree();
        for (String number : numbers == null ? new String[0] : numbers.split(" ")) {
            cells.word(Long.decode(number).intValue());
        }
        return cells.structure.toByteArray();
    }

    private void property(String name, byte[] content) {
        int place = placeOfName.computeIfAbsent(name, key -> {
            int at = names.size();
            names.writeBytes(terminated(key));
            return at;
        });
        word(PROPERTY);
        word(content.length);
        word(place);
        padded(content);
    }

    private static byte[] terminated(String text) {
        return (text + '\0').getBytes(StandardCharsets.US_ASCII);
    }

    private void word(int value) {
        structure.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(value).array());
    }

    private void padded(byte[] content) {
        structure.writeBytes(content);
        structure.writeBytes(new byte[-content.length & Integer.BYTES - 1]);
    }

    private byte[] bytes() {
        word(END);
        int begin = HEADER + RESERVATIONS, end = begin + structure.size();
        ByteBuffer tree = ByteBuffer.allocate(end + names.size());
        tree.putInt(MAGIC).putInt(tree.limit()).putInt(begin).putInt(end).putInt(HEADER);
        tree.putInt(VERSION).putInt(COMPATIBLE_WITH).putInt(0).putInt(names.size());
        tree.putInt(structure.size()).position(begin);
        return tree.put(structure.toByteArray()).put(names.toByteArray()).array();
    }
}
