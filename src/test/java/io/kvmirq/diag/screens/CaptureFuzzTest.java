/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.backend.HostFiles.Owner;
import io.kvmirq.testing.CpuTime;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/** Any bytes are read as a capture, or refused by one sentence. */
class CaptureFuzzTest {
    private static final String DURATION = "60s";

    private static Optional<Capture> read(byte[] archive) throws IOException {
        try {
            return Optional.of(Archive.read(new ByteArrayInputStream(archive)));
        } catch (IllegalArgumentException e) {
            assertThat(e.getMessage()).startsWith("it ");
            assertThat(String.valueOf(e.getMessage()).chars()).noneMatch(Character::isISOControl);
            return Optional.empty();
        }
    }

    @FuzzTest(maxDuration = DURATION)
    void capture(byte[] archive) throws IOException {
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> read(archive));
    }

    /** A written capture is read again, unless a path leads out of it; and no byte of it can be changed unnoticed. */
    @FuzzTest(maxDuration = DURATION)
    void damagedCapture(FuzzedDataProvider data) throws IOException {
        SortedMap<String, byte[]> files = new TreeMap<>();
        SortedMap<String, String> links = new TreeMap<>();
        SortedMap<String, Owner> owners = new TreeMap<>();
        TreeSet<String> denied = new TreeSet<>();
        for (int i = data.consumeInt(0, 5); i > 0; i--) {
            String path = data.consumeAsciiString(20);
            switch (data.consumeInt(0, 3)) {
                case 0 -> files.put(path, data.consumeBytes(30));
                case 1 -> links.put(path, data.consumeAsciiString(20));
                case 2 -> owners.put(path, new Owner(data.consumeInt(0, 07777), data.consumeInt(0, 70_000), 0));
                default -> denied.add(path);
            }
        }
        Capture capture = new Capture(data.consumeBoolean(), files, links, denied, owners);
        boolean leads = files.keySet().stream().anyMatch(path -> !isInside("files/" + path))
                || !links.keySet().stream().allMatch(CaptureFuzzTest::isInside)
                || !owners.keySet().stream().allMatch(CaptureFuzzTest::isInside)
                || !denied.stream().allMatch(CaptureFuzzTest::isInside);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Archive.write(capture, out);
        byte[] archive = out.toByteArray();
        Optional<Capture> same = read(archive);
        boolean oneLine = links.values().stream().noneMatch(target -> target.contains("\n") || target.contains("\r"));
        if (!leads && oneLine) {
            assertThat(same.orElseThrow().files().keySet()).isEqualTo(files.keySet());
            files.forEach((path, content) ->
                    assertThat(same.orElseThrow().files().get(path)).isEqualTo(content));
            assertThat(same.orElseThrow().links()).isEqualTo(links);
            assertThat(same.orElseThrow().owners()).isEqualTo(owners);
            assertThat(same.orElseThrow().denied()).isEqualTo(denied);
        }
        archive[data.consumeInt(0, archive.length - 1)] ^= (byte) data.consumeInt(1, 255);
        read(archive).ifPresent(other -> assertThat(other.files().keySet())
                .isEqualTo(same.orElseThrow().files().keySet()));
    }

    private static boolean isInside(String path) {
        return Capture.PATH.matcher(path).matches();
    }
}
