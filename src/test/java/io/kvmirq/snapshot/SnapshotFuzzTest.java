/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.testing.CpuTime;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/** Any text is a snapshot or refused with a sentence. */
class SnapshotFuzzTest {
    private static final String DURATION = "60s";
    private static final String ALPHABET = "0123456789abcdefx{}[]\",:-.ntrueflas\\";

    /** Any document. */
    @FuzzTest(maxDuration = DURATION)
    void document(byte[] bytes) {
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> isRead(new String(bytes, StandardCharsets.UTF_8)));
    }

    /** Any state, with a checksum that is right. */
    @FuzzTest(maxDuration = DURATION)
    void state(byte[] bytes) {
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> isReadAsState(new String(bytes, StandardCharsets.UTF_8)));
    }

    /** @return whether it is a snapshot; false if it is refused */
    static boolean isRead(String text) {
        try {
            String written = VmSnapshot.parse(text).text();
            if (!VmSnapshot.parse(written).text().equals(written)) {
                throw new AssertionError("read and written again it differs: " + text);
            }
            return true;
        } catch (SnapshotException e) {
            return false;
        }
    }

    static boolean isReadAsState(String state) {
        try {
            Map<String, Object> tree = new LinkedHashMap<>();
            if (Document.parse(state) instanceof Map<?, ?> map) {
                map.forEach((name, value) -> tree.put(String.valueOf(name), value));
            }
            return isRead(Document.write(tree));
        } catch (SnapshotException e) {
            return false;
        }
    }

    /** With a few characters changed, removed or repeated. */
    static String mutated(String text, Random random) {
        StringBuilder changed = new StringBuilder(text);
        for (int i = random.nextInt(3); i >= 0; i--) {
            int at = random.nextInt(changed.length());
            switch (random.nextInt(3)) {
                case 0 -> changed.setCharAt(at, ALPHABET.charAt(random.nextInt(ALPHABET.length())));
                case 1 -> changed.deleteCharAt(at);
                default -> changed.insert(at, changed.substring(at, Math.min(changed.length(), at + 20)));
            }
        }
        return changed.toString();
    }
}
